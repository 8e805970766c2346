"""The token table corrected for pre-training's masks: a case by hand, what stays, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clue_runner.adapters.sections import load_run
from clue_runner.architectures.base import architecture_names, load_architecture
from clue_runner.architectures.mask_correction import (
    Masking,
    corrected,
    masking_of,
    require_correctable,
)
from clue_runner.errors import UsageError

MASK = 2
TABLE = np.random.default_rng(4).normal(size=(9, 5)).astype(np.float32)


def test_by_hand() -> None:
    found = corrected(np.array([[0.0], [10], [20]], np.float32), 2, Masking(0.15))
    np.testing.assert_allclose(found[:, 0], [2.55, 11.2, 19.85], rtol=1e-6)


def test_invariants() -> None:
    found, mask, mean = corrected(TABLE, MASK, Masking(0.15)), TABLE[MASK], TABLE.mean(axis=0)
    np.testing.assert_allclose(found[3] - found[7], 0.865 * (TABLE[3] - TABLE[7]), atol=1e-6)
    np.testing.assert_allclose(found[MASK], 0.985 * mask + 0.015 * mean, atol=1e-6)
    np.testing.assert_allclose(found.mean(axis=0), 0.88 * mean + 0.12 * mask, atol=1e-6)
    same = np.full((6, 2), 0.3, np.float32)
    np.testing.assert_allclose(corrected(same, MASK, Masking(0.4, 0.5, 0.25, 0.25)), same, atol=1e-7)
    np.testing.assert_array_equal(corrected(TABLE, MASK, Masking(0.0)), TABLE)


def test_it_is_the_mean_of_what_was_shown() -> None:
    """Rows drawn as pre-training draws them."""
    masking, draw, row = Masking(0.4, 0.6, 0.1, 0.3), np.random.default_rng(5), 7
    kinds = draw.choice(4, 200_000, p=[0.6, 0.24, 0.04, 0.12])
    shown = np.select([kinds == 1, kinds == 3], [MASK, draw.integers(0, 9, len(kinds))], row)
    np.testing.assert_allclose(TABLE[shown].mean(axis=0), corrected(TABLE, MASK, masking)[row], atol=0.01)


def test_settings() -> None:
    model = load_run(task="afqmc", model="test").model
    assert masking_of(model) is None
    model = model.model_copy(update={"mlm_correction": 0.3, "mlm_split": "0.5/0.25/0.25"})
    assert masking_of(model) == Masking(0.3, 0.5, 0.25, 0.25)
    for overrides, words in (
        (["model.mlm_split=0.8/0.1/0.2"], "must sum to 1"),
        (["model.mlm_split=0.8,0.2"], "model.mlm_split has an invalid value"),
        (["model.mlm_correction=0.15"], "weights are random"),
    ):
        with pytest.raises(UsageError, match=words):
            load_run(task="afqmc", model="test", overrides=overrides)


def test_what_must_not_be_corrected_is_refused() -> None:
    masked = [name for name in architecture_names() if load_architecture(name).shape.MASKED]
    others = [name for name in architecture_names() if name not in masked]
    assert masked and others
    good = load_architecture(masked[0])
    assert require_correctable(good, trained_by_us=False, heads=()) == good.shape.MASKED
    for architecture, trained_by_us, heads, words in (
        (load_architecture(others[0]), False, (), "not pre-trained on masked words"),
        (good, True, (), "come from a run"),
        (good, False, ("masked_words",), "still the output layer of masked_words"),
        (replace(good, name="other"), True, (), "come from a run"),
    ):
        with pytest.raises(UsageError, match=words) as refused:
            require_correctable(architecture, trained_by_us=trained_by_us, heads=heads)
        assert "model.mlm_correction" in str(refused.value)
