"""Memory: telling that it ran out, how much there is, how much is needed, what fits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clue_runner.config.schema import Run
from clue_runner.errors import DataError, OutOfMemoryError, UsageError
from clue_runner.training import memory_limits
from clue_runner.training.memory import is_out_of_memory, memory_faults, smallest_step_error
from clue_runner.training.memory_limits import free_gpu_bytes, free_host_bytes, read_size
from clue_runner.training.memory_model import Need, Network, count_weights, network_of, step_need
from clue_runner.training.memory_plan import Best, advise, handy, largest_rows, lengths, modes

GIB = 2**30
SHAPES = {
    "base": ("num_layers=12", "hidden_dim=768", "num_heads=12", "intermediate_dim=3072"),
    "large": ("num_layers=24", "hidden_dim=1024", "num_heads=16", "intermediate_dim=4096"),
}


class ResourceExhaustedError(Exception):
    """TensorFlow's name for it."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ResourceExhaustedError("OOM"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 4096 bytes."),
        RuntimeError("OOM when allocating tensor with shape[8192,1248]"),
    ],
)
def test_every_backends_way_of_saying_it(error: Exception, make_run: Callable[..., Run]) -> None:
    with (
        pytest.raises(OutOfMemoryError, match=r"train.accumulate=2 .*--fresh") as caught,
        memory_faults(make_run()),
    ):
        raise error
    assert caught.value.exit_code == 7


@pytest.mark.parametrize(
    "error", [ValueError("shape"), RuntimeError("INVALID_ARGUMENT"), DataError("text about: Out of memory")]
)
def test_other_errors_are_not_taken_for_it(error: Exception, make_run: Callable[..., Run]) -> None:
    assert not is_out_of_memory(error)
    with pytest.raises(type(error)), memory_faults(make_run()):
        raise error


def test_the_last_error_says_what_else_can_be_done() -> None:
    text = str(smallest_step_error(MemoryError("12 bytes"), 512))
    assert "one example of 512 tokens" in text
    assert "--set model.recompute=block" in text


def test_weights_of_bert_base(make_run: Callable[..., Run]) -> None:
    """Hugging Face counts 102,267,648 in bert-base-chinese without heads."""
    run = make_run(*(f"model.{text}" for text in SHAPES["base"]), "model.max_positions=512")
    assert count_weights(run.model, 21128, 2) == 102_267_648 + 2 * 769


def network(make_run: Callable[..., Run], *overrides: str, precision: str = "bfloat16") -> Network:
    run = make_run(*overrides)
    return network_of(run, "classification", vocab_size=21128, labels=2, precision=precision)


@pytest.mark.parametrize(("shape", "ratio"), [("base", 3.0), ("large", 4.0)])
def test_recomputed_blocks_let_batches_grow(make_run: Callable[..., Run], shape: str, ratio: float) -> None:
    """512 tokens, 24 GB: three times the batch at BERT-base's depth, four times at BERT-large's."""
    facts = network(make_run, *(f"model.{text}" for text in SHAPES[shape]), "model.max_positions=512")

    def most(mode: str) -> int:
        return largest_rows(
            lambda *setting: step_need(facts, setting[1], setting[2], setting[0]), mode, 512, 24 * 10**9
        )

    assert most("block") / most("none") >= ratio


def test_the_need_grows_with_what_it_should(make_run: Callable[..., Run]) -> None:
    def total(mode: str = "none", *overrides: str, precision: str = "bfloat16", length: int = 64) -> int:
        facts = network(make_run, "model.num_layers=12", *overrides, precision=precision)
        return step_need(facts, 512, length, mode).total

    assert total(precision="float32") > total()
    assert total("none", "train.ema=0.9") > total()
    assert total("none", "model.pooling=mean") > total()
    assert total("block") < total("segment:3") < total("segment:6") < total()
    assert total("sublayer") < total()
    assert total("none", "model.dropout=0", "model.attention_dropout=0") < total()
    assert total("block", length=128) > total("block")
    four = [total("none", f"model.num_layers={count}") for count in (4, 8, 12)]
    assert four[2] - four[1] == pytest.approx(four[1] - four[0], rel=0.01)


def test_long_rows_in_chunks_need_no_square(make_run: Callable[..., Run]) -> None:
    for mode in ("none", "block"):
        facts = network(
            make_run, "model.attention=chunked", "model.positions=hierarchical", "model.num_layers=4"
        )
        steps = [step_need(facts, 1, length, mode).step for length in (1024, 2048, 4096)]
        assert steps[2] - steps[1] == pytest.approx(2 * (steps[1] - steps[0]), rel=0.05)


def test_modes_and_lengths_of_the_table() -> None:
    assert modes(12) == ("none", "sublayer", "block", "segment:3")
    assert modes(24)[-1] == "segment:5"
    assert modes(2) == ("none", "sublayer", "block")
    assert lengths(128) == (32, 64, 128)
    assert lengths(16) == (8, 16)


def line(slopes: dict[str, int]) -> Callable[[str, int, int], Need]:
    return lambda mode, rows, length: Need(100, 0, 200, slopes[mode] * rows, 0)


def test_largest_rows() -> None:
    forecast = line({"none": 10})
    assert largest_rows(forecast, "none", 64, 1000) == 70
    assert largest_rows(forecast, "none", 64, 309) == 0
    assert largest_rows(forecast, "none", 64, 10**9, largest=33) == 33
    assert [handy(rows) for rows in (0, 1, 3, 7, 8, 31, 70)] == [0, 1, 2, 4, 8, 24, 64]


@pytest.mark.parametrize(
    ("plain", "block", "wanted", "expected"),
    [
        (40, 90, 32, ("model.recompute=none", "train.batch_size=32")),
        (20, 90, 32, ("model.recompute=block", "train.batch_size=32")),
        (5, 20, 64, ("model.recompute=block", "train.batch_size=64", "train.accumulate=4")),
        (300, 900, 256, ("model.recompute=none", "train.batch_size=256", "train.token_budget=16384")),
        (0, 0, 32, ()),
    ],
)
def test_advice(
    make_run: Callable[..., Run], plain: int, block: int, wanted: int, expected: tuple[str, ...]
) -> None:
    best = [Best("none", 64, plain), Best("block", 64, block), Best("block", 32, 999)]
    advice = advise(make_run(), best, 64, wanted)
    assert advice.settings == expected
    make_run(*advice.settings)  # every setting is one that a run takes


@pytest.mark.parametrize(
    ("text", "size"), [("24GB", 24 * 10**9), ("8g", 8 * 10**9), ("1.5 GiB", 3 * 2**29), ("512MiB", 2**29)]
)
def test_sizes(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "24 apples", "-3GB", "0GB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="--budget"):
        read_size(text)


def test_free_memory_is_the_containers_where_that_is_less(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9999 kB\nMemAvailable:    2048 kB\n", encoding="utf-8")
    groups = tmp_path / "groups"
    assert free_host_bytes(meminfo, groups) == 2048 * 1024
    groups.mkdir()
    (groups / "memory.current").write_text("1000\n", encoding="utf-8")
    (groups / "memory.max").write_text("max\n", encoding="utf-8")
    assert free_host_bytes(meminfo, groups) == 2048 * 1024
    (groups / "memory.max").write_text("501000\n", encoding="utf-8")
    assert free_host_bytes(meminfo, groups) == 500_000
    (groups / "memory").mkdir()
    (groups / "memory" / "memory.limit_in_bytes").write_text("300", encoding="utf-8")
    (groups / "memory" / "memory.usage_in_bytes").write_text("400", encoding="utf-8")
    assert free_host_bytes(meminfo, groups) == 0
    assert free_host_bytes(tmp_path / "none", tmp_path / "none") is None


def test_the_gpus_memory_is_what_its_driver_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\n[ "$3" = --id=1 ] && echo 1234\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(memory_limits.shutil, "which", lambda name: str(program))
    assert free_gpu_bytes(1) == 1234 * 2**20
    assert free_gpu_bytes(0) is None
    monkeypatch.setattr(memory_limits.shutil, "which", lambda name: None)
    assert free_gpu_bytes(1) is None


@pytest.fixture
def afqmc_rows() -> Any:
    from clue_runner.tokens.rows import Rows

    return lambda count, length: Rows(
        np.arange(count + 1, dtype=np.int64) * length,
        {"token_ids": np.ones(count * length, np.int32), "segment_ids": np.zeros(count * length, np.int32)},
        {"label": np.zeros(count, np.int32)},
        np.arange(count),
        np.arange(count),
    )


@pytest.mark.parametrize(
    ("free", "count", "expected"), [(10**12, 1000, 256), (10**12, 100, 100), (60_000_000, 1000, None)]
)
def test_batch_size_auto(
    make_run: Callable[..., Run],
    afqmc_rows: Any,
    monkeypatch: pytest.MonkeyPatch,
    free: int,
    count: int,
    expected: int | None,
) -> None:
    from types import SimpleNamespace

    from clue_runner.training import auto_batch
    from clue_runner.training.devices import Device

    monkeypatch.setattr(auto_batch, "free_bytes", lambda device: free)
    run = make_run(
        "train.batch_size=auto", "train.precision=float32", "model.hidden_dim=64", "model.num_layers=8"
    )
    card = SimpleNamespace(adapter="classification", labels=["0", "1"])
    material: Any = SimpleNamespace(card=card, rows={"train": afqmc_rows(count, 16)})
    device = Device("cpu", 0, "CPU", 1)
    found = auto_batch.resolve_examples(run, material, 21128, device)
    examples = found.run.train.examples
    if expected is None:
        facts = auto_batch.network_of_run(run, material, 21128, device)
        assert 8 <= examples < 256 and examples % 8 == 0
        assert step_need(facts, examples, 16, "none").total <= 0.8 * free
        assert step_need(facts, examples + 8, 16, "none").total > 0.8 * free
    else:
        assert examples == expected
    assert str(examples) in str(found.why)
    assert auto_batch.as_begun(run, found.run).run == found.run
    monkeypatch.setattr(auto_batch, "free_bytes", lambda device: 1000)
    with pytest.raises(UsageError, match="not even one example"):
        auto_batch.resolve_examples(run, material, 21128, device)
    with pytest.raises(ValueError, match="not resolved"):
        _ = run.train.examples
