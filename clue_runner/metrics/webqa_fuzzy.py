"""When WebQA's kit treats two answers as equal: rules on what may appear around a word, lists of names.

In: two plain answers; the folder of the kit's lists, which are research data and never ship. Out: yes or no.
Knows nothing about scores. The kit's lists are Python 2 files: their strings are read, nothing is run.

The kit says that its synonym sets are tailored to the validation and test questions, so no rule can stand in
for them: without the lists a fuzzy score is a lower bound. Restated: the rules on affixes, the synonym sets,
and of the kit's matcher of Chinese regions (a place with and without its province) the part for single names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clue_runner.errors import DataError
from clue_runner.files.text import printable, read_text
from clue_runner.metrics.webqa import strictly_same

SYNONYMS, NAMES, REGIONS = FILES = ("synsets.py", "names.py", "state_names.py")
# One row of the synonyms; a pattern whose blanks run over line ends would take quadratic time.
ROW = re.compile(r"^[ \t]*\[(.*)\],?[ \t\r]*$", re.MULTILINE)
NUMBER = re.compile(r"[〇一二三四五六七八九十百千万亿兆\d]+")
MONTH = re.compile(r"(?:十一|十二|[〇一二三四五六七八九十]|\d+)月?")
BOOK_MARKS = "《<>》"
OPENING_QUOTES, CLOSING_QUOTES = "“‘'\"", "”’'\""
ANY_SUFFIX = ("地区", "族", "民族", "色")
DYNASTIES = frozenset(
    ["夏", "商", "周", "秦", "汉", "晋", "南北", "南", "北", "隋", "唐", "宋", "金", "元", "明", "清"]
)
ZODIAC = frozenset("鼠牛虎兔龙蛇马羊猴鸡狗猪")
PROPORTIONS = frozenset({"正比", "反比"})
REGION_SUFFIXES = (
    "自治省",
    "自治市",
    "自治县",
    "自治旗",
    "自治区",
    "自治盟",
    "自治州",
    "特别行政区",
    *"省市县旗区盟州",
)
STRING = re.compile(r"u?r?'((?:[^'\\]|\\.)*)'|u?r?\"((?:[^\"\\]|\\.)*)\"")


@dataclass(frozen=True)
class FuzzyLists:
    """What the rules look up; all empty without the kit's lists."""

    synonyms: Mapping[str, frozenset[int]] = field(default_factory=dict)
    measures: frozenset[str] = frozenset()
    countries: frozenset[str] = frozenset()
    elements: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()


def same_answer(reference: str, answer: str, lists: FuzzyLists) -> bool:
    """Return whether two answers (without spaces, in lower case) mean the same to the kit."""
    if strictly_same(reference, answer):
        return True
    if lists.synonyms.get(reference, frozenset()) & lists.synonyms.get(answer, frozenset()):
        return True
    short, long = sorted((reference, answer), key=len)
    if short in long and (_rules_allow(short, long, lists) or _directed(reference, answer)):
        return True
    return _same_region(short, long, lists)


def _rules_allow(short: str, long: str, lists: FuzzyLists) -> bool:
    """Return whether the longer answer is the shorter one with something that adds nothing."""
    if long[0] in BOOK_MARKS[:2] and short.strip(BOOK_MARKS) == long.strip(BOOK_MARKS):
        return True
    return any(f"{before}{stem}{after}" == long for stem, before, after in _longer_forms(short, lists))


def _longer_forms(short: str, lists: FuzzyLists) -> Iterable[tuple[str, str, str]]:
    """Yield (stem, what may appear before it, what may appear behind it)."""
    yield from ((short, "", suffix) for suffix in ANY_SUFFIX)
    if len(short) == 2:
        yield short, "", "座"
    if short.endswith("国") and len(short) > 1 or short in lists.countries:
        yield short, "", "人"
    if short in {"男", "女"}:
        yield short, "", "性"
    if short in DYNASTIES:
        yield short, "", "朝"
    if short in PROPORTIONS:
        yield from ((short, "成", ""), (short, "", "例"))
    if short in lists.elements:
        yield short, "", "元素"
    yield from _longer_numbers(short, lists)


def _longer_numbers(short: str, lists: FuzzyLists) -> Iterable[tuple[str, str, str]]:
    """Yield the longer forms of a number, a number with a unit, a month or a year."""
    match = NUMBER.match(short)
    if match is None:
        return
    number, rest = match[0], short[match.end() :]
    if not rest:
        yield from ((short, before, measure) for before in ("", "第") for measure in lists.measures)
        yield short, "", "岁"
    if any(NUMBER.fullmatch(short.removesuffix(unit)) for unit in lists.measures if short.endswith(unit)):
        yield short, "第", ""
    if rest == "个":
        yield from ((short, "", "人"), (short, "", "月"))
    if rest in {"分", "秒"}:
        yield short, "", "钟"
    if MONTH.fullmatch(short):
        yield short.removesuffix("月"), "", "月份"
    if rest in {"", "年"}:
        yield from ((number, before, after) for before in ("公元", "公元前") for after in ("", "年"))


def _directed(reference: str, answer: str) -> bool:
    """Return whether the rules allow it that look at which answer is the reference."""
    if reference == f"{answer}的" or (reference == f"{answer}年" and answer in ZODIAC):
        return True
    if answer in {f"{reference}{suffix}" for suffix in ("公司", "大学", "罪", "国")}:
        return True
    quoted = len(reference) > 2 and reference[0] in OPENING_QUOTES and reference[-1] in CLOSING_QUOTES
    return quoted and reference[1:-1] == answer


def _same_region(short: str, long: str, lists: FuzzyLists) -> bool:
    """Return whether both name one region, with and without its kind."""
    if not long.startswith(short) or long not in lists.regions:
        return False
    return any(f"{short}{suffix}" == long for suffix in REGION_SUFFIXES)


def read_lists(folder: Path) -> FuzzyLists:
    """Read the kit's lists from its own files.

    Raises:
        DataError: a file is missing or holds no such list.
    """
    if not all((folder / name).exists() for name in FILES):
        raise DataError(
            "some lists of WebQA's kit are missing",
            where=printable(str(folder)),
            allowed=f"a folder with {', '.join(FILES[:-1])} and {FILES[-1]}",
        )
    texts = {name: read_text(folder / name) for name in FILES}
    synonyms: dict[str, set[int]] = {}
    for number, row in enumerate(ROW.findall(texts[SYNONYMS])):
        for word in _strings(row):
            synonyms.setdefault(word, set()).add(number)
    if not synonyms:
        raise DataError("no synonyms in the kit's list", where=str(folder / SYNONYMS))
    return FuzzyLists(
        {word: frozenset(numbers) for word, numbers in synonyms.items()},
        _named(texts[NAMES], "measure_names", folder),
        _named(texts[NAMES], "country_and_region_names", folder),
        _named(texts[NAMES], "chemical_element_names", folder),
        frozenset(word for word in _strings(texts[REGIONS]) if not word.isdigit()),
    )


def _named(text: str, name: str, folder: Path) -> frozenset[str]:
    """Return the strings of one list in a Python file."""
    match = re.search(rf"^{name}\s*=\s*[\[({{](.*?)[\])}}]", text, re.MULTILINE | re.DOTALL)
    if match is None:
        raise DataError(
            f"no list {name} found", where=str(folder / NAMES), next_step="name the kit's own folder"
        )
    return frozenset(_strings(match[1]))


def _strings(text: str) -> list[str]:
    """Return the string literals in a piece of Python."""
    return [re.sub(r"\\(.)", r"\1", match[1] or match[2] or "") for match in STRING.finditer(text)]
