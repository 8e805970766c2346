"""Reading on the official files: every answer goes to tokens and back, or is listed with its reason."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clue_runner.adapters.base import Prediction, load_adapter
from clue_runner.adapters.reading import Window
from clue_runner.adapters.sections import load_run
from clue_runner.data.cards import find_card, recommended_settings
from clue_runner.data.locate import locate
from clue_runner.data.records import Answer, ReadingRecord, Records
from clue_runner.tokens.layouts.spans import chars_to_tokens, covering_tokens, tokens_to_chars
from clue_runner.tokens.rows import Rows
from clue_runner.tokens.script import simplified
from clue_runner.tokens.tokenizer import Encoded, Tokenizer

pytestmark = pytest.mark.real_data

VOCABULARIES = ("bert_chinese_21128", "clue_8021")
SPACE = "begins or ends with a space, the rest is exact"
INSIDE = "begins or ends inside a token"

# (vocabulary, task, split) -> answers with an offset, and why some of them are no tokens
ROUND_TRIP = {
    ("bert_chinese_21128", "cmrc2018", "train"): (10142, {SPACE: 37, INSIDE: 5}),
    ("clue_8021", "cmrc2018", "train"): (10142, {SPACE: 37, INSIDE: 3}),
    ("bert_chinese_21128", "cmrc2018", "dev"): (9464, {SPACE: 13, INSIDE: 3}),
    ("clue_8021", "cmrc2018", "dev"): (9464, {SPACE: 13, INSIDE: 2}),
    ("bert_chinese_21128", "drcd", "dev"): (7048, {INSIDE: 2}),
    ("clue_8021", "drcd", "dev"): (7048, {INSIDE: 5}),
}


def records_of(folder: Path, task: str, split: str) -> Records[ReadingRecord]:
    card = find_card(task)
    return load_adapter(card).read(locate(card, str(folder / "official" / f"{task}_public.zip")), split)


def tokenizer_of(folder: Path, vocabulary: str) -> Tokenizer:
    return Tokenizer(folder / "vocab" / f"{vocabulary}.txt", lowercase=True)


def reason(answer: Answer, context: str, tokens: Encoded) -> str | None:
    """Why an answer does not come back unchanged; None where it does."""
    assert answer.start is not None
    last = answer.start + len(answer.text) - 1
    exact = chars_to_tokens(tokens, answer.start, last)
    if exact is not None:
        first, end = tokens_to_chars(tokens, *exact)
        return None if context[first : end + 1] == answer.text else "came back changed"
    near = covering_tokens(tokens, answer.start, last)
    if near is None:
        return "no token"
    first, end = tokens_to_chars(tokens, *near)
    touched = context[first : end + 1]
    if touched == answer.text.strip():
        return SPACE
    return INSIDE if answer.text in touched else "came back changed"


@pytest.mark.parametrize(("vocabulary", "task", "split"), ROUND_TRIP)
def test_answers_go_to_tokens_and_back(real_data: Path, vocabulary: str, task: str, split: str) -> None:
    records = records_of(real_data, task, split)
    contexts = list({record.context for record in records.items})
    change: Any = simplified if task == "drcd" else str
    encoded = tokenizer_of(real_data, vocabulary).encode_texts([change(context) for context in contexts])
    tokens = dict(zip(contexts, encoded, strict=True))
    reasons = Counter(
        reason(answer, record.context, tokens[record.context])
        for record in records.items
        for answer in record.answers
        if answer.start is not None
    )
    wanted, expected = ROUND_TRIP[vocabulary, task, split]
    assert reasons.total() == wanted
    del reasons[None]
    assert dict(reasons) == expected


def sure_answers(records: Records[ReadingRecord], rows: Rows) -> list[Prediction]:
    """What a network gives that points at every window's label: the most that the rows allow."""
    answer = np.asarray(rows.columns["answer"], np.int64)
    partials = {}
    for row in range(len(rows)):
        first, last = answer[row] + rows.offsets[row]
        here = answer[row, 0] > 0
        span = ([int(rows.tokens["starts"][first])], [int(rows.tokens["ends"][last])], [0.0])
        partials[row] = Window(*(span if here else ([], [], [])))
    return list(load_adapter(find_card("cmrc2018")).merge(partials, rows, records))


@pytest.mark.parametrize(
    ("task", "split", "best_score", "windows"),
    [("cmrc2018", "dev", 99.9, 5528), ("drcd", "dev", 99.9, 5422)],
)
def test_right_labels_reach_nearly_every_answer(
    real_data: Path, task: str, split: str, best_score: float, windows: int
) -> None:
    """Windows lose almost nothing: pointing at the labels scores what the round trip leaves."""
    card = find_card(task)
    records = records_of(real_data, task, split)
    run = load_run(task=task, card_settings=recommended_settings(card), model="test")
    rows = load_adapter(card, run).encode(records, tokenizer_of(real_data, "bert_chinese_21128"))
    assert len(rows) == windows
    assert rows.lengths.max() <= 512
    scores = load_adapter(card).score(sure_answers(records, rows), records)
    assert scores.score >= best_score
    assert scores.chance < 1.0
    assert scores.examples == len(records)


def test_traditional_texts_are_as_long_in_simplified(real_data: Path) -> None:
    records = records_of(real_data, "drcd", "dev")
    contexts = {record.context for record in records.items}
    converted = {context: simplified(context) for context in contexts}
    assert all(len(context) == len(text) for context, text in converted.items())
    changed = sum(a != b for context, text in converted.items() for a, b in zip(context, text, strict=True))
    assert changed > 0.2 * sum(map(len, contexts))
    tokenizer = tokenizer_of(real_data, "clue_8021")
    unknown = [
        sum(int((one.ids == tokenizer.unk_id).sum()) for one in tokenizer.encode_texts(list(texts)))
        for texts in (contexts, converted.values())
    ]
    assert unknown[1] < unknown[0] / 2
