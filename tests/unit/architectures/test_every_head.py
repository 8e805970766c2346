"""Every kind of head on every family of encoders: a loss, answers that can be read, recomputation, refusals.

The default tests take the three families that differ most (JAX: one); scripts/check_encoders.py takes all.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras")

import keras
from keras import ops

from clue_runner.adapters.base import load_adapter
from clue_runner.adapters.sections import load_run
from clue_runner.architectures.base import load_architecture
from clue_runner.architectures.settings import make_shape
from clue_runner.config.shipped import shipped_folder
from clue_runner.data.cards import all_cards
from clue_runner.data.locate import locate
from clue_runner.errors import ClueError
from clue_runner.tokens.batches import batch_arrays
from clue_runner.tokens.tokenizer import Tokenizer

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
EVERY = os.environ.get("CLUE_EVERY_ENCODER") == "1"
SIZES = {"num_layers": 2, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 24}
PLACES = 64
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", {"max_positions": PLACES}),
    "albert": ("albert", {"embedding_width": 8, "max_positions": PLACES}),
    "albert-zh": ("albert", {"embedding_width": 8, "widened": "words", "max_positions": PLACES}),
    "electra": ("electra", {"embedding_width": 8, "max_positions": PLACES}),
    "ernie": ("ernie", {"num_task_types": 3, "task_type": 1, "max_positions": PLACES}),
    "deberta": ("deberta_v2", {"buckets": 4, "max_distance": 9}),
    "nezha": ("nezha", {"max_distance": 3}),
    "roformer": ("roformer", {"embedding_width": 8}),
    "roformer-v2": ("roformer", {"version": "2"}),
    "gpt2-ml": ("gpt2_ml", {"max_positions": PLACES}),
}
SHOWN = sorted(KINDS) if EVERY else ["albert", "deberta", "nezha"] if BACKEND == "tensorflow" else ["nezha"]
HEADS = {
    "classification": ("afqmc", ()),
    "entities as spans": ("cluener", ("task.head=globalpointer",)),
    "entities as tags": ("cluener", ("task.head=crf",)),
    "answers": ("cmrc2018", ()),
    "choices": ("c3", ()),
    "cloze": ("chid", ()),
    "writing": ("csl_title", ("task.max_target_length=4", "task.beam=2")),
}


@cache
def words() -> Tokenizer:
    """The vocabulary that ships."""
    return Tokenizer(Path(shipped_folder("configs")) / "models" / "vocab" / "zh.txt", lowercase=True)


@cache
def prepared(head: str, family: str) -> tuple[Any, dict[str, Any]]:
    """The adapter of a kind of head and a small batch of its sample; a decoder's first token sees itself."""
    name, own = HEADS[head]
    own = (*own, "model.pooling=mean") if load_architecture(family).shape.WRITES else own
    card = all_cards()[name]
    overrides = [f"data.max_length={PLACES}", "model.head_dropout=0", *own]
    adapter = load_adapter(card, load_run(task=name, card_settings={}, model="test", overrides=overrides))
    adapter.tokenizer = words()
    rows = adapter.encode(adapter.read(locate(card, "sample"), "train"), words())
    rows = adapter.epoch_rows(rows, 1, 0)
    groups = np.arange(rows.group_starts[2])  # the rows of two groups, or two rows
    return adapter, batch_arrays(rows, groups, tokens=PLACES * 64, buckets=None)


def network(kind: str, head: str, **options: Any) -> Any:
    """A network with random weights."""
    family, own = KINDS[kind]
    shape = make_shape(family, **{**SIZES, **own, "dropout": 0.0, "attention_dropout": 0.0, **options})
    backbone = load_architecture(family).build(shape, words().vocab_size, precision="float32", seed=4)
    return prepared(head, family)[0].build(backbone)


def called(layer: Any, function: Any) -> Any:
    """What a function gives with plain tensors in the place of variables, see test_encoders.py."""
    values = [(weight, ops.stop_gradient(weight.value)) for weight in layer.weights]
    with keras.StatelessScope(state_mapping=values):
        return function()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", SHOWN)
def test_a_head_stands_on_a_family(kind: str, head: str) -> None:
    adapter, batch = prepared(head, KINDS[kind][0])
    layer = network(kind, head)
    loss, weight = (float(value) for value in called(layer, lambda: layer.loss(batch, None)))
    assert 0 < loss < 1e4 and weight > 0
    again = network(kind, head, recompute="block")
    found = called(again, lambda: again.loss(batch, None))
    assert float(found[0]) == pytest.approx(loss, rel=1e-5)
    answers = called(layer, lambda: layer.answer(batch))
    arrays = {name: ops.convert_to_numpy(value) for name, value in answers.items()}
    assert len(adapter.decode_batch(arrays, batch)) == len(batch["row"])


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_positions_are_stretched_or_refused_with_the_reason(kind: str) -> None:
    """Only what has a table of positions can be read beyond it."""
    family, own = KINDS[kind]
    wanted = {**SIZES, **own, "positions": "hierarchical"}
    if kind in {"bert", "albert", "albert-zh", "electra", "ernie"}:
        assert make_shape(family, **wanted).position_limit == PLACES**2
        return
    with pytest.raises((ClueError, ValueError), match="position table|learned"):
        load_architecture(family).build(make_shape(family, **wanted), 30, precision="float32", seed=1)
