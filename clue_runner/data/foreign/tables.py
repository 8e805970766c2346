"""Tables as spreadsheets and scripts export them: commas, tabs, semicolons; quotes, line breaks in cells.

In: bytes. Out: rows with their lines, the delimiter found out. Knows nothing about what the columns mean.
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

# In the order of trust: texts hold commas more often than tabs.
DELIMITERS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
NO_DELIMITER = "\x1f"  # no text holds it: each line is one cell
TRIED_ROWS = 200  # rows from which the delimiter is told
LONGEST_CELL = 1 << 24  # characters; a quote that is never closed makes the rest of the file one cell
ODD_ROWS_SHARE = 0.01
ODD_ROWS = 10  # up to here, rows of another width are left out; above, also under the share
WHOLE_CELL = re.compile(r'"(?:[^"]|"")*"')
SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)

Row = tuple[int, tuple[str, ...]]


@dataclass(frozen=True)
class Table:
    """A table as it stands in the file.

    Attributes:
        rows: (line from 1, cells); all of one width, blank rows left out.
        delimiter: what stands between cells.
        encoding: what a message calls the encoding.
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
        path: what messages call it.
        delimiter: what stands between cells; None: it is found out.
        single: whether one column is a table too, as of texts without labels.

    Raises:
        DataError: not text, no table, or rows of different widths beyond a few.
    """
    decoded = decode(raw, path)
    text, first_line = decoded.text, 1
    if told := SEPARATOR_LINE.match(text):
        text, first_line = text[told.end() :], 2
        delimiter = delimiter or told[1]
    chosen = delimiter or find_delimiter(text) or (_one_column(text) if single else None)
    if chosen is None:
        raise DataError(
            "no table: no delimiter gives rows of one width",
            where=path,
            allowed=", ".join(DELIMITERS.values()),
            next_step="name it with --delimiter, or export the table again as CSV",
        )
    rows = _rows(text, chosen, path, first_line)
    if not rows:
        raise DataError("an empty table", where=path)
    width = Counter(len(cells) for _, cells in rows).most_common(1)[0][0]
    odd = tuple(
        Problem("a row of another width", f"{path}:{line}", f"{len(cells)} cells", str(width))
        for line, cells in rows
        if len(cells) != width
    )
    if len(odd) > max(ODD_ROWS, ODD_ROWS_SHARE * len(rows)):
        raise DataError(
            f"{len(odd):,} of {len(rows):,} rows have another number of cells",
            where=path,
            problems=odd,
            next_step="put cells that hold the delimiter into quotes, or name another with --delimiter",
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
            f"no table: {error}",
            where=f"{path}:{after}",
            next_step="from this line on, a quote is not closed or stands in a cell without being doubled",
        ) from None
    return rows


def _read(text: str, delimiter: str) -> Iterator[Row]:
    """Yield (line, cells) of every row that is not blank; quotes mean nothing where they do not fit.

    A spreadsheet puts cells with tabs, quotes or line breaks into quotes; a script that writes tabs does not.
    """
    quoted = delimiter != NO_DELIMITER and (delimiter != "\t" or _quotes_fit(text, delimiter))
    yield from _parse(text, delimiter, quoted=quoted)


def _quotes_fit(text: str, delimiter: str) -> bool:
    """Return whether quotes stand around cells, rather than in their texts."""
    plain = [cells for _, cells in _parse(text, delimiter, quoted=False)]
    if len(set(map(len, plain))) == 1:  # no cell needs quotes: two stray ones would swallow what is between
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
