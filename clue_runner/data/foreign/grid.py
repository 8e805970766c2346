"""A file of examples as named columns, whether a table or JSON; whether its first row is a header.

In: bytes. Out: a ``Grid``. Knows nothing about which column is the text or the label.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from clue_runner.data.foreign.objects import parse_objects
from clue_runner.data.foreign.recognise import refuse_no_data
from clue_runner.data.foreign.tables import DELIMITERS, parse_table
from clue_runner.errors import DataError, Problem

TEXT_PAIRS = (
    ("sentence1", "sentence2"),
    ("text_a", "text_b"),
    ("text1", "text2"),
    ("s1", "s2"),
    ("q1", "q2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("query", "title"),
    ("句子1", "句子2"),
    ("文本1", "文本2"),
    ("问题1", "问题2"),
)
TEXTS = (
    "text", "sentence", "content", "review", "comment", "text_a", "query", "question", "title", "body",
    "文本", "句子", "内容", "正文", "评论", "评价", "问题", "标题",
)  # fmt: skip
LABELS = (
    "label", "labels", "class", "category", "target", "sentiment", "label_id", "y", "label_desc",
    "标签", "类别", "分类", "情感", "类型",
)  # fmt: skip
IDS = ("id", "idx", "index", "no", "guid", "qid", "编号", "序号", "unnamed: 0", "")
KNOWN = {*TEXTS, *LABELS, *IDS, *(name for pair in TEXT_PAIRS for name in pair)} - {""}
LONGEST_HEADING = 40
MOST_COLUMNS = 1_000
CLASS_SHARE = 0.5  # a column of classes has at most this many distinct values per row

GridRow = tuple[int, tuple[object, ...]]


@dataclass(frozen=True)
class Grid:
    """Examples by column.

    Attributes:
        columns: their names; ``column 1`` and so on where the file has no header.
        rows: (line, or number in a JSON list; cells), None where an object lacks the key.
        described: the file's format, for messages.
        has_header: whether the names come from the file.
        left_out: rows of the wrong shape.
    """

    columns: tuple[str, ...]
    rows: tuple[GridRow, ...]
    described: str
    has_header: bool
    left_out: tuple[Problem, ...] = ()

    def column(self, place: int) -> list[object]:
        """Return the cells of one column."""
        return [cells[place] for _, cells in self.rows]


def read_grid(
    raw: bytes,
    path: str,
    *,
    delimiter: str | None = None,
    header: bool | None = None,
    known: Collection[str] = (),
    single: bool = False,
) -> Grid:
    """Return the examples of a table, a JSON list or JSON lines.

    Args:
        raw: the file's bytes.
        path: its name in messages.
        delimiter: that of a table; None: it is detected.
        header: whether a table's first row names its columns; None: it is detected.
        known: names of columns in the files that came before, beside the usual ones.
        single: whether one column is enough.

    Raises:
        DataError: neither text nor table nor JSON, with what it is instead; an empty file.
    """
    refuse_no_data(raw, path)
    if raw.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"["} and delimiter is None:
        objects = parse_objects(raw, path)
        names = tuple(dict.fromkeys(key for _, row in objects.rows for key in row))
        _refuse_width(len(names), path)
        rows = tuple((line, tuple(row.get(name) for name in names)) for line, row in objects.rows)
        if not rows or not names:
            raise DataError("no records in the file", where=path)
        return Grid(names, rows, f"{objects.shape}, {objects.encoding}", has_header=True)
    table = parse_table(raw, path, delimiter=delimiter, single=single)
    _refuse_width(table.width, path)
    named = has_header([cells for _, cells in table.rows], known) if header is None else header
    between = DELIMITERS.get(table.delimiter, repr(table.delimiter))
    described = f"{'one column' if table.width == 1 else f'a table with {between}'}, {table.encoding}"
    body = table.rows[1:] if named else table.rows
    if not body:
        raise DataError("the table has a header but no rows", where=path)
    names = _headings(table.rows[0][1], path) if named else _numbered(table.width)
    return Grid(names, body, described, named, table.left_out)


def _refuse_width(columns: int, path: str) -> None:
    """Refuse more columns than any table of examples has: the following steps look at each of them."""
    if columns > MOST_COLUMNS:
        raise DataError(
            "too many columns for a table of examples",
            where=path,
            received=f"{columns:,}",
            allowed=f"at most {MOST_COLUMNS:,}",
        )


def has_header(rows: Sequence[Sequence[str]], known: Collection[str] = ()) -> bool:
    """Return whether the first row names the columns: by usual names, or by a value that is not a class.

    Args:
        rows: the table's, including the first.
        known: usual names.
    """
    first, others = [cell.strip() for cell in rows[0]], rows[1:]
    if any(cell in known for cell in first):
        return True
    if any(cell and cell.lower() in KNOWN and first.count(cell) > 1 for cell in first):
        return True  # reading the names then reports the duplicate
    if not all(first) or len(set(first)) < len(first) or max(map(len, first)) > LONGEST_HEADING:
        return any(cell.lower() in LABELS for cell in first)
    if any(cell.lower() in KNOWN for cell in first):
        return True
    for place, cell in enumerate(first):
        values = {row[place].strip() for row in others}
        if len(others) >= 4 and len(values) <= CLASS_SHARE * len(others) and cell not in values:
            return True
    return False


def _headings(cells: Sequence[str], path: str) -> tuple[str, ...]:
    """Return the header's names, empty ones numbered."""
    names = tuple(cell.strip() or f"column {place}" for place, cell in enumerate(cells, start=1))
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            f"two columns are called {twice!r}", where=path, next_step="give every column a different name"
        )
    return names


def _numbered(width: int) -> tuple[str, ...]:
    """Return names for columns without any."""
    return tuple(f"column {place}" for place in range(1, width + 1))
