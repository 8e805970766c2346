"""Our span scorers against bert4keras's layers on the same weights (tests/goldens/span_scorer.npz)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import ops

from clue_runner.models.heads.span_scorer import SpanScorer, multilabel_loss
from clue_runner.models.kernels import NEGATIVE
from clue_runner.models.naming import named_variables

GOLDEN = Path(__file__).parents[1] / "goldens" / "span_scorer.npz"
# bert4keras's order of weights; without bias every second one is missing
NAMES = ("pointer/kernel", "pointer/bias", "type/kernel", "type/bias")


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    with np.load(GOLDEN, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def scorer_of(golden: dict[str, Any], name: str, use_bias: bool) -> SpanScorer:
    """Return our layer with the golden's weights."""
    inputs, scores = golden["inputs"], golden[f"{name}/no_bias/scores"]
    layer = SpanScorer(
        "scorer",
        0,
        "float32",
        width=inputs.shape[-1],
        types=scores.shape[1],
        head_size=8,
        efficient=name == "efficient",
        use_bias=use_bias,
    )
    case = f"{name}/{'bias' if use_bias else 'no_bias'}"
    ours = [one for one in NAMES if f"scorer/{one}" in named_variables(layer)]
    theirs = [golden[f"{case}/weights/{number}"] for number in range(len(ours))]
    for one, value in zip(ours, theirs, strict=True):
        named_variables(layer)[f"scorer/{one}"].assign(value)
    return layer


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("name", ["globalpointer", "efficient"])
def test_scores_and_loss_equal_bert4keras(golden: dict[str, Any], name: str, use_bias: bool) -> None:
    assert "bert4keras 0.11.5" in str(golden["versions"])
    case = f"{name}/{'bias' if use_bias else 'no_bias'}"
    layer = scorer_of(golden, name, use_bias)
    scores = layer(ops.convert_to_tensor(golden["inputs"]), ops.convert_to_tensor(golden["allowed"]))
    ours, theirs = ops.convert_to_numpy(scores), golden[f"{case}/scores"]
    inside = np.isfinite(theirs)
    assert np.abs(ours[inside] - theirs[inside]).max() < 1e-5
    assert (ours[~inside] == NEGATIVE).all() and inside.any() and not inside.all()
    loss = ops.convert_to_numpy(multilabel_loss(scores, ops.convert_to_tensor(golden["spans"])))
    assert loss == pytest.approx(golden[f"{case}/losses"].mean(axis=1), abs=1e-5)
