"""What ``clue data check`` finds: members, counts, labels, ids, repeats, overlap, hidden characters.

In: a card and a source. Out: a ``Report``; problems make the data unusable, warnings do not.
Knows nothing about tokens.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain, combinations
from typing import Any

from clue_runner.data.card import Card
from clue_runner.data.contents import answer_of, labels_of, texts_of
from clue_runner.data.download import hash_warning
from clue_runner.data.layouts import read_records
from clue_runner.data.readers.json_lines import parse_json_lines
from clue_runner.data.records import Records
from clue_runner.data.sources import DataSource, split_file
from clue_runner.errors import DataError, Problem

# Searched for by name: they are invisible but not control characters.
HIDDEN = {"\u00ad", "\u200b", "\u200c", "\u200d", "\u200e", "\u200f", "\u2028", "\u2029", "\u2060", "\ufeff"}
HIDDEN_SHOWN = 6


@dataclass
class Report:
    """The findings on one source.

    Attributes:
        problems: what must be fixed before the data can be used.
        warnings: what a user should know.
        counts: split -> {records, usable, and one entry per finding}.
        sha256: split -> hash of its file.
        complete: False where train or dev is missing or its count is not in the card.
    """

    source: str
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    complete: bool = True

    @property
    def ok(self) -> bool:
        """Return whether the data can be used."""
        return not self.problems

    def as_dict(self) -> dict[str, object]:
        """Return the report as JSON-ready data."""
        return {
            "source": self.source,
            "ok": self.ok,
            "data_complete": self.complete,
            "problems": [str(problem) for problem in self.problems],
            "warnings": self.warnings,
            "counts": self.counts,
            "data_sha256": self.sha256,
        }


def check_source(card: Card, source: DataSource) -> Report:
    """Return all findings on the source; never raises because of the files' content."""
    report = Report(source.label)
    splits: dict[str, Records[Any]] = {}
    for name, split in card.splits.items():
        if split_file(source, split) is None:
            _missing(report, card, name)
            continue
        try:
            splits[name] = read_records(card, source, name)
        except DataError as error:
            report.problems += error.problems or [error.headline]
            report.complete = False
    for name, records in splits.items():
        _check_split(report, card, name, records)
    for first, second in combinations(splits, 2):
        _check_overlap(report, splits[first], splits[second])
    _check_labels_file(report, card, source)
    changed = hash_warning(card, source.archive)
    if changed:
        report.warnings.append(changed)
    return report


def _missing(report: Report, card: Card, name: str) -> None:
    """Note a missing split: without train or dev nothing works, without test there are no answers."""
    split = card.splits[name]
    if name in {"train", "dev"}:
        report.problems.append(
            Problem(f"the {name} split is missing", received="nothing", allowed=split.file)
        )
        report.complete = False
    else:
        report.warnings.append(f"{split.file} is missing: training works, {name} cannot be predicted")


def _check_split(report: Report, card: Card, name: str, records: Records[Any]) -> None:
    """Note the findings on one split."""
    counts = {"records": records.total, "usable": len(records), **records.skipped, **records.counts}
    report.counts[name], report.sha256[name] = counts, records.sha256
    report.warnings += records.warnings
    if card.splits[name].labelled and not records.complete:
        report.complete = False
    answers: dict[tuple[str, ...], list[object]] = defaultdict(list)
    for record in records.items:
        answers[texts_of(record)].append(answer_of(record))
    repeated = {texts: labels for texts, labels in answers.items() if len(labels) > 1}
    texts = [texts_of(record) for record in records.items]
    findings = {
        "repeated": sum(len(labels) - 1 for labels in repeated.values()),
        "repeated_with_other_labels": sum(1 for labels in repeated.values() if len(set(labels)) > 1),
        "empty_texts": sum(1 for parts in texts if not all(text.strip() for text in parts)),
        "identical_pairs": sum(1 for parts in texts if len(parts) == 2 and parts[0] == parts[1]),
    }
    counts.update({key: value for key, value in findings.items() if value})
    report.warnings += [f"{name}: {sentence}" for sentence in _sentences(findings)]
    # a passage shared by several records is counted once per record
    hidden = _hidden_characters(chain.from_iterable(texts))
    if hidden:
        shown = ", ".join(f"{_code_point(char)} x{count}" for char, count in hidden.most_common(HIDDEN_SHOWN))
        report.warnings.append(f"{name}: invisible characters: {shown}")
    if card.splits[name].labelled:
        _check_labels(report, card, name, records)


def _sentences(findings: Mapping[str, int]) -> list[str]:
    """Return the findings that are not zero as sentences."""
    texts = {
        "repeated": "{:,} records repeat an earlier one",
        "repeated_with_other_labels": "{:,} texts come with more than one label",
        "empty_texts": "{:,} records have empty texts",
        "identical_pairs": "{:,} pairs consist of two equal texts",
    }
    return [texts[key].format(count) for key, count in findings.items() if count]


def _check_labels(report: Report, card: Card, name: str, records: Records[Any]) -> None:
    """Note labels that no record has; the sample may use a subset."""
    used = {label for record in records.items for label in labels_of(record)}
    unused = [label for label in card.label_names if label not in used]
    if unused and report.source != "sample":
        shown = ", ".join(unused[:10]) + (" ..." if len(unused) > 10 else "")
        report.warnings.append(f"{name}: {len(unused)} of {len(card.labels)} labels never occur: {shown}")


def _check_overlap(report: Report, first: Records[Any], second: Records[Any]) -> None:
    """Note texts that two splits share: a score on them is partly memorised."""
    known = {texts_of(record) for record in first.items}
    shared = sum(1 for record in second.items if texts_of(record) in known)
    if shared:
        report.counts[second.split][f"also_in_{first.split}"] = shared
        report.warnings.append(f"{second.split}: {shared:,} records are also in {first.split}")


def _check_labels_file(report: Report, card: Card, source: DataSource) -> None:
    """Note a label list in the zip that differs from the card's; the card's is used."""
    if card.labels_file is None or not source.has(card.labels_file):
        return
    rows, problems = parse_json_lines(source.read(card.labels_file), source.shown(card.labels_file))
    listed = {str(row.get(card.label_field)) for _, row in rows}
    differing = sorted(listed.symmetric_difference(card.label_names))
    if problems or differing:
        report.warnings.append(
            f"{card.labels_file} differs from the card: {', '.join(differing[:10]) or 'bad lines'}"
        )


def _hidden_characters(texts: Iterable[str]) -> Counter[str]:
    """Return the invisible and control characters of all texts with their counts."""
    counts: Counter[str] = Counter()
    for text in texts:
        if not text.isprintable():
            counts.update(char for char in text if char in HIDDEN or _is_control(char))
    return counts


def _is_control(char: str) -> bool:
    """Return whether ``char`` is a control character other than newline and tab."""
    return char not in "\n\t" and unicodedata.category(char) == "Cc"


def _code_point(char: str) -> str:
    """Return ``U+200B`` for a zero-width space."""
    return f"U+{ord(char):04X}"
