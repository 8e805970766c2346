"""The table as Markdown, for a job's summary or a pull request.

In: ``Collected``. Out: text. Knows nothing about run folders; no text of a data set is in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from clue_runner.suites.collected import Collected
from clue_runner.suites.words import (
    DIFFERENCE,
    average_words,
    chosen_words,
    compared_words,
    comparison_words,
    gate_words,
    head,
    refused_words,
    row_words,
    summary,
    table_row,
)

RIGHT = frozenset({"dev", "std", "runs", "chance", "published dev", "published test", *DIFFERENCE})


def markdown(table: Collected) -> str:
    """Return the whole table: scores, averages, gates, what failed and what is missing."""
    lines = [f"## {_text(table.title)}", "", f"{summary(table)}."]
    if table.sample:
        lines += ["", "**Trained on the shipped sample: these scores mean nothing outside this project.**"]
    lines += ["", *_table(head(table), [table_row(table, cell) for cell in table.cells])]
    over = "seeds and folds" if any(row.fold for row in table.rows) else "seeds"
    lines += ["", f"Scores are in percent, of dev; std is the standard deviation over {over} (n - 1)."]
    notes = [average_words(one) for one in table.averages] + [gate_words(one) for one in table.gates]
    notes += [words for cell in table.cells if (words := chosen_words(cell))]
    notes += [compared] if (compared := compared_words(table)) else map(comparison_words, table.pairs)
    notes += refused_words(table)
    lines += ["", *(f"- {_text(note)}" for note in notes)] if notes else []
    if table.failed:
        columns = ("failed", "exit", "why")
        rows = [[row_words(row), str(row.exit_code or ""), row.reason or ""] for row in table.failed]
        lines += ["", *_table(columns, rows)]
    if table.missing:
        names = "; ".join(row_words(row) for row in table.missing)
        lines += ["", f"Missing: {_text(names)}."]
    if table.left_out:
        lines += ["", *(f"- left out: {_text(text)}" for text in table.left_out)]
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table, numbers to the right."""
    marks = ["---:" if name in RIGHT else "---" for name in head]
    return [_line(head), _line(marks), *(_line([_text(cell) for cell in row]) for row in rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(text: str) -> str:
    """Return text that Markdown shows as it is: on one line, no mark of a table or of HTML in it."""
    flat = " ".join(text.split())
    for mark in "\\`*_|[]":
        flat = flat.replace(mark, f"\\{mark}")
    return flat.replace("<", "&lt;").replace(">", "&gt;")
