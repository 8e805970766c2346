"""``clue ask``: one question, some texts, one answer with the places where it was found.

In: the command's options as plain values. Out: the answer, printed with evidence marked, and as a mapping.
Knows nothing about argv or networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_runner.adapters.base import Adapter, Prediction, load_adapter
from clue_runner.console import Console
from clue_runner.console.signals import Signals
from clue_runner.data.cards import Card, find_card
from clue_runner.errors import ClueError, DataError, Problem, UsageError
from clue_runner.files.names import read_regular, user_path
from clue_runner.training.members import Asker, Member, find_members

AROUND = 40  # characters shown on either side of an answer
OPEN, CLOSE = "【", "】"


@dataclass(frozen=True)
class AskRequest:
    """The options of ``clue ask``, named as on the command line."""

    question: str
    run: Path | None = None
    passage: Sequence[Path] = ()


def fulfil(request: AskRequest, console: Console) -> dict[str, Any]:
    """Answer the question, print the answer, and return the result event's content.

    Raises:
        UsageError: no question, or a run whose task takes no questions of this kind.
        DataError: a passage is missing or empty.
        CheckpointError: no finished run.
    """
    if not request.question.strip():
        raise UsageError("the question is empty", where="--question")
    member = find_members([request.run] if request.run else [], None, console)[0]
    card = find_card(member.run.task.name)
    adapter = load_adapter(card, member.run)
    if not adapter.answers_questions:
        raise UsageError(
            f"a run of {card.name} cannot answer a question",
            where=str(member.folder.path),
            next_step="name a run of webqa or sogouqa with --run; for other tasks: clue predict --split FILE",
        )
    texts = read_passages(request.passage)
    for path, text in zip(request.passage, texts, strict=True):
        if len(text) > member.run.data.max_length:
            console.warn(f"{path}: cut to {member.run.data.max_length:,} of {len(text):,} characters")
    found = _answer(member, card, adapter, request.question, texts, console)
    return _say(found, request, texts, console)


def read_passages(paths: Sequence[Path]) -> list[str]:
    """Return the texts of files.

    Raises:
        DataError: files that are missing, not UTF-8 or without text; all of them.
    """
    texts, problems = [], []
    for path in paths:
        try:
            text = read_regular(user_path(path)).decode("utf-8-sig").strip()
        except ClueError as error:
            why = error.headline.received or error.headline.what
            problems.append(Problem("cannot read the passage", str(path), why))
        except UnicodeDecodeError as error:
            problems.append(Problem("the passage is not UTF-8", f"{path}:1", f"byte {error.start + 1}"))
        else:
            texts.append(text)
            if not text:
                problems.append(Problem("the passage has no text", f"{path}:1"))
    if problems:
        raise DataError("the passages cannot be used", problems=problems)
    return texts


def _answer(
    member: Member, card: Card, adapter: Adapter, question: str, texts: Sequence[str], console: Console
) -> Prediction:
    """Return the answer; without passages there is none, and no network is loaded."""
    if not texts:
        console.warn("no passage was given, so there is no answer: name text files with --passage")
        return Prediction(0, "", 0.0)
    records = adapter.question_records(question, texts)
    with Signals(console.warn, last_words=console.last_words) as signals:
        return Asker(member, card, member.run.backend, console).answer(records, signals, console)[0]


def _say(found: Prediction, request: AskRequest, texts: Sequence[str], console: Console) -> dict[str, Any]:
    """Print the answer and where it was found; return both."""
    evidence = [
        {"passage": str(request.passage[number]), "start": start, "end": end, "score": round(score, 6)}
        for number, start, end, score in found.evidence
    ]
    console.result(f"{found.prediction or 'no answer'}   vote {found.probability or 0.0:.3f}")
    for number, start, end, score in found.evidence:
        console.say(f"  {request.passage[number]}, characters {start}-{end}, score {score:.3f}")
        console.say(f"  {marked(texts[number], start, end)}")
    result = {
        "ok": True,
        "question": request.question,
        "answer": found.prediction,
        "vote": found.probability,
        "evidence": evidence,
    }
    console.event({"event": "result", **result})
    return result


def marked(text: str, start: int, end: int, around: int = AROUND) -> str:
    """Return ``text[start:end]`` in its context on one line, the span itself in brackets."""
    before, after = text[max(0, start - around) : start], text[end : end + around]
    left = "…" if start > around else ""
    right = "…" if end + around < len(text) else ""
    return " ".join(f"{left}{before}{OPEN}{text[start:end]}{CLOSE}{after}{right}".split())
