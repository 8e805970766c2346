"""What rules, techniques, words and positions inside attention add to the memory of a step."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clue_runner.adapters.base import MemoryFacts
from clue_runner.architectures.base import load_architecture
from clue_runner.config.schema import Run, Section
from clue_runner.config.sections import schema_of
from clue_runner.engines.techniques import make_technique
from clue_runner.engines.techniques.base import Extra
from clue_runner.memory.model import Need, step_need
from clue_runner.memory.network import Network, network_of
from clue_runner.memory.table import WITHIN


def network(make_run: Callable[..., Run], *overrides: str) -> Network:
    head = MemoryFacts(every_token=False)
    return network_of(make_run(*overrides), head, vocab_size=21128, labels=3, precision="float32")


SIZES = {
    "flat": {"num_layers": 3, "hidden_dim": 256, "num_heads": 4, "intermediate_dim": 1024},
    "tiny": {"num_layers": 4, "hidden_dim": 312, "num_heads": 12, "intermediate_dim": 1248},
}
# MiB that a step added: TensorFlow's graph on a CPU, and what XLA's analysis of the compiled step says
MEASURED = [
    ("nezha", "tensorflow", "flat", 8, 256, "none", 197.7),
    ("nezha", "tensorflow", "flat", 8, 256, "block", 139.2),
    ("nezha", "tensorflow", "tiny", 16, 128, "none", 316.2),
    ("nezha", "jax", "flat", 8, 256, "none", 200.7),
    ("deberta_v2", "tensorflow", "flat", 8, 256, "none", 223.9),
    ("deberta_v2", "tensorflow", "flat", 8, 256, "block", 138.0),
    ("deberta_v2", "tensorflow", "tiny", 16, 128, "none", 467.3),
    ("deberta_v2", "tensorflow", "tiny", 16, 128, "block", 368.6),
    ("deberta_v2", "jax", "tiny", 16, 128, "none", 790.0),
    ("deberta_v2", "jax", "tiny", 16, 128, "block", 556.0),
]


@pytest.mark.parametrize(("family", "backend", "size", "rows", "length", "mode", "mib"), MEASURED)
def test_the_count_is_near_what_was_measured_where_positions_are_inside_attention(
    make_run: Callable[..., Run],
    family: str,
    backend: str,
    size: str,
    rows: int,
    length: int,
    mode: str,
    mib: float,
) -> None:
    run = make_run(f"backend={backend}")
    kind = schema_of(Section, load_architecture(family).shape).groups["model"]
    common = run.model.model_dump(include=set(kind.model_fields) - {"positions"})
    model = kind.model_validate({**common, **SIZES[size], "family": family, "recompute": mode})
    run = run.model_copy(update={"model": model})
    head = MemoryFacts(every_token=False)
    facts = network_of(run, head, vocab_size=21128, labels=3, precision="float32")
    assert step_need(facts, rows, length, mode).step == pytest.approx(mib * 2**20, rel=WITHIN)


def test_what_rules_and_averages_keep_is_counted(make_run: Callable[..., Run]) -> None:
    def kept(*overrides: str) -> float:
        need = step_need(network(make_run, "model.hidden_dim=256", *overrides), 8, 64, "none")
        return need.optimizer / need.parameters

    assert kept() == kept("train.optimizer=radam") == kept("train.optimizer=lamb") == 2  # both moments
    assert kept("train.optimizer=lion") == 1
    assert kept("train.optimizer=adafactor", "train.beta_1=0") == kept("train.optimizer=lion")
    assert kept("train.ema=0.9") == kept("train.lookahead=5") == 3
    assert kept("train.ema=0.9", "train.lookahead=5") == 4


def test_passes_of_techniques_are_counted(make_run: Callable[..., Run]) -> None:
    def step(*overrides: str, mode: str = "none") -> int:
        return step_need(network(make_run, *overrides), 64, 64, mode).step

    plain, tokens = step(), 64 * 64 * make_run().model.hidden_dim * 4
    assert step("train.label_smoothing=0.1") == step("train.focal=2") == plain
    assert plain < step("train.fgm=1") <= plain + 2 * tokens  # passes one after another, and the noise
    facts = network(make_run)
    gradients = 4 * (facts.weights - facts.vocab_size * facts.model.embedding_dim)  # without the table
    assert step("train.fgm=1", "train.fgm_clean=true") == step("train.fgm=1") + gradients
    assert 1.5 * plain < step("train.r_drop=4") < 2.1 * plain
    assert step("train.gradient_penalty=1") > 1.5 * plain
    deep = ("train.r_drop=4", "model.num_layers=12")
    assert step(*deep, mode="block") < step(*deep) / 2


def test_a_technique_states_what_it_adds(make_run: Callable[..., Run]) -> None:
    """Those in one another multiply their passes, and what they hold is added."""
    inner, outer = Extra(passes=2.0, noises=1), Extra(passes=3.0, gradients=1, scores=4.0)
    assert outer.around(inner) == Extra(6.0, 1, 1, 4.0)
    both = network(make_run, "train.r_drop=4", "train.fgm=1", "train.fgm_clean=true").extra
    assert (both.passes, both.gradients) == (2.0, 1)
    written = make_technique("teaforn", {"teaforn": 3})
    assert written.extra(recomputed=False).passes == 3 and written.extra(recomputed=True).passes == 1
    assert make_technique("teaforn", {"teaforn": 1}).extra(recomputed=False) == Extra()


def test_words_that_are_scored_or_written_are_counted(make_run: Callable[..., Run]) -> None:
    """Scores over the vocabulary, a dense gradient of its table, keys and values of what is written."""
    run, rows = make_run("data.max_length=128"), 32

    def need(head: MemoryFacts) -> Need:
        facts = network_of(run, head, vocab_size=21128, labels=1, precision="float32")
        return step_need(facts, rows, 128, "none")

    reads, scores = need(MemoryFacts(True)), need(MemoryFacts(True, word_places=64))
    table, one = 21128 * run.model.hidden_dim * 4, rows * 64 * 21128 * 4
    assert scores.step - reads.step == pytest.approx(3 * one + table, rel=0.01)
    written = need(MemoryFacts(True, word_places=1, beams=64))
    cache = 2 * run.model.num_layers * rows * 64 * 129 * run.model.hidden_dim * 4
    assert (written.gradients, written.activations) == (0, cache)
    assert written.temporary == cache + 3 * rows * 64 * 21128 * 4
