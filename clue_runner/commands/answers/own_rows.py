"""Answers to a user's own records as rows: the texts, the answer in code and words, all probabilities.

In: records with their predictions. Out: one mapping per record, JSON lines. Knows nothing about networks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from clue_runner.adapters.base import Adapter, Prediction, Predictions
from clue_runner.data.records import Records
from clue_runner.training.answers import digits, predictions_bytes

SHOWN_TEXT = 24  # characters of each text on a line for people


def own_rows(adapter: Adapter, predictions: Predictions, records: Records[Any]) -> list[dict[str, Any]]:
    """Return one row per record: id, text fields, prediction, its name, probabilities of all labels."""
    return [
        _row(adapter, record, prediction)
        for record, prediction in zip(records.items, predictions, strict=True)
    ]


def rows_bytes(rows: list[dict[str, Any]]) -> bytes:
    """Return rows as JSON lines; bytes of a name that are not UTF-8 are escaped."""
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")


def row_line(row: dict[str, Any]) -> str:
    """Return a row for people: the answer, its probability, the beginnings of the texts."""
    answer = row.get("label") or row["prediction"]
    said = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
    probability = f"   {row['probability']:.4f}" if "probability" in row else ""
    texts = " | ".join(
        text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}…" for text in row["fields"].values()
    )
    return f"{said or 'no answer'}{probability}   {' '.join(texts.split())}"


def _row(adapter: Adapter, record: Any, prediction: Prediction) -> dict[str, Any]:
    (plain,) = map(json.loads, predictions_bytes([prediction], probabilities=True).splitlines())
    shown = adapter.show(record, prediction)
    fields: dict[str, str] = {}
    for number, one in enumerate(shown.texts, start=1):
        fields[one.field if one.field not in fields else f"{one.field} {number}"] = one.text
    row: dict[str, Any] = {"id": plain.pop("id"), "fields": fields, "prediction": plain.pop("prediction")}
    labels = adapter.card.labels
    if isinstance(prediction.prediction, str) and prediction.prediction in adapter.card.label_names:
        row["label"] = adapter.label_words(prediction.prediction)
    row |= plain
    probabilities = prediction.probabilities
    if probabilities is not None and len(probabilities) == len(labels) and labels:
        row["probabilities"] = [
            {"label": label.name, "name": label.description, "probability": digits(float(value))}
            for label, value in zip(labels, probabilities, strict=True)
        ]
    elif shown.options:
        row["options"] = list(_options(shown.options))
    return row


def _options(options: Any) -> Iterator[dict[str, Any]]:
    for option in options:
        value = option.probability
        yield {"text": option.text, "probability": None if value is None else digits(value)}
