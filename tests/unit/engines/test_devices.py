"""Backend, device, precision and compiler: what is chosen, why, and what is refused."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clue_runner.engines import devices
from clue_runner.engines.devices import Device, choose_device, choose_jit, choose_precision, set_backend
from clue_runner.errors import UsageError

CPU = Device("cpu", 0, "CPU", 2)
GPU = Device("gpu", 0, "H100", 2)
BACKEND: Any = os.environ.get("KERAS_BACKEND", "tensorflow")
OTHER: Any = "jax" if BACKEND == "tensorflow" else "tensorflow"


def test_a_conflicting_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(UsageError, match="KERAS_BACKEND") as caught:
        set_backend("tensorflow")
    assert caught.value.exit_code == 2


def test_an_imported_keras_cannot_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    loaded = SimpleNamespace(config=SimpleNamespace(backend=lambda: BACKEND))
    monkeypatch.setitem(sys.modules, "keras", loaded)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="already computes with"):
        set_backend(OTHER)
    set_backend(BACKEND)
    assert os.environ["KERAS_BACKEND"] == BACKEND


def test_a_backend_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="jax is not installed"):
        set_backend("jax")


@pytest.mark.parametrize("given", [{}, {"XLA_CLIENT_MEM_FRACTION": "0.5"}])
def test_xla_may_fill_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: dict[str, str]) -> None:
    """Its pool ends at three quarters otherwise; JAX refuses its variable's two names together."""
    environment = {"CLUE_HOME": str(tmp_path), **given}
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    set_backend("jax")
    assert environment.get("XLA_PYTHON_CLIENT_MEM_FRACTION") == (None if given else "0.95")


class FakeTools:
    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.used: list[Any] = []

    def gpu_names(self) -> list[str]:
        return self.names

    def use_gpu(self, index: int) -> None:
        self.used.append(index)

    def use_cpu(self) -> None:
        self.used.append("cpu")

    def sharing_count(self) -> int:
        return len(self.names) or 4


@pytest.mark.parametrize(
    ("device", "names", "used", "text"),
    [
        ("auto", [], "cpu", "jax sees no GPU"),
        ("cpu", ["A", "B"], "cpu", "CPU"),
        ("auto", ["A", "B"], 0, "A (gpu:0, jax)"),
        ("gpu", ["A"], 0, "A"),
        ("gpu:1", ["A", "B"], 1, "B (gpu:1"),
    ],
)
def test_which_device_is_taken(
    monkeypatch: pytest.MonkeyPatch, device: str, names: list[str], used: Any, text: str
) -> None:
    tools = FakeTools(names)
    monkeypatch.setattr("clue_runner.engines.device_tools", lambda backend: tools)
    found = choose_device("jax", device)
    assert tools.used == [used]
    assert text in found.text
    assert found.cores == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("device", "names", "count", "text"),
    [
        ("auto", ["A", "A", "B"], 3, "2 x A + 1 x B (gpu:0 to gpu:2, jax), which share each batch"),
        ("gpu", ["A", "A"], 2, "2 x A (gpu:0 to gpu:1, jax), which share each batch"),
        ("gpu:1", ["A", "B"], 1, "B (gpu:1, jax)"),
        ("gpu", ["A"], 1, "A (gpu:0, jax)"),
        ("cpu", ["A", "B"], 2, "as 2 devices that share each batch (jax)"),
        ("auto", [], 4, "as 4 devices that share each batch (jax, jax sees no GPU)"),
    ],
)
def test_devices_share_batches_unless_one_is_named(
    monkeypatch: pytest.MonkeyPatch, device: str, names: list[str], count: int, text: str
) -> None:
    monkeypatch.setattr("clue_runner.engines.device_tools", lambda backend: FakeTools(names))
    found = choose_device("jax", device, shared=True)
    assert found.count == count
    assert text in found.text
    assert choose_device("jax", device).count == 1


def test_tensorflow_says_which_gpus_stay_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = FakeTools(["A", "A", "A"])
    monkeypatch.setattr(tools, "sharing_count", lambda: 1)
    monkeypatch.setattr("clue_runner.engines.device_tools", lambda backend: tools)
    found = choose_device("tensorflow", "auto", shared=True)
    assert (found.count, found.text) == (1, "A (gpu:0, tensorflow; it uses one GPU, 2 more stay idle)")


@pytest.mark.parametrize(("device", "names"), [("gpu", []), ("gpu:0", []), ("gpu:2", ["A", "B"])])
def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch, device: str, names: list[str]) -> None:
    monkeypatch.setattr("clue_runner.engines.device_tools", lambda backend: FakeTools(names))
    with pytest.raises(UsageError, match="sees no GPU") as caught:
        choose_device("jax", device)
    assert caught.value.exit_code == 2


def test_precision() -> None:
    assert choose_precision("auto", CPU, frozenset({"avx512_bf16", "avx2"})) == devices.Choice(
        "bfloat16", "the processor has avx512_bf16"
    )
    assert choose_precision("auto", CPU, frozenset({"amx_bf16"})).value == "bfloat16"
    assert choose_precision("auto", CPU, frozenset({"avx2"})).value == "float32"
    assert choose_precision("auto", GPU, frozenset()).value == "bfloat16"
    assert choose_precision("float32", GPU).value == "float32"


def test_jit() -> None:
    assert [choose_jit("auto", backend, device).value for backend, device in _pairs()] == [
        "off",
        "on",
        "on",
        "on",
    ]
    assert choose_jit("off", "jax", CPU).value == "off"


def _pairs() -> list[tuple[Any, Device]]:
    return [("tensorflow", CPU), ("tensorflow", GPU), ("jax", CPU), ("jax", GPU)]
