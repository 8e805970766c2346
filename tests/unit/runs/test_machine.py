"""What decides the last bits is recorded, and a difference is said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clue_runner.runs.machine import (
    SECRET,
    core_count,
    deciding_environment,
    machine,
    machine_differences,
)


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_machine_is_plain_data_and_equals_itself(backend: str) -> None:
    found = machine(backend)
    assert found.keys() == {"processor", "processor_model", "cores", "versions", "environment"}
    assert found["cores"] == core_count() > 0
    assert found["processor_model"]
    assert {"python", "clue-runner", "keras", "numpy"} <= found["versions"].keys()
    assert machine_differences(json.loads(json.dumps(found)), machine(backend)) == []


def test_differences_name_what_changed() -> None:
    before = {
        "cores": 2,
        "processor_model": "A",
        "versions": {"keras": "3.15.1", "numpy": "2.4.6"},
        "environment": {"OMP_NUM_THREADS": "1"},
    }
    now = {
        "cores": 8,
        "processor_model": "B",
        "versions": {"keras": "3.15.1", "numpy": "2.5.0"},
        "environment": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    }
    assert machine_differences(before, now) == [
        "cores: was 2, is now 8",
        "OMP_NUM_THREADS: was 1, is now not set",
        "TF_ENABLE_ONEDNN_OPTS: was not set, is now 0",
        "processor model: was A, is now B",
        "numpy: was 2.4.6, is now 2.5.0",
    ]
    assert machine_differences(before, before) == []


def test_what_an_older_state_did_not_record_is_not_compared() -> None:
    assert (
        machine_differences({"cores": 2}, {"cores": 2, "processor_model": "B", "environment": {"X": "1"}})
        == []
    )


DECIDING = [
    "OMP_NUM_THREADS", "KMP_AFFINITY", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ONEDNN_MAX_CPU_ISA",
    "DNNL_DEFAULT_FPMATH_MODE", "TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
    "TF_XLA_FLAGS", "TF_DETERMINISTIC_OPS", "XLA_FLAGS", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_ENABLE_X64",
    "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE",
]  # fmt: skip
INDIFFERENT = [
    "TF_CPP_MIN_LOG_LEVEL", "XLA_PYTHON_CLIENT_PREALLOCATE", "XLA_PYTHON_CLIENT_MEM_FRACTION",
    "JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "CUDA_VISIBLE_DEVICES",
    "HOME", "SECRET_TOKEN", "KERAS_BACKEND",
]  # fmt: skip


def test_variables_that_choose_kernels_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    environment: dict[str, Any] = dict.fromkeys([*DECIDING, *INDIFFERENT], "1")
    environment |= dict.fromkeys([f"TF_{word}" for word in SECRET], "1") | {"JAX_hub_token": "1"}
    assert deciding_environment(environment) == dict.fromkeys(sorted(DECIDING), "1")
    before = machine("tensorflow")
    monkeypatch.setenv("OMP_NUM_THREADS", "77")
    assert machine_differences(before, machine("tensorflow"))[0].endswith("is now 77")
