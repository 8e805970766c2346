"""Beam search against all sequences of a toy model: 5 tokens, 4 places."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import pytest

from clue_runner.models.decoding.beam import Beam

VOCABULARY, LENGTH, END = 5, 4, 2
# logits of the next token after (token before last, last); row 0 of each axis stands for "none"
TABLE = (
    np.random.default_rng(7).normal(0, 1.5, (VOCABULARY + 1, VOCABULARY + 1, VOCABULARY)).astype(np.float32)
)
FIRST = np.stack([TABLE[0, 0], TABLE[3, 5]])
BEFORE = np.array([[0, 0], [3, 5]], np.int32)  # what the two rows of the batch begin with


def step(tokens: Any, index: Any, state: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """A model that remembers its last two tokens in its state, so that a wrong order of beams shows."""
    (pair,) = state
    pair = keras.ops.stack([pair[:, 1], tokens + 1], axis=1)
    flat = keras.ops.take(TABLE.reshape(-1, VOCABULARY), pair[:, 0] * (VOCABULARY + 1) + pair[:, 1], axis=0)
    return flat, (pair,)


def reorder(state: tuple[Any, ...], parents: Any) -> tuple[Any, ...]:
    return tuple(keras.ops.take(one, parents, axis=0) for one in state)


def search(**options: Any) -> tuple[Any, Any]:
    beam = Beam(length=LENGTH, end=END, **options)
    state = (keras.ops.convert_to_tensor(np.repeat(BEFORE, beam.width, axis=0)),)
    found = beam.search(keras.ops.convert_to_tensor(FIRST), state, step, reorder)
    return tuple(keras.ops.convert_to_numpy(one) for one in found)


def every_sequence(row: int, alpha: float, shortest: int = 1) -> dict[tuple[int, ...], float]:
    """The score of each sequence that ends, or fills all places."""
    found = {}
    for length in range(1, LENGTH + 1):
        for tokens in itertools.product(range(VOCABULARY), repeat=length):
            ended = tokens[-1] == END
            if END in tokens[:-1] or not (ended or length == LENGTH) or (ended and length < shortest):
                continue
            pair, total = tuple(BEFORE[row]), 0.0
            for token in tokens:
                logits = TABLE[pair].astype(np.float64)
                total += logits[token] - np.log(np.exp(logits).sum())
                pair = (pair[1], token + 1)
            found[tokens] = total / length**alpha
    return found


def written(tokens: Any) -> tuple[int, ...]:
    """A sequence as it was written: nothing stands behind its end."""
    kept = tokens.tolist()
    return tuple(kept[: kept.index(END) + 1] if END in kept else kept)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("shortest", [1, 3])
def test_the_full_width_finds_the_best_sequences_in_order(alpha: float, shortest: int) -> None:
    tokens, scores = search(width=VOCABULARY**LENGTH, alpha=alpha, shortest=shortest)
    for row in range(len(BEFORE)):
        every = sorted(every_sequence(row, alpha, shortest).items(), key=lambda item: -item[1])
        for place, (sequence, score) in enumerate(every[:20]):
            assert written(tokens[row, place]) == sequence
            assert scores[row, place] == pytest.approx(score, abs=1e-5)


def test_width_1_takes_the_most_probable_token_each_time() -> None:
    tokens, _ = search(width=1)
    for row, before in enumerate(BEFORE):
        pair, greedy = tuple(before), []
        while len(greedy) < LENGTH and END not in greedy:
            greedy.append(int(TABLE[pair].argmax()))
            pair = (pair[1], greedy[-1] + 1)
        assert written(tokens[row, 0]) == tuple(greedy)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_wider_beam_finds_no_worse_sequence(alpha: float) -> None:
    best = [search(width=width, alpha=alpha)[1][:, 0] for width in (2, 3, 25, 625)]
    every = [max(every_sequence(row, alpha).values()) for row in range(len(BEFORE))]
    assert (np.stack(best) <= np.array(every) + 1e-5).all()
    assert best[-1] == pytest.approx(every, abs=1e-5)


def test_lengths_are_worth_what_alpha_says() -> None:
    short, long = ((written(one) for one in search(width=625, alpha=alpha)[0][:, 0]) for alpha in (0.0, 2.0))
    assert all(len(one) < len(other) for one, other in zip(short, long, strict=True))
