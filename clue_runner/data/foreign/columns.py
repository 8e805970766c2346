"""Which columns hold the text, or the two texts, and which the label: by name, else by content.

In: a ``Grid`` and what the user named. Out: column numbers, and examples. Knows nothing about files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clue_runner.data.foreign.grid import CLASS_SHARE, IDS, LABELS, TEXT_PAIRS, TEXTS, Grid
from clue_runner.errors import DataError, Problem, UsageError, suggest

MOST_LABELS = 1_000
BARE_ROWS = 10  # rows without text or label that may be left out; above, limited by the fraction too
BARE_SHARE = 0.01


@dataclass(frozen=True)
class Columns:
    """One or two text columns, and the label's; None where there is none."""

    texts: tuple[int, ...]
    label: int | None


@dataclass(frozen=True)
class Example:
    """One row: its texts, its label (empty without a label column), its line."""

    texts: tuple[str, ...]
    label: str
    line: int


def choose_columns(
    grid: Grid, path: str, *, texts: Sequence[str] = (), label: str | None = None, labelled: bool = True
) -> Columns:
    """Return the columns of texts and label.

    Args:
        grid: the file.
        path: its name in messages.
        texts: names of text columns that the user gave.
        label: name of the label column that the user gave.
        labelled: whether there must be a label column.

    Raises:
        UsageError: no column has a given name.
        DataError: the columns cannot be determined; the message names the options to set them.
    """
    label_place = _named(grid, label, "--label", path) if label is not None else _find_label(grid)
    if label_place is None and labelled:
        raise DataError(
            "the column of the labels cannot be determined",
            where=path,
            received=_listed(grid),
            next_step="name it: --label COLUMN",
        )
    if texts:
        places = tuple(_named(grid, name, "--text", path) for name in texts)
    else:
        places = _find_texts(grid, label_place)
    if not 1 <= len(places) <= 2:
        raise DataError(
            "the column of the texts cannot be determined",
            where=path,
            received=_listed(grid),
            next_step="name it: --text COLUMN, twice for pairs of texts",
        )
    if label_place in places or len(set(places)) < len(places):
        raise UsageError("a column is named twice", where=path, received=_listed(grid))
    return Columns(places, label_place)


def examples_of(grid: Grid, columns: Columns, path: str) -> tuple[list[Example], list[Problem]]:
    """Return the examples, and the rows left out because a text or the label is missing.

    Raises:
        DataError: a cell of another type, or more than a few rows without text or label.
    """
    examples: list[Example] = []
    bare: list[Problem] = []
    wrong: list[Problem] = []
    for line, cells in grid.rows:
        where = f"{path}:{line}"
        texts = [cells[place] for place in columns.texts]
        label = "" if columns.label is None else cells[columns.label]
        if any(text is not None and not isinstance(text, str) for text in texts):
            wrong.append(Problem("a text must be a string", where, f"{texts!r:.60}"))
        elif not isinstance(label, str | int | None):
            wrong.append(Problem("a label must be a string or an integer", where, f"{label!r:.60}"))
        elif not all(text and str(text).strip() for text in texts):
            bare.append(Problem("no text", where))
        elif columns.label is not None and not as_label(label):
            bare.append(Problem("no label", where))
        else:
            examples.append(Example(tuple(str(text) for text in texts), as_label(label), line))
    if wrong:
        raise DataError(
            f"{len(wrong):,} of {len(grid.rows):,} rows hold neither text nor label",
            where=path,
            problems=wrong,
            next_step="write one record per line, its text and its one label as strings; "
            "or name other columns with --text and --label",
        )
    if not examples or len(bare) > max(BARE_ROWS, BARE_SHARE * len(grid.rows)):
        raise DataError(
            f"{len(bare):,} of {len(grid.rows):,} rows have no text or no label",
            where=path,
            problems=bare,
            next_step="name other columns with --text and --label, or complete the rows",
        )
    return examples, bare


def as_label(value: object) -> str:
    """Return a label as cards spell it: JSON's 1 and true are "1" and "true", outer spaces are dropped."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def _named(grid: Grid, name: str, option: str, path: str) -> int:
    """Return the column of a name, or of a number from 1."""
    if name in grid.columns:
        return grid.columns.index(name)
    folded = [column.casefold() for column in grid.columns]
    if folded.count(name.casefold()) == 1:
        return folded.index(name.casefold())
    if name.isdecimal() and 1 <= int(name) <= len(grid.columns):
        return int(name) - 1
    guess = suggest(name, grid.columns)
    raise UsageError(
        f"no column called {name!r} in {path}",
        where=option,
        allowed=f"{', '.join(grid.columns)}, or a number from 1 to {len(grid.columns)}",
        next_step=f"did you mean {guess}?" if guess else None,
    )


def _find_label(grid: Grid) -> int | None:
    """Return the label column: the first with a usual name, else the only one that holds classes."""
    by_name = _by_name(grid, LABELS)
    if by_name is not None:
        return by_name
    classes = [place for place in range(len(grid.columns)) if _holds_classes(grid, place)]
    return classes[0] if len(classes) == 1 else None


def _find_texts(grid: Grid, label: int | None) -> tuple[int, ...]:
    """Return the text columns: a usual pair, a usual name, else the remaining ones that read like text."""
    lower = [name.lower() for name in grid.columns]
    for pair in TEXT_PAIRS:
        if set(pair) <= set(lower):
            return lower.index(pair[0]), lower.index(pair[1])
    by_name = _by_name(grid, TEXTS)
    if by_name is not None and by_name != label:
        return (by_name,)
    return tuple(
        place
        for place, name in enumerate(lower)
        if place != label and name not in IDS and _reads_like_text(grid, place)
    )


def _by_name(grid: Grid, names: Sequence[str]) -> int | None:
    """Return the column with the first of the names that exists."""
    lower = [name.lower() for name in grid.columns]
    return next((lower.index(name) for name in names if name in lower), None)


def _holds_classes(grid: Grid, place: int) -> bool:
    """Return whether many rows share few values."""
    values = [as_label(value) for value in grid.column(place) if isinstance(value, str | int)]
    distinct = len(set(values))
    return 1 < distinct <= min(CLASS_SHARE * len(grid.rows), MOST_LABELS)


def _reads_like_text(grid: Grid, place: int) -> bool:
    """Return whether most cells are words rather than numbers, and do not repeat like classes."""
    cells = [value for value in grid.column(place) if isinstance(value, str) and value.strip()]
    words = sum(any(char.isalpha() for char in value) for value in cells)
    return words > 0.9 * len(grid.rows)


def _listed(grid: Grid) -> str:
    """Return the columns with their first cells, for a message."""
    first = grid.rows[0][1]
    return "; ".join(f"{name} ({value!r:.20})" for name, value in zip(grid.columns, first, strict=True))[:400]
