"""Checked submission files to one flat zip, the same bytes every time.

In: a report without problems. Out: ``submit.zip``, or ``submit-sample.zip`` marked as not for upload.
Knows nothing about how the files were made.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from clue_runner.errors import DataError, Problem, StorageError
from clue_runner.submission.gather import SAMPLE_MARK, UPLOAD_NAME
from clue_runner.submission.report import FileReport, Report

SAMPLE_ZIP = "submit-sample.zip"
SAMPLE_TEXT = (
    "These are answers to the sample records that ship with the tasks, not to the official test sets.\n"
    "Not for upload: the board would score them 0.\n"
)
TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # the zip format's first moment
PERMISSIONS = 0o100644 << 16
UNIX = 3


@dataclass(frozen=True)
class Packed:
    """The zip that was written."""

    path: Path
    files: tuple[str, ...]
    sha256: str
    left_out: tuple[str, ...]


def pack(report: Report, output: Path | None = None) -> Packed:
    """Write the benchmark's files of ``report`` to ``output``.

    Faults of a zip that was read (folders inside, litter) do not matter here: the new one has none.

    Args:
        report: what ``check_paths`` found.
        output: the zip; default ``submit.zip``, for sample records ``submit-sample.zip``.

    Raises:
        DataError: a file has a problem, two files have one name, or there is nothing to pack.
        StorageError: the zip cannot be written.
    """
    chosen = _choose(report)
    if not chosen:
        raise DataError(
            f"no file of {report.benchmark} here",
            received=", ".join(file.piece.shown for file in report.files) or "nothing",
            next_step="clue train --task NAME, or --benchmark for another set",
        )
    members = [(file.known.submission.file, file.piece.raw) for file in chosen if file.known]
    if report.sample:
        members = mark_as_sample(members)
    path = output or Path(SAMPLE_ZIP if report.sample else UPLOAD_NAME)
    raw = zip_bytes(members)
    write_atomically(path, raw)
    packed = {file.piece.shown for file in chosen}
    others = tuple(file.piece.shown for file in report.files if file.piece.shown not in packed)
    return Packed(path, tuple(name for name, _ in members), hashlib.sha256(raw).hexdigest(), others)


def mark_as_sample(members: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Return the members with the note that makes ``check`` and people refuse the zip for upload."""
    return [*members, (SAMPLE_MARK, SAMPLE_TEXT.encode("utf-8"))]


def zip_bytes(members: Sequence[tuple[str, bytes]]) -> bytes:
    """Return a flat zip of (name, bytes), times and permissions fixed.

    Members are stored, not deflated: another zlib would give other bytes, and all files are small.
    """
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, raw in members:
            info = zipfile.ZipInfo(name, TIMESTAMP)
            info.create_system = UNIX
            info.external_attr = PERMISSIONS
            archive.writestr(info, raw)
    return buffer.getvalue()


def write_atomically(path: Path, raw: bytes) -> None:
    """Write under another name and move into place: half a file never has the final name."""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(raw)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(
            "cannot write the zip",
            where=str(path),
            received=error.strerror,
            next_step="name another --output",
        ) from None


def _choose(report: Report) -> list[FileReport]:
    """Return the benchmark's files in the cards' order, or refuse those that have a problem."""
    chosen = [file for file in report.files if file.known is None or _belongs(file, report.benchmark)]
    problems = [problem for file in chosen for problem in file.problems]
    problems += [problem for problem in report.problems if SAMPLE_MARK in (problem.where or "")]
    seen: dict[str, str] = {}
    for file in chosen:
        name = file.known.submission.file if file.known else file.piece.name
        first = seen.setdefault(name, file.piece.shown)
        if first != file.piece.shown:
            problems.append(
                Problem(f"two files are {name}", file.piece.shown, f"also {first}", "one of them")
            )
    if problems:
        raise DataError(
            "nothing packed: the board would refuse this or score it 0",
            problems=problems,
            next_step="clue submit check",
        )
    return sorted(chosen, key=lambda file: _place(file))


def _belongs(file: FileReport, benchmark: str) -> bool:
    """Return whether the file is one of the benchmark's."""
    return file.known is not None and benchmark in file.known.submission.benchmarks


def _place(file: FileReport) -> tuple[str, int]:
    """Return the file's place in the zip: cards by name, then the card's own order."""
    if file.known is None:
        return ("", 0)
    return (file.known.card.name, file.known.card.submissions.index(file.known.submission))
