from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from keras import ops
from support.programs import one_program

from clue_runner.models.heads.crf import log_likelihood

KINDS = 4


def draw(seed: int, rows: int, length: int) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    shapes = {
        "emissions": (rows, length, KINDS),
        "transitions": (KINDS, KINDS),
        "start": (KINDS,),
        "end": (KINDS,),
    }
    arrays: dict[str, Any] = {
        name: generator.normal(scale=2, size=shape).astype(np.float32) for name, shape in shapes.items()
    }
    return arrays | {"tags": generator.integers(0, KINDS, (rows, length)).astype(np.int32)}


def brute_force(arrays: dict[str, Any], row: int, count: int) -> float:
    """Return the log-likelihood by summing over every sequence."""

    def score(path: Any) -> float:
        own = sum(float(arrays["emissions"][row, place, tag]) for place, tag in enumerate(path))
        steps = sum(float(arrays["transitions"][one, two]) for one, two in zip(path, path[1:], strict=False))
        return own + steps + float(arrays["start"][path[0]]) + float(arrays["end"][path[-1]])

    everything = [score(path) for path in product(range(KINDS), repeat=count)]
    return score(arrays["tags"][row, :count].tolist()) - float(np.logaddexp.reduce(everything))


LIKELIHOOD = one_program(log_likelihood)


def ours(arrays: dict[str, Any], counts: list[int]) -> Any:
    given = {**arrays, "counts": np.array(counts, np.int32)}
    tensors = {name: ops.convert_to_tensor(values) for name, values in given.items()}
    return ops.convert_to_numpy(LIKELIHOOD(**tensors))


@pytest.mark.parametrize("seed", range(4))
def test_likelihood_equals_brute_force(seed: int) -> None:
    arrays, counts = draw(seed, rows=5, length=5), [5, 4, 3, 2, 1]
    expected = [brute_force(arrays, row, count) for row, count in enumerate(counts)]
    assert ours(arrays, counts) == pytest.approx(expected, abs=1e-5)


def test_all_sequences_together_are_certain() -> None:
    arrays = draw(9, rows=KINDS**3, length=3)
    arrays["emissions"] = np.repeat(arrays["emissions"][:1], KINDS**3, axis=0)
    arrays["tags"] = np.array(list(product(range(KINDS), repeat=3)), np.int32)
    assert np.exp(ours(arrays, [3] * KINDS**3)).sum() == pytest.approx(1, abs=1e-5)


def test_without_transitions_it_is_a_softmax_of_each_token() -> None:
    arrays = draw(5, rows=3, length=6)
    for name in ("transitions", "start", "end"):
        arrays[name][:] = 0
    powers = np.exp(arrays["emissions"] - arrays["emissions"].max(axis=-1, keepdims=True))
    chances = np.log(powers / powers.sum(axis=-1, keepdims=True))
    expected = np.take_along_axis(chances, arrays["tags"][:, :, None], axis=2).sum(axis=(1, 2))
    assert ours(arrays, [6, 6, 6]) == pytest.approx(expected, abs=1e-5)


def test_what_lies_behind_a_row_does_not_matter() -> None:
    arrays = draw(6, rows=2, length=6)
    before = ours(arrays, [3, 0])
    assert before[1] == 0  # a text without tokens
    arrays["emissions"][:, 3:], arrays["tags"][:, 3:] = 1e4, 0
    assert ours(arrays, [3, 0]) == pytest.approx(before, abs=1e-6)
    cut = {
        name: values[:, :3] if values.ndim > 1 and name != "transitions" else values
        for name, values in arrays.items()
    }
    assert ours(cut, [3, 0]) == pytest.approx(before, abs=1e-6)


def test_one_token_and_scores_far_apart() -> None:
    arrays = draw(7, rows=1, length=1)
    assert ours(arrays, [1]) == pytest.approx([brute_force(arrays, 0, 1)], abs=1e-5)
    wide = draw(8, rows=1, length=4)
    wide["emissions"] *= 1000
    assert np.isfinite(ours(wide, [4])).all()
