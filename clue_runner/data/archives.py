"""Untrusted zips and gzips: inspected before a byte is read, read in memory, never unpacked to disk.

In: the path of a zip. Out: its regular files by base name, and their bytes.
Knows nothing about tasks.
"""

from __future__ import annotations

import gzip
import io
import shlex
import stat
import zipfile
import zlib
from collections import Counter, defaultdict
from pathlib import Path

from clue_runner.errors import DataError, Problem, RefusedFileError, StorageError
from clue_runner.files.litter import is_litter
from clue_runner.files.names import open_regular
from clue_runner.files.reading import read_beyond
from clue_runner.files.text import printable

MAX_MEMBERS = 1_000
MAX_TOTAL_BYTES = 2 * 1024**3
MAX_NAME_LENGTH = 255
MAX_RATIO = 200  # real tasks' JSON compresses 3 to 12 times; a bomb 1,000 times
RATIO_FLOOR_BYTES = 10 * 1024**2  # below this size no ratio is harmful
HEAD_BYTES = 512
GZIP = b"\x1f\x8b"  # the first bytes of every gzip file


def open_archive(path: Path) -> dict[str, tuple[str, ...]]:
    """Return base name -> member paths of the zip's regular files.

    Args:
        path: the zip. Folder entries and litter are left out.

    Raises:
        DataError: not a zip, or a damaged one.
        RefusedFileError: a malicious zip; every reason is listed.
        StorageError: the file cannot be read now.
    """
    try:
        with open_regular(path) as stream, zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
    except (DataError, StorageError, MemoryError):
        raise
    except Exception as error:  # whatever the library raises for bytes that are not a zip
        raise _not_a_zip(path, error) from None
    problems = _attacks(members)
    if problems:
        raise RefusedFileError(
            "the zip is refused: it is malicious",
            where=str(path),
            problems=problems,
            next_step="download the official zip again: clue data get",
        )
    kept: dict[str, list[str]] = defaultdict(list)
    for member in members:
        if not member.is_dir() and not is_litter(member.filename):
            kept[_parts(member.filename)[-1]].append(member.filename)
    return {name: tuple(paths) for name, paths in kept.items()}


def read_member(path: Path, member: str) -> bytes:
    """Return the bytes of one member, no more than the zip's directory states.

    Raises:
        DataError: the member is damaged, cut short or encrypted.
        StorageError: the file cannot be read now.
    """
    where = f"{path}:{member}"
    try:
        with open_regular(path) as stream, zipfile.ZipFile(stream) as archive:
            info = archive.getinfo(member)
            if info.flag_bits & 0x1:
                raise DataError(
                    "the member is encrypted", where=where, next_step="give a zip without a password"
                )
            with archive.open(info) as content:
                return content.read(info.file_size + 1)
    except (DataError, StorageError, MemoryError):
        raise
    # Deflate, bzip2 and LZMA each have their own exceptions for damaged bytes.
    except Exception as error:
        raise DataError(
            "the zip is damaged: the member cannot be read",
            where=where,
            received=str(error) or type(error).__name__,
            next_step="download it again: clue data get",
        ) from None


def unpack_gzip(raw: bytes, path: str) -> bytes:
    """Return the content of a gzip file, read no further than the size limit.

    Args:
        raw: the file's bytes; several gzips in a row are one file.
        path: its name in messages.

    Raises:
        DataError: damaged, or cut short.
        RefusedFileError: it unpacks to far more than its size, as with a zip's member.
    """
    allowed = min(max(RATIO_FLOOR_BYTES, MAX_RATIO * len(raw)), MAX_TOTAL_BYTES)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
            content = read_beyond(stream, allowed)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError("the gzip file is damaged", where=path, received=str(error)) from None
    if len(content) > allowed:
        raise RefusedFileError(
            "the gzip file unpacks to far more than its size",
            where=path,
            received=f"more than {allowed:,} bytes from {len(raw):,}",
            allowed=f"{MAX_RATIO} times its size",
        )
    return content


def verify_archive(path: Path) -> None:
    """Read every member once against its checksum; raises ``DataError`` at the first damaged one."""
    for paths in open_archive(path).values():
        for member in paths:
            read_member(path, member)


def _attacks(members: list[zipfile.ZipInfo]) -> list[Problem]:
    """Return every reason to refuse the zip, from its directory alone."""
    if len(members) > MAX_MEMBERS:
        return [Problem("too many members", received=f"{len(members):,}", allowed=f"at most {MAX_MEMBERS:,}")]
    problems = [problem for member in members for problem in _member_attacks(member)]
    total = sum(member.file_size for member in members)
    if total > MAX_TOTAL_BYTES:
        problems.append(
            Problem("too large when unpacked", received=f"{total:,} bytes", allowed=f"{MAX_TOTAL_BYTES:,}")
        )
    exact = Counter(member.filename for member in members)
    problems += [
        Problem("the name appears twice in the zip", where=name) for name, count in exact.items() if count > 1
    ]
    folded = Counter(name.casefold() for name in exact)
    problems += [
        Problem("another name differs only in letter case", where=name)
        for name in exact
        if folded[name.casefold()] > 1
    ]
    return problems


def _member_attacks(member: zipfile.ZipInfo) -> list[Problem]:
    """Return the problems of one member."""
    where = ascii(member.filename[:80])[1:-1] if not member.filename.isprintable() else member.filename[:80]
    problems = []
    if len(member.orig_filename) > MAX_NAME_LENGTH:
        problems.append(
            Problem("the name is too long", where=where, received=f"{len(member.orig_filename)} characters")
        )
    if "\x00" in member.orig_filename:
        problems.append(Problem("a zero byte in the name", where=where))
    name = member.filename
    if name.startswith(("/", "\\")) or name[1:2] == ":":
        problems.append(Problem("an absolute path", where=where))
    if ".." in _parts(name):
        problems.append(Problem("a path that leaves the folder", where=where))
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        problems.append(Problem("a link or device, not a regular file", where=where))
    if member.file_size > max(RATIO_FLOOR_BYTES, MAX_RATIO * member.compress_size):
        problems.append(
            Problem(
                "unpacks to far more than its size",
                where=where,
                received=f"{member.file_size:,} bytes from {member.compress_size:,}",
                allowed=f"{MAX_RATIO} times its size",
            )
        )
    return problems


def is_table(name: str) -> bool:
    """Return whether a file has the suffix of a table."""
    return name.lower().endswith((".csv", ".tsv"))


def conversions(path: Path) -> str:
    """Return the commands that turn a table into training data."""
    quoted = shlex.quote(printable(str(path)))
    return (
        f"clue data convert NAME --from {quoted} --output NEW for an existing task, "
        f"clue tasks new NEW --from {quoted} for your own"
    )


def _parts(name: str) -> list[str]:
    """Return the path's parts; old Windows tools write backslashes."""
    return [part for part in name.replace("\\", "/").split("/") if part] or [name]


def _not_a_zip(path: Path, error: Exception) -> DataError:
    """Return the error for a file that does not open as a zip, with what it appears to be."""
    with open_regular(path) as stream:
        head = stream.read(HEAD_BYTES)
    if head[:2] == b"PK":
        what, received = "the zip is damaged or truncated", str(error)
    elif head.lstrip()[:1] == b"<":
        what, received = "not a zip", "a web page, as a server sends instead of a file"
    elif head.lstrip()[:1] in {b"{", b"["}:
        what, received = "not a zip", "a JSON file"
    elif is_table(path.name):
        what, received = "not a zip", "a table"
    else:
        what, received = "not a zip", "an empty file" if not head else "something else"
    step = "name a folder with the splits' files, or an official zip"
    if is_table(path.name):
        step += f"; for your own records: {conversions(path)}"
    return DataError(what, where=str(path), received=received, next_step=step)
