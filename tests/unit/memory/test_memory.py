"""Memory: how much there is, how much is needed, what fits."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from clue_runner.adapters.base import MemoryFacts
from clue_runner.config.schema import Run
from clue_runner.engines.devices import Choice, Device
from clue_runner.errors import UsageError
from clue_runner.memory import batch_size as auto_batch
from clue_runner.memory import guess
from clue_runner.memory.limits import free_host_bytes, read_size
from clue_runner.memory.model import Need, step_need
from clue_runner.memory.network import Network, count_weights, network_of
from clue_runner.memory.table import WITHIN, Best, advise, handy, largest_rows, lengths, modes
from clue_runner.training.network import Choices, as_chosen
from clue_runner.training.prepare import padded_lengths

GIB = 2**30
SHAPES = {
    "base": ("num_layers=12", "hidden_dim=768", "num_heads=12", "intermediate_dim=3072"),
    "large": ("num_layers=24", "hidden_dim=1024", "num_heads=16", "intermediate_dim=4096"),
    "deep": ("num_layers=12", "hidden_dim=256", "num_heads=4", "intermediate_dim=1024"),
    "wide": ("num_layers=6", "hidden_dim=512", "num_heads=8", "intermediate_dim=2048"),
}


def test_weights_of_bert_base(make_run: Callable[..., Run]) -> None:
    """Hugging Face counts 102,267,648 in bert-base-chinese without heads."""
    run = make_run(*(f"model.{text}" for text in SHAPES["base"]), "model.max_positions=512")
    assert count_weights(run.model, 21128, 2) == 102_267_648 + 2 * 769


def network(make_run: Callable[..., Run], *overrides: str, precision: str = "bfloat16") -> Network:
    run = make_run(*overrides)
    head = MemoryFacts(every_token=run.model.pooling in {"mean", "max"})
    return network_of(run, head, vocab_size=21128, labels=2, precision=precision)


# MiB that a step of 16 rows added, without recomputation, by half blocks and by blocks: TensorFlow's graph
# on a CPU, ``scripts/bench_memory.py --predict``
MEASURED = {
    ("deep", 256, "float32"): (1531, 210, 252),
    ("wide", 192, "float32"): (1030, 255, 356),
    ("deep", 256, "bfloat16"): (926, 194, 196),
    ("wide", 192, "bfloat16"): (643, 212, 262),
}


@pytest.mark.parametrize(("shape", "length", "precision"), MEASURED)
def test_the_count_is_near_what_was_measured(
    make_run: Callable[..., Run], shape: str, length: int, precision: str
) -> None:
    facts = network(make_run, *(f"model.{text}" for text in SHAPES[shape]), precision=precision)
    for mode, mib in zip(("none", "sublayer", "block"), MEASURED[shape, length, precision], strict=True):
        assert step_need(facts, 16, length, mode).step == pytest.approx(mib * 2**20, rel=WITHIN)


@pytest.mark.parametrize(("shape", "ratio"), [("base", 3.0), ("large", 4.0)])
def test_by_the_count_recomputed_blocks_let_batches_grow(
    make_run: Callable[..., Run], shape: str, ratio: float
) -> None:
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


def test_a_copy_of_the_state_is_counted_where_it_is_kept(make_run: Callable[..., Run]) -> None:
    """It is held from the first update on: beside weights and moments on a CPU, on the host for a GPU."""
    run, head = make_run("train.ema=0.9"), MemoryFacts(every_token=False)
    here, there = (
        step_need(
            network_of(run, head, vocab_size=21128, labels=2, precision="float32", on_gpu=on_gpu),
            *(8, 64, "none"),
        )
        for on_gpu in (False, True)
    )
    assert here.copy == here.state == 4 * here.parameters  # weights, their average, two moments
    assert there == here._replace(copy=0)
    assert here.total == there.total + here.state


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


def test_advice_counts_examples_of_several_rows(make_run: Callable[..., Run]) -> None:
    best = [Best("none", 64, 43), Best("block", 64, 90)]
    assert advise(make_run(), best, 64, 64, group=4).settings == (
        "model.recompute=block",
        "train.batch_size=64",
        "train.accumulate=4",
    )
    assert advise(make_run(), best, 64, 10, group=4).settings[0] == "model.recompute=none"
    assert advise(make_run(), [Best("none", 64, 400)], 64, 100, group=4).settings[-1:] == (
        "train.token_budget=25600",
    )


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
    (groups / "memory.stat").write_text("anon 900\ninactive_file 600\n", encoding="utf-8")
    assert free_host_bytes(meminfo, groups) == 500_600
    (groups / "memory").mkdir()
    (groups / "memory" / "memory.limit_in_bytes").write_text("300", encoding="utf-8")
    (groups / "memory" / "memory.usage_in_bytes").write_text("400", encoding="utf-8")
    assert free_host_bytes(meminfo, groups) == 0
    (groups / "memory" / "memory.stat").write_text(
        "inactive_file 1\ntotal_inactive_file 150\n", encoding="utf-8"
    )
    assert free_host_bytes(meminfo, groups) == 50
    assert free_host_bytes(tmp_path / "none", tmp_path / "none") is None


@pytest.mark.parametrize(
    ("device", "driver", "kind"),
    [("gpu:1", None, "gpu"), ("auto", None, "cpu"), ("auto", 10**9, "gpu"), ("cpu", 10**9, "cpu")],
)
def test_what_is_computed_on_is_guessed_without_a_backend(
    make_run: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    driver: int | None,
    kind: str,
) -> None:
    monkeypatch.setattr(guess, "free_gpu_bytes", lambda index: driver)
    run = make_run(f"device={device}")
    choices = guess.guess_choices(run)
    assert choices.device.kind == kind
    if kind == "gpu":
        assert (choices.precision.value, choices.jit.value) == ("bfloat16", "on")


@pytest.mark.parametrize(
    ("overrides", "form"),
    [
        (("data.max_length=2048", "model.positions=hierarchical"), "chunked"),
        (("backend=jax", "device=gpu", "model.attention_dropout=0"), "fused"),
        (("backend=jax", "device=gpu"), "einsum"),
        (("model.attention=chunked",), "chunked"),
    ],
)
def test_forecasts_know_the_form_of_attention(
    make_run: Callable[..., Run], overrides: tuple[str, ...], form: str
) -> None:
    """TensorFlow computes all rows in chunks where some are long, JAX takes the GPU's kernel where it can."""
    run = make_run(*overrides)
    assert as_chosen(run, guess.guess_choices(run)).model.attention == form


Material = Callable[..., Any]
HEAD = MemoryFacts(every_token=False)


def setup(run: Run, rows: Any, choices: Choices, vocab_size: int = 21128) -> Any:
    """What the batch size is found from."""
    return SimpleNamespace(
        run=run,
        choices=choices,
        rows={"train": rows},
        card=SimpleNamespace(labels=["0", "1"]),
        adapter=SimpleNamespace(memory_facts=lambda: HEAD),
        vocab_size=vocab_size,
        buckets=padded_lengths(rows, run, jit=choices.jit.value == "on"),
    )


@pytest.fixture
def material() -> Material:
    """``count`` examples of ``group`` rows of ``length`` tokens."""
    from clue_runner.tokens.rows import Rows

    def make(count: int, length: int, group: int = 1) -> Any:
        many = count * group
        rows = Rows(
            np.arange(many + 1, dtype=np.int64) * length,
            {name: np.ones(many * length, np.int32) for name in ("token_ids", "segment_ids")},
            {"label": np.zeros(many, np.int32)},
            np.arange(many),
            np.arange(many) // group,
        )
        return rows

    return make


def choices(jit: str = "off") -> Choices:
    return Choices(Device("cpu", 0, "CPU", 1), Choice("float32", ""), Choice(jit, ""))


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Say how much memory is free."""
    return lambda size: monkeypatch.setattr(auto_batch, "free_bytes", lambda device: size)


@pytest.mark.parametrize(
    ("size", "count", "expected"), [(10**12, 1000, 256), (10**12, 100, 100), (60_000_000, 1000, None)]
)
def test_batch_size_auto(
    make_run: Callable[..., Run],
    material: Material,
    free: Callable[[int], None],
    size: int,
    count: int,
    expected: int | None,
) -> None:
    free(size)
    run = make_run("train.batch_size=auto", "model.hidden_dim=64", "model.num_layers=8")
    found = auto_batch.resolve_examples(setup(run, material(count, 16), choices()))
    examples = found.run.train.examples
    if expected is None:
        facts = auto_batch.network_of_setup(setup(run, material(count, 16), choices()))
        assert 8 <= examples < 256 and examples % 8 == 0
        assert step_need(facts, examples, 16, "none").total <= 0.8 * size
        assert step_need(facts, examples + 8, 16, "none").total > 0.8 * size
    else:
        assert examples == expected
    assert str(examples) in str(found.why)
    assert found.run.train.token_budget == run.train.token_budget  # room enough for short rows
    assert auto_batch.as_begun(run, found.run).run == found.run
    free(1000)
    with pytest.raises(UsageError, match="not even one example"):
        auto_batch.resolve_examples(setup(run, material(count, 16), choices()))
    with pytest.raises(ValueError, match="not resolved"):
        _ = run.train.examples


def test_an_automatic_batch_is_computed_at_once(
    make_run: Callable[..., Run], material: Material, free: Callable[[int], None]
) -> None:
    """Examples of four rows, padded to the longest bucket: the token budget grows with them, and stays."""
    free(10**12)
    run = make_run("train.batch_size=auto")
    found = auto_batch.resolve_examples(setup(run, material(300, 11, group=4), choices(jit="on"), 100))
    train = found.run.train
    assert (train.examples, train.token_budget) == (256, 256 * 4 * 16)
    assert "256 examples of 4 rows of 16 tokens" in str(found.why)
    assert "train.token_budget raised to 16384" in str(found.why)
    assert auto_batch.as_begun(run, found.run).run == found.run
    wider = make_run("train.batch_size=auto", "train.token_budget=20000")
    assert auto_batch.as_begun(wider, found.run).run.train.token_budget == 20000


@pytest.mark.skipif(os.environ.get("KERAS_BACKEND") != "jax", reason="JAX alone has the compiler's analysis")
def test_the_compilers_forecast(make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """A line through two compiled steps: right between them; no weight is made and no step is run."""
    from clue_runner.data.cards import find_card
    from clue_runner.engines.jax import JaxEngine
    from clue_runner.memory.forecast import batch_shapes, compiled, sample_rows
    from clue_runner.training.network import choose, open_tokenizer

    for name in ("init", "step"):
        monkeypatch.setattr(JaxEngine, name, lambda *arguments, **options: pytest.fail("it ran"))
    plain = [f"model.{name}=0" for name in ("dropout", "attention_dropout", "head_dropout")]
    run = make_run("backend=jax", "device=cpu", "model.num_layers=1", "data.max_length=64", *plain)
    card = find_card("afqmc")
    chosen = choose(run)
    run = as_chosen(run, chosen)
    rows = sample_rows(run, card, open_tokenizer(run, None))
    facts = network_of(run, HEAD, vocab_size=100, labels=2, precision=chosen.precision.value)
    engines: list[JaxEngine] = []
    real = JaxEngine.plan
    monkeypatch.setattr(
        JaxEngine, "plan", lambda self, *arguments: (engines.append(self), real(self, *arguments))
    )
    done: list[int] = []
    forecast = compiled(run, card, facts, chosen, rows, ["none"], done.append)
    assert done == [1, 2]
    there = engines[0].step_memory(batch_shapes(rows, 16, 64))
    need = forecast("none", 16, 64)
    assert need.state == pytest.approx(there["state"], rel=0.05)  # the batch is counted
    assert need.step == pytest.approx(there["temporary"], rel=0.1)
    assert need.parameters == 4 * count_weights(run.model, 100, 2)
    assert forecast("none", 16, 32).step < need.step < forecast("none", 32, 64).step
