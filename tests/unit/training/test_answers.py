from __future__ import annotations

import json

import numpy as np
import pytest

from clue_runner.adapters.base import Prediction
from clue_runner.training.answers import predictions_bytes


def test_one_line_a_record_in_order() -> None:
    raw = predictions_bytes(
        [Prediction(7, "类\u2028别", 0.25), Prediction("x", "0", None)], probabilities=True
    )
    lines = raw.decode().split("\n")
    assert lines[-1] == ""
    assert [json.loads(line) for line in lines[:-1]] == [
        {"id": 7, "prediction": "类\u2028别", "probability": 0.25},
        {"id": "x", "prediction": "0"},
    ]


def test_probabilities_can_be_left_out() -> None:
    assert json.loads(predictions_bytes([Prediction(1, "0", 0.5)], probabilities=False)) == {
        "id": 1,
        "prediction": "0",
    }


@pytest.mark.parametrize("ulps", [0, 1, 2])
def test_neighbouring_float32_stay_apart(ulps: int) -> None:
    value = np.float32(0.7)
    for _ in range(ulps):
        value = np.nextafter(value, np.float32(1))
    line = json.loads(predictions_bytes([Prediction(1, "0", float(value))], probabilities=True))
    assert np.float32(line["probability"]) == value
