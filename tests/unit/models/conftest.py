"""A small backbone's settings and batches of numpy arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from clue_runner.adapters.sections import load_run
from clue_runner.config.schema import ModelSettings


@pytest.fixture
def model_settings() -> Callable[..., ModelSettings]:
    """The ``test`` preset (2 layers of 32) with some settings changed."""

    def make(**changes: Any) -> ModelSettings:
        overrides = [f"model.{key}={value}" for key, value in changes.items()]
        return load_run(task="afqmc", card_settings={}, model="test", overrides=overrides).model

    return make


@pytest.fixture
def batch() -> dict[str, np.ndarray[Any, Any]]:
    """Five rows of up to 11 tokens, one of them all padding but the first token."""
    generator = np.random.default_rng(3)
    lengths = np.array([11, 4, 1, 8, 11], np.int32)
    inside = np.arange(11) < lengths[:, None]
    token_ids = np.where(inside, generator.integers(1, 50, (5, 11)), 0).astype(np.int32)
    segment_ids = np.where(inside, np.arange(11) > 4, 0).astype(np.int32)
    return {"token_ids": token_ids, "segment_ids": segment_ids, "lengths": lengths}
