"""A checkpoint's weights on their way into an engine: the token table is corrected once, at import alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from clue_runner.architectures.mask_correction import Masking, corrected
from clue_runner.checkpoints.importer import read_checkpoint
from clue_runner.config.schema import Run
from clue_runner.engines import Engine
from clue_runner.errors import UsageError
from clue_runner.tokens.tokenizer import Tokenizer
from clue_runner.training.pretrained.opening import open_checkpoint
from clue_runner.training.pretrained.weights import correctable_table, load_pretrained

BERT = Path(__file__).parents[2] / "goldens" / "bert"
TABLE = "backbone/embeddings/word"


class Weights:
    """What an engine has of the two methods that are used here."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self.values = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}

    def get_weights(self, *, averaged: bool) -> dict[str, Any]:
        return dict(self.values)

    def set_weights(self, weights: dict[str, Any]) -> None:
        self.values = dict(weights)


def loaded(run: Run) -> dict[str, Any]:
    checkpoint = read_checkpoint(BERT)
    network = [name for name in checkpoint.weights if name.startswith("backbone/")]
    engine = Weights({name: checkpoint.weights.shape(name) for name in network})
    tokenizer = Tokenizer(BERT / "vocab.txt", lowercase=True)
    load_pretrained(cast(Engine, engine), checkpoint, run.model, tokenizer)
    return engine.values


def test_the_token_table_alone_is_corrected(make_run: Any) -> None:
    run = make_run()
    plain = loaded(run)
    model = run.model.model_copy(update={"mlm_correction": 0.3, "mlm_split": "0.5/0.25/0.25"})
    found = loaded(run.model_copy(update={"model": model}))
    mask_row = Tokenizer(BERT / "vocab.txt", lowercase=True).mask_id
    for name, value in plain.items():
        expected = value
        if name == TABLE:
            expected = corrected(value, mask_row, Masking(0.3, 0.5, 0.25, 0.25))
            assert np.abs(expected - value).max() > 1e-3
        np.testing.assert_array_equal(found[name], expected)


def test_states_of_runs_and_heads_in_use_are_refused() -> None:
    checkpoint = read_checkpoint(BERT)
    assert correctable_table(checkpoint) == TABLE
    for other, words in (
        (replace(checkpoint, layout="native"), "come from a run"),
        (replace(checkpoint, heads=("masked_words",)), "still the output layer"),
    ):
        with pytest.raises(UsageError, match=words):
            correctable_table(other)


def test_it_is_refused_before_anything_is_computed(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    model = run.model.model_copy(
        update={"mlm_correction": 0.15, "init": "checkpoint", "checkpoint": str(BERT)}
    )
    run = run.model_copy(update={"model": model})
    checkpoint = open_checkpoint(run)
    assert checkpoint is not None
    native = replace(checkpoint, layout="native")
    monkeypatch.setattr("clue_runner.training.pretrained.opening.read_checkpoint", lambda *_, **__: native)
    with pytest.raises(UsageError, match="come from a run"):
        open_checkpoint(run)
