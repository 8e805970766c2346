"""Tables as spreadsheets and scripts export them: commas, tabs, semicolons; quotes, line breaks in cells.

In: bytes. Out: rows with their lines, the delimiter detected. Knows nothing about the meaning of columns.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from clue_runner.data.foreign.encoding import decode
from clue_runner.errors import DataError, Problem

# In order of reliability: texts contain commas more often than tabs.
DELIMITERS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
NO_DELIMITER = "\x1f"  # no text holds it: each line is one cell
TRIED_ROWS = 200  # rows from which the delimiter is detected
LONGEST_CELL = 1 << 24  # characters; a quote that is never closed makes the rest of the file one cell
ODD_ROWS_SHARE = 0.01
ODD_ROWS = 10  # up to this many rows of another width may be left out; above, limited by the fraction too
WHOLE_CELL = re.compile(r'"(?:[^"]|"")*"')
SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)

Row = tuple[int, tuple[str, ...]]


@dataclass(frozen=True)
class Table:
    """A table as the file holds it.

    Attributes:
        rows: (line from 1, cells); all of one width, blank rows left out.
        delimiter: the separator of cells.
        encoding: the encoding's name for messages.
        left_out: rows of another width.
    """

    rows: tuple[Row, ...]
    delimiter: str
    encoding: str
    left_out: tuple[Problem, ...] = ()

    @property
    def width(self) -> int:
        """Return the number of columns."""
        return len(self.rows[0][1])


def parse_table(raw: bytes, path: str, *, delimiter: str | None = None, single: bool = False) -> Table:
    """Return the rows of a table.

    Args:
        raw: the file's bytes.
        path: its name in messages.
        delimiter: the separator of cells; None: it is detected.
        single: whether one column is a table too, as of texts without labels.

    Raises:
        DataError: not text, not a table, or too many rows of different widths.
    """
    decoded = decode(raw, path)
    text, first_line = decoded.text, 1
    if told := SEPARATOR_LINE.match(text):
        text, first_line = text[told.end() :], 2
        delimiter = delimiter or told[1]
    chosen = delimiter or find_delimiter(text) or (_one_column(text) if single else None)
    if chosen is None:
        raise DataError(
            "not a table: no delimiter gives rows of equal width",
            where=path,
            allowed=", ".join(DELIMITERS.values()),
            next_step="name it with --delimiter, or export the table again as CSV",
        )
    rows = _rows(text, chosen, path, first_line)
    if not rows:
        raise DataError("the table is empty", where=path)
    width = Counter(len(cells) for _, cells in rows).most_common(1)[0][0]
    odd = tuple(
        Problem("a row of a different width", f"{path}:{line}", f"{len(cells)} cells", str(width))
        for line, cells in rows
        if len(cells) != width
    )
    if len(odd) > max(ODD_ROWS, ODD_ROWS_SHARE * len(rows)):
        raise DataError(
            f"{len(odd):,} of {len(rows):,} rows have a different number of cells",
            where=path,
            problems=odd,
            next_step="quote the cells that contain the delimiter, or name another with --delimiter",
        )
    return Table(tuple(row for row in rows if len(row[1]) == width), chosen, decoded.encoding, odd)


def find_delimiter(text: str) -> str | None:
    """Return the delimiter that gives the most rows of one width above 1, or None."""
    best, best_score = None, 0.0
    for delimiter in DELIMITERS:
        try:
            rows = [cells for _, cells in islice(_read(text, delimiter), TRIED_ROWS)]
        except csv.Error:
            continue
        widths = Counter(map(len, rows))
        width, count = widths.most_common(1)[0] if widths else (1, 0)
        if width > 1 and count / len(rows) > max(best_score, 0.8):
            best, best_score = delimiter, count / len(rows)
    return best


def _one_column(text: str) -> str:
    """Return a delimiter under which every row is one cell: quotes as a spreadsheet puts them, else lines."""
    try:
        if all(len(cells) == 1 for _, cells in _parse(text, ",", quoted=True)):
            return ","
    except csv.Error:
        pass
    return NO_DELIMITER


def _rows(text: str, delimiter: str, path: str, first_line: int) -> list[Row]:
    """Return all rows, lines counted from the file's beginning."""
    rows: list[Row] = []
    try:
        for line, cells in _read(text, delimiter):
            rows.append((line + first_line - 1, cells))
    except csv.Error as error:
        after = rows[-1][0] if rows else first_line
        raise DataError(
            f"not a table: {error}",
            where=f"{path}:{after}",
            next_step="from this line on, a quote is not closed, or is used in a cell without being doubled",
        ) from None
    return rows


def _read(text: str, delimiter: str) -> Iterator[Row]:
    """Yield (line, cells) of every row that is not blank; quotes that enclose no cell are text.

    A spreadsheet quotes cells with tabs, quotes or line breaks; a script that writes tabs does not.
    """
    quoted = delimiter != NO_DELIMITER and (delimiter != "\t" or _quotes_fit(text, delimiter))
    yield from _parse(text, delimiter, quoted=quoted)


def _quotes_fit(text: str, delimiter: str) -> bool:
    """Return whether quotes enclose cells, rather than belong to their texts."""
    plain = [cells for _, cells in _parse(text, delimiter, quoted=False)]
    if len(set(map(len, plain))) == 1:  # no cell needs quotes: two stray ones would swallow the text between
        opened = [cell for cells in plain for cell in cells if cell.startswith('"')]
        return bool(opened) and all(WHOLE_CELL.fullmatch(cell) for cell in opened)
    try:
        return all(True for _ in _parse(text, delimiter, quoted=True))
    except csv.Error:
        return False


def _parse(text: str, delimiter: str, *, quoted: bool) -> Iterator[Row]:
    """Yield (line, cells) of every row that is not blank."""
    csv.field_size_limit(LONGEST_CELL)
    stream = io.StringIO(text, newline="")
    if quoted:
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
    else:
        reader = csv.reader(stream, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    line = 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield line, tuple(cells)
        line = reader.line_num + 1
