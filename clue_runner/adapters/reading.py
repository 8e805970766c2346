"""A question about a text is answered by a span of the text: CMRC2018, DRCD.

In: a card, records, a tokenizer, a backbone.
Out: rows (a question with one window of its text), a network, the answer cut from each raw text, scores,
the submission's bytes. Knows nothing about training steps or files' places.

A text that is too long becomes several windows that overlap. In training each window is an example; one
without the answer points at [CLS]. At the end a record's windows are put together: a span's probability is
its share among all spans of its window and "no answer in this window", and the most probable span wins.
(Raw scores of two windows cannot be compared, since each window's softmax fixes them up to a constant.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from clue_runner.adapters.base import Head, Prediction, Predictions, Scores
from clue_runner.config.schema import Run
from clue_runner.data.cards import Card, Submission
from clue_runner.data.readers.reading import read_reading_records
from clue_runner.data.records import Answer, ReadingRecord, Records
from clue_runner.data.sources import DataSource
from clue_runner.errors import DataError
from clue_runner.metrics.answers import AnswerScores, random_answers, score_answers
from clue_runner.metrics.confidence import mean_interval
from clue_runner.submission.writers import json_object
from clue_runner.tokens.assemble import assemble
from clue_runner.tokens.rows import Array, Rows
from clue_runner.tokens.script import simplified
from clue_runner.tokens.spans import chars_to_tokens, covering_tokens
from clue_runner.tokens.tokenizer import Encoded, Tokenizer
from clue_runner.tokens.windows import windows

SPECIAL = 3  # [CLS] question [SEP] text [SEP]
NO_CHARACTER = -1  # where tokens outside the text begin and end
ELSEWHERE = (0, 0)  # [CLS]: the answer is not in this window
UNKNOWN = (-1, -1)  # nothing to train on
N_BEST = 20
NOT_A_SPAN = -1e8  # log-probabilities below come from masks

# ---------------------------------------------------------------------------- read


def read(card: Card, source: DataSource, split: str) -> Records[ReadingRecord]:
    """Return the questions of one split; wrong ones raise ``DataError`` with file:line."""
    return read_reading_records(card, source, split)


# ---------------------------------------------------------------------------- encode


class _Window(NamedTuple):
    """One row: its record, the part of the text's tokens in it, the answer's tokens in the row."""

    record: int
    begin: int
    end: int
    answer: tuple[int, int]


def encode(records: Records[ReadingRecord], card: Card, tokenizer: Tokenizer, run: Run) -> Rows:
    """Return one row a window, windows in record order.

    Token columns ``starts`` and ``ends`` are character borders in the raw text (end exclusive). Columns, all
    int32: ``text_start`` the first token of the text, ``answer`` (rows, 2) its first and last token,
    ``of`` the record, ``windows`` how many the record has.
    """
    notes: dict[str, int] = {}
    questions, texts = _tokens(records, card, tokenizer, run, notes)
    rows: list[_Window] = []
    for index, record in enumerate(records.items):
        tokens = texts[record.context]
        room = run.data.max_length - SPECIAL - len(questions[index])
        # at least half of a window stands in the next one too, whatever the settings
        borders = windows(len(tokens), room, min(run.data.window_stride, max(1, room // 2)))
        span = _answer_tokens(record.target, tokens, notes)
        shift = len(questions[index]) + 2
        rows += [_Window(index, *border, _place(span, *border, shift)) for border in borders]
        _note(notes, f"texts cut into windows of {run.data.max_length} tokens", int(len(borders) > 1))
    _note(notes, "windows without the answer", sum(row.answer == ELSEWHERE for row in rows))
    return _rows(records, rows, questions, texts, tokenizer, run, notes)


def _tokens(
    records: Records[ReadingRecord], card: Card, tokenizer: Tokenizer, run: Run, notes: dict[str, int]
) -> tuple[list[Array], dict[str, Encoded]]:
    """Return each question's ids, cut, and the tokens of each distinct text."""
    change = simplified if run.data.simplify and card.script == "traditional" else str
    contexts = list(dict.fromkeys(record.context for record in records.items))
    texts = dict(zip(contexts, tokenizer.encode_texts([change(text) for text in contexts]), strict=True))
    limit = min(run.data.max_question_length, (run.data.max_length - SPECIAL) // 2)
    questions = tokenizer.encode_texts([change(record.question) for record in records.items])
    _note(notes, f"questions cut to {limit} tokens", sum(len(question) > limit for question in questions))
    return [question.ids[:limit] for question in questions], texts


def _answer_tokens(target: Answer | None, tokens: Encoded, notes: dict[str, int]) -> tuple[int, int] | None:
    """Return the first and last token of what a record is trained on; None where there is nothing."""
    if target is None or target.start is None:
        return None
    last = target.start + len(target.text) - 1
    exact = chars_to_tokens(tokens, target.start, last)
    near = exact or covering_tokens(tokens, target.start, last)
    _note(notes, "answers no token border expresses, trained on the tokens they touch", int(exact is None))
    return near


def _place(span: tuple[int, int] | None, begin: int, end: int, shift: int) -> tuple[int, int]:
    """Return where a span of the text's tokens stands in the row of one window."""
    if span is None:
        return UNKNOWN
    first, last = span
    inside = begin <= first and last < end
    return (first - begin + shift, last - begin + shift) if inside else ELSEWHERE


def _rows(
    records: Records[ReadingRecord],
    rows: Sequence[_Window],
    questions: Sequence[Array],
    texts: Mapping[str, Encoded],
    tokenizer: Tokenizer,
    run: Run,
    notes: Mapping[str, int],
) -> Rows:
    """Return windows as flat arrays."""

    def parts(row: int) -> tuple[Any, Any]:
        window = rows[row]
        tokens = texts[records.items[window.record].context]
        return questions[window.record], tokens.ids[window.begin : window.end]

    offsets, token_ids, segment_ids = assemble(len(rows), parts, tokenizer, run.model.segments)
    starts, ends = np.full_like(token_ids, NO_CHARACTER), np.full_like(token_ids, NO_CHARACTER)
    of = np.array([row.record for row in rows], np.int64)
    text_start = np.array([len(questions[record]) + 2 for record in of.tolist()], np.int64)
    for window, place in zip(rows, (offsets[:-1] + text_start).tolist(), strict=True):
        tokens = texts[records.items[window.record].context]
        stop = place + window.end - window.begin
        starts[place:stop] = tokens.starts[window.begin : window.end]
        ends[place:stop] = tokens.ends[window.begin : window.end]
    counts = np.bincount(of, minlength=len(records))
    return Rows(
        offsets=offsets,
        tokens={"token_ids": token_ids, "segment_ids": segment_ids, "starts": starts, "ends": ends},
        columns={
            "text_start": text_start.astype(np.int32),
            "answer": np.array([row.answer for row in rows], np.int32).reshape(-1, 2),
            "of": of.astype(np.int32),
            "windows": counts[of].astype(np.int32),
        },
        record=of,
        group=np.arange(len(rows), dtype=np.int64),
        notes=notes,
    )


def _note(notes: dict[str, int], what: str, count: int) -> None:
    """Count something that happened."""
    if count:
        notes[what] = notes.get(what, 0) + count


def epoch_rows(rows: Rows, seed: int, epoch: int) -> Rows:
    """Return the rows that can be trained on: those of questions whose answer stands in their text.

    Raises:
        DataError: there is none.
    """
    usable = np.flatnonzero(np.asarray(rows.columns["answer"], np.int32)[:, 0] >= 0)
    if not len(usable):
        raise DataError(
            "no question has an answer that stands in its text, so there is nothing to train on",
            next_step="clue data check NAME --from FILE shows what the train file holds",
        )
    return rows if len(usable) == len(rows) else rows.take(usable)


# ---------------------------------------------------------------------------- build


def build(backbone: Any | None, card: Card, run: Run) -> Head:
    """Return ``backbone`` with the head that ``model.answer_head`` names."""
    from clue_runner.models.answer_head import BorderAnswerHead, SpanAnswerHead

    if backbone is None:
        raise ValueError("reading needs a backbone")
    shared: dict[str, Any] = {
        "longest": run.data.max_answer_length,
        "dropout_rate": run.model.head_dropout,
        "seed": run.seed,
    }
    if run.model.answer_head == "globalpointer":
        return cast(Head, SpanAnswerHead(backbone, head_size=run.model.head_size, **shared))
    return cast(Head, BorderAnswerHead(backbone, **shared))


# ---------------------------------------------------------------------------- decode


class Found(NamedTuple):
    """The best spans of one window, best first, in characters of the raw text (end exclusive).

    ``record`` says whose window it is and ``windows`` how many that record has; ``scores`` are natural
    logarithms of probabilities.
    """

    record: int
    windows: int
    starts: list[int]
    ends: list[int]
    scores: list[float]


def decode_batch(outputs: Mapping[str, Array], batch: Mapping[str, Array]) -> Sequence[Found]:
    """Return the best spans of each window, from ``best_first``, ``best_last`` and ``best_scores``."""
    starts = np.take_along_axis(np.asarray(batch["starts"]), np.asarray(outputs["best_first"]), axis=1)
    ends = np.take_along_axis(np.asarray(batch["ends"]), np.asarray(outputs["best_last"]), axis=1)
    scores = np.asarray(outputs["best_scores"], np.float32)
    columns = zip(
        np.asarray(batch["of"]).tolist(),
        np.asarray(batch["windows"]).tolist(),
        (scores > NOT_A_SPAN).sum(axis=1).tolist(),
        strict=True,
    )
    return [
        Found(of, count, starts[row, :kept].tolist(), ends[row, :kept].tolist(), scores[row, :kept].tolist())
        for row, (of, count, kept) in enumerate(columns)
    ]


def merge(partials: Mapping[int, Any], records: Records[ReadingRecord], card: Card) -> Predictions:
    """Return one answer a record in file order, cut from the raw text.

    Raises:
        RuntimeError: a window is missing or belongs to no record (a bug of ours).
    """
    found: list[list[Found]] = [[] for _ in records.items]
    for index in sorted(partials):
        if index < 0:
            continue
        window = partials[index]
        if not 0 <= window.record < len(records):
            raise RuntimeError(f"{records.file}: a row belongs to record {window.record} of {len(records)}")
        found[window.record].append(window)
    lost = sum(not mine or len(mine) != mine[0].windows for mine in found)
    if lost:
        raise RuntimeError(f"{records.file}: {lost} of {len(records)} records lack windows")
    return [_answer(record, mine) for record, mine in zip(records.items, found, strict=True)]


def _answer(record: ReadingRecord, found: Sequence[Found]) -> Prediction:
    """Return the most probable text of all windows; a text that several spans have counts its best one."""
    chances: dict[str, float] = {}
    for window in found:
        for start, end, score in zip(window.starts, window.ends, window.scores, strict=True):
            text = record.context[start:end]
            chances[text] = max(chances.get(text, 0.0), float(np.exp(score)))
    return _prediction(record, chances)


def _prediction(record: ReadingRecord, chances: Mapping[str, float]) -> Prediction:
    """Return the best of several texts, of equals the first; a text without any token has the answer ""."""
    best = tuple(sorted(chances.items(), key=lambda item: -item[1])[:N_BEST])
    text, probability = best[0] if best else ("", 0.0)
    return Prediction(record.id, text, probability, alternatives=best)


def ensemble(members: Sequence[Predictions], records: Records[ReadingRecord], card: Card) -> Predictions:
    """Return the texts with the highest mean probability over several runs; one not listed counts 0.

    Raises:
        DataError: a member answers other records.
    """
    answers = []
    for index, record in enumerate(records.items):
        chances: dict[str, float] = {}
        for number, member in enumerate(members, start=1):
            if len(member) != len(records) or member[index].id != record.id:
                raise DataError(f"run {number} of the ensemble answers other records than {records.file}")
            for text, chance in member[index].alternatives:
                chances[text] = chances.get(text, 0.0) + chance / len(members)
        answers.append(_prediction(record, chances))
    return answers


# ---------------------------------------------------------------------------- score


def score(predictions: Predictions, records: Records[ReadingRecord], card: Card) -> Scores:
    """Return exact match, F1 and their mean as the published CMRC2018 script counts them.

    The chance score is that of one random span of 1 to 30 characters a question.

    Raises:
        DataError: the split has no answers.
        RuntimeError: predictions are not aligned with the records (a bug of ours).
    """
    if not len(records) or not all(record.answers for record in records.items):
        raise DataError("a split without answers cannot be scored", where=records.file, allowed="train, dev")
    pairs = list(zip(records.items, predictions, strict=False))
    if len(predictions) != len(records) or any(record.id != one.id for record, one in pairs):
        raise RuntimeError(f"{records.file}: predictions are not in the order of the records")
    references = {record.id: record.references for record in records.items}
    found = score_answers({record.id: str(one.prediction) for record, one in pairs}, references)
    guessed = score_answers(
        random_answers({record.id: record.context for record in records.items}), references
    )
    return Scores(
        main=card.metric,
        values={"exact_match": found.exact_match, "f1": found.f1, "average": found.average},
        chance=float(_by_question(guessed)[card.metric].mean()),
        confidence_interval=mean_interval(_by_question(found)[card.metric]),
        examples=len(records),
    )


def _by_question(scores: AnswerScores) -> dict[str, NDArray[np.float64]]:
    """Return each metric's figures, one a question, in percent."""
    table = np.array(list(scores.by_question.values()), np.float64) * 100
    return {"exact_match": table[:, 0], "f1": table[:, 1], "average": table.mean(axis=1)}


# ---------------------------------------------------------------------------- submit


def submit(predictions: Predictions, card: Card, submission: Submission) -> bytes:
    """Return one JSON object from question id to answer, in file order."""
    return json_object(((prediction.id, prediction.prediction) for prediction in predictions), submission)
