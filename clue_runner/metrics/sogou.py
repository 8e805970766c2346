"""The SogouQA scoring tool, reimplemented: exact and fuzzy scores of short factoid answers.

In: answers by question id; the tool's own gold folder (``qid_answer_expand`` with the accepted
variants, ``punctuation`` with one mark per line), which is competition data and never ships.
Out: scores in percent and the tool's seven columns per line. Knows nothing about passages or models.

Source: evaluate_tool of dgcnn_for_reading_comprehension (Python 2); rules in kexue.fm/archives/6906.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clue_runner.errors import DataError, Problem
from clue_runner.files.text import printable, read_text
from clue_runner.metrics.python2_sets import Python2Set

GOLD, PUNCTUATION = "qid_answer_expand", "punctuation"
# The tool works on UTF-8 bytes, so case and white space mean ASCII only.
WHITE_SPACE = " \t\n\r\f\v"
ASCII_SPACE = re.compile(f"[{WHITE_SPACE}]+")
ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclass(frozen=True)
class AnswerScore:
    """One scored answer: the columns of the tool's output behind id and answer."""

    exact: int
    f1: float
    precision: float
    recall: float
    variant: str | None

    def line(self, question: str, answer: str) -> str:
        """Return the tool's seven tab-separated columns."""
        numbers = f"{self.f1:f}\t{self.precision:f}\t{self.recall:f}"
        return f"{question}\t{answer}\t{self.exact}\t{numbers}\t{self.variant}"


@dataclass(frozen=True)
class SogouGold:
    """Canonical answer and accepted variants by question id, and the punctuation that is ignored."""

    canonical: Mapping[str, str]
    variants: Mapping[str, tuple[str, ...]]
    punctuation: frozenset[str]


def to_half_width(text: str) -> str:
    """Return ``text`` with full-width ASCII (U+FF01-FF5E) and the ideographic space made half-width."""
    return "".join(
        " " if char == "\u3000" else chr(ord(char) - 0xFEE0) if "\uff01" <= char <= "\uff5e" else char
        for char in text
    )


def space_punctuation(text: str, punctuation: frozenset[str]) -> str:
    """Return ``text`` with each punctuation mark replaced by a space, A-Z in lower case."""
    return "".join(" " if char in punctuation else char for char in text).translate(ASCII_LOWER)


def normalise(text: str, punctuation: frozenset[str]) -> str:
    """Return half-width, lower-case text without punctuation and ASCII white space."""
    return ASCII_SPACE.sub("", space_punctuation(to_half_width(text).translate(ASCII_LOWER), punctuation))


def parts(text: str, punctuation: frozenset[str]) -> set[str]:
    """Return the normalised parts between single spaces; two marks in a row give an empty part too."""
    return {normalise(part, punctuation) for part in space_punctuation(text, punctuation).split(" ")}


def character_overlap(answer: str, reference: str) -> tuple[float, float, float]:
    """Return (F1, precision, recall) of the two character multisets; zeros if none is shared."""
    common = sum((Counter(answer) & Counter(reference)).values())
    if not common:
        return 0.0, 0.0, 0.0
    precision, recall = common / len(answer), common / len(reference)
    return 2 * precision * recall / (precision + recall), precision, recall


def accepted_variants(column: str, punctuation: frozenset[str]) -> tuple[str, ...]:
    """Return the ``|``-separated variants and their normalised forms, in the tool's own order."""
    raw = Python2Set(variant.encode() for variant in column.split("|"))
    for variant in raw.copy():
        raw.add(normalise(variant.decode(), punctuation).encode())
    return tuple(variant.decode() for variant in raw)


def score_answer(
    answer: str, canonical: str, variants: Sequence[str], punctuation: frozenset[str]
) -> AnswerScore:
    """Score one answer.

    Exact: the normalised answer is among the variants, or its parts are the canonical answer's parts
    in any order. Fuzzy: the best character F1 over the variants; the first of the best is named.
    An empty answer scores 0.
    """
    answer = answer.strip(WHITE_SPACE)
    if not answer:
        return AnswerScore(0, 0.0, 0.0, 0.0, None)
    plain = normalise(answer, punctuation)
    exact = int(plain in variants or parts(answer, punctuation) == parts(canonical, punctuation))
    best = AnswerScore(exact, 0.0, 0.0, 0.0, None)
    for variant in variants:
        f1, precision, recall = character_overlap(plain, normalise(variant, punctuation))
        if f1 > best.f1:
            best = AnswerScore(exact, f1, precision, recall, variant)
    return best


def read_gold(folder: Path) -> SogouGold:
    """Read the scoring tool's two files.

    Raises:
        DataError: a file is missing or cannot be read, or a line of ``qid_answer_expand`` does not have three
            columns.
    """
    for name in (GOLD, PUNCTUATION):
        if not (folder / name).exists():
            raise DataError(
                f"the SogouQA scoring data has no file {name}",
                where=printable(str(folder)),
                allowed=f"a folder with {GOLD} and {PUNCTUATION}",
                next_step="pass the scoring tool's folder as --gold",
            )
    marks = read_text(folder / PUNCTUATION).split("\n")
    punctuation = frozenset(mark.strip(WHITE_SPACE) for mark in marks)
    canonical: dict[str, str] = {}
    variants: dict[str, tuple[str, ...]] = {}
    problems = []
    path = folder / GOLD
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip(WHITE_SPACE):
            continue
        columns = line.strip(WHITE_SPACE).split("\t")
        if len(columns) != 3:
            where, received = f"{printable(str(path))}:{number}", f"{len(columns)} columns"
            problems.append(Problem("a line needs id, answer and variants", where, received))
            continue
        canonical[columns[0]] = columns[1]
        variants[columns[0]] = accepted_variants(columns[2], punctuation)
    if problems:
        raise DataError("the SogouQA gold file is damaged", problems=problems)
    return SogouGold(canonical, variants, punctuation)


def score_answers(
    answers: Sequence[tuple[str, str]], gold: SogouGold
) -> tuple[dict[str, float], list[AnswerScore]]:
    """Return ({exact, fuzzy, mean} in percent over the given answers, one score per answer).

    Raises:
        DataError: a question id that is not in the gold file.
    """
    unknown = [question for question, _ in answers if question not in gold.canonical]
    if unknown:
        raise DataError(
            "answers to questions that the gold file does not have",
            problems=[Problem("unknown question id", received=printable(name, 60)) for name in unknown],
        )
    if not answers:
        raise DataError("there are no answers to score")
    lines = [
        score_answer(answer, gold.canonical[question], gold.variants[question], gold.punctuation)
        for question, answer in answers
    ]
    exact = 100 * sum(line.exact for line in lines) / len(lines)
    fuzzy = 100 * sum(line.f1 for line in lines) / len(lines)
    return {"exact": exact, "fuzzy": fuzzy, "mean": (exact + fuzzy) / 2}, lines
