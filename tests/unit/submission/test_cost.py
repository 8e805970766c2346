"""Four times the input costs a check about four times the work: counted, not timed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from clue_runner.data.cards import find_card
from clue_runner.data.records import Answer as Reference
from clue_runner.data.records import ClozeRecord, ReadingRecord, Records, TextRecord
from clue_runner.errors import DataError
from clue_runner.submission import strict_json
from clue_runner.submission.answers import check_values
from clue_runner.submission.findings import Findings
from clue_runner.submission.forms import Answer
from clue_runner.submission.ids import check_ids, check_keys
from clue_runner.submission.objects import parse_object
from clue_runner.submission.predictions import align
from clue_runner.submission.tables import check_table

N = 500
SLACK = 1.5  # sorting is n log n; n squared would be 4


class Counted(str):
    """A text that counts how often it is compared or hashed."""

    work = 0

    def __eq__(self, other: object) -> bool:
        Counted.work += 1
        return str.__eq__(self, other)

    def __lt__(self, other: str) -> bool:
        Counted.work += 1
        return str.__lt__(self, other)

    def __hash__(self) -> int:
        Counted.work += 1
        return str.__hash__(self)

    def __str__(self) -> str:
        return self


def counted_work(check: Callable[[int], object], size: int) -> int:
    Counted.work = 0
    check(size)
    return Counted.work


def answers(names: list[str], value: object = "x") -> list[Answer]:
    return [Answer(line, Counted(name), value) for line, name in enumerate(names, start=1)]


def texts(size: int) -> Records[Any]:
    items = [TextRecord(str(number), ("句",), "0", number + 1) for number in range(size)]
    return Records("test", items, "test.json", "", size)


def questions(size: int) -> Records[Any]:
    items = [ReadingRecord(str(number), "文", "问", (Reference("文", 0),)) for number in range(size)]
    return Records("dev", items, "dev.json", "", size)


def blanks(size: int) -> Records[Any]:
    items = [ClozeRecord(n, ("文",), (f"#idiom{n}#",), ("甲", "乙"), (0,), n + 1) for n in range(size)]
    return Records("test", items, "test.json", "", size)


def unique_then_twice(size: int) -> list[str]:
    """All ids once, the last one twice: whoever counts each id goes through the whole list for each."""
    return [*map(str, range(size)), str(size - 1)]


def all_twice(size: int) -> list[str]:
    return [*map(str, range(size))] * 2


def hook(names: list[str]) -> None:
    with pytest.raises(strict_json.RepeatedKeyError):
        strict_json._unique_keys([(Counted(name), 0) for name in names])


def aligned(names: list[str], records: Records[Any]) -> None:
    with pytest.raises(DataError, match="duplicate (id|tag)"):
        align(answers(names), records, "p")


CHECKS: dict[str, Callable[[int], object]] = {
    "keys of one object, the last twice": lambda size: hook(unique_then_twice(size)),
    "keys of one object, all the same": lambda size: hook(["a"] * size),
    "table, all ids twice": lambda size: check_table(answers(all_twice(size)), texts(size), Findings("f")),
    "table, one id": lambda size: check_table(answers(["7"] * size), None, Findings("f")),
    "lines, the last twice": lambda size: check_ids(
        answers(unique_then_twice(size)), texts(size), {}, Findings("f")
    ),
    "lines, reversed": lambda size: check_ids(
        answers([str(size - 1 - n) for n in range(size)]), texts(size), {"other": texts(size)}, Findings("f")
    ),
    "object, other ids": lambda size: check_keys(
        answers([f"x{n}" for n in range(size)]), blanks(size), {"other": blanks(size)}, Findings("f")
    ),
    "scored, all ids twice": lambda size: aligned(all_twice(size), questions(size)),
    "scored, all tags twice": lambda size: aligned([f"#idiom{n}#" for n in range(size)] * 2, blanks(size)),
    "unknown labels": lambda size: check_values(
        [Answer(n, n, Counted(f"x{n}")) for n in range(size)], find_card("iflytek"), None, Findings("f")
    ),
}


@pytest.mark.parametrize("name", CHECKS)
def test_work_grows_as_the_file_does(name: str) -> None:
    small, large = counted_work(CHECKS[name], N), counted_work(CHECKS[name], 4 * N)
    assert small >= N, "nothing was counted"
    assert large <= 4 * SLACK * small, (small, large)


class Watched(str):
    """A text that counts the characters that are searched."""

    searched = 0

    def count(self, *arguments: Any) -> int:
        start, stop = arguments[1:]
        Watched.searched += stop - start
        return str.count(self, *arguments)

    def find(self, *arguments: Any) -> int:
        place = str.find(self, *arguments)
        Watched.searched += (len(self) if place < 0 else place) - arguments[1]
        return place


@pytest.mark.parametrize("escaped", [False, True])
def test_lines_of_keys_are_found_in_one_pass(escaped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps({f"题{n}": "答" for n in range(N)}, ensure_ascii=escaped, indent=0)
    decoded = 0
    decoder = json.JSONDecoder()

    class Watching:
        def raw_decode(self, whole: str, place: int) -> tuple[Any, int]:
            nonlocal decoded
            value, end = decoder.raw_decode(whole, place)
            decoded += end - place
            return value, end

    monkeypatch.setattr(strict_json, "_PLAIN", Watching())
    Watched.searched = 0
    entries = list(strict_json.entries(Watched(text)))
    assert [(line, key) for line, key, _ in entries] == [(n + 2, f"题{n}") for n in range(N)]
    assert 0 < decoded <= len(text) and 0 < Watched.searched <= len(text)


def test_forty_thousand_answers_under_one_id_are_one_finding() -> None:
    lines = ["{", *['"7": "x",'] * 40_000, '"8": "x"', "}"]
    findings = Findings("f")
    assert parse_object(lines, findings) == []
    (problem,) = findings.problems()
    assert problem.where == "f:3" and "an id has two answers (39,999 lines" in problem.what


@pytest.mark.parametrize("value", ["甲" * 10_000_000, ["甲"] * 1_000_000, {"甲": {"乙": 1}}])
def test_a_message_shows_a_piece_of_a_long_value(value: object) -> None:
    from clue_runner.submission.findings import shorten

    assert len(shorten(value)) <= 60
