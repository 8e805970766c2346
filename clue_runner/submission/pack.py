"""Packs checked submission files into one flat zip, with the same bytes every time.

In: a report without problems. Out: ``submit.zip``, or ``submit-sample.zip`` marked as not for upload.
Knows nothing about how the files were made. A file in the way is never lost: a zip is moved aside,
anything else is refused.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from clue_runner.errors import DataError, Problem, UsageError
from clue_runner.files.atomic import disk_faults, make_folder, write_atomic
from clue_runner.files.names import name_fault, read_regular
from clue_runner.files.text import printable
from clue_runner.submission.choose import choose, flaws, mixed_models, same_settings, why_not
from clue_runner.submission.findings import problem
from clue_runner.submission.gather import SAMPLE_MARK, UPLOAD_NAME
from clue_runner.submission.report import FileReport, Report

SAMPLE_ZIP = "submit-sample.zip"
SAMPLE_TEXT = (
    "These are answers to the sample records that ship with the tasks, not to the official test sets.\n"
    "Not for upload: the leaderboard would score them 0.\n"
)
TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # the zip format's first moment
PERMISSIONS = 0o100644 << 16
UNIX = 3
ZIP_START = b"PK"


@dataclass(frozen=True)
class Packed:
    """The zip that was written.

    Args:
        taken: the files in it, in order.
        left_out: other named files, each with the reason.
        set_aside: the new path of a zip that was in the way.
    """

    path: Path
    taken: tuple[FileReport, ...]
    files: tuple[str, ...]
    sha256: str
    left_out: tuple[str, ...]
    set_aside: Path | None = None


def pack(report: Report, output: Path | None = None, allow: Collection[str] = ()) -> Packed:
    """Write the benchmark's files of ``report`` to ``output``.

    Faults of a zip that was read (folders inside, litter) do not matter here: the new zip has none.

    Args:
        report: the result of ``check_paths``.
        output: the zip; default ``submit.zip``, for sample records ``submit-sample.zip``.
        allow: flaws of runs to accept, including ``mixed`` models (``choose.Allowed``).

    Raises:
        DataError: a file or its run has a problem, two files have the same name, or there is nothing to pack.
        UsageError: a file that is not a zip is in the way.
        StorageError: the zip cannot be written.
    """
    chosen, left_out = _choose(report, allow)
    if not chosen:
        raise DataError(
            f"no file of {report.benchmark} found",
            received=printable(", ".join(file.piece.shown for file in report.files)) or "nothing",
            next_step="clue train --task NAME, or --benchmark for another set",
        )
    members = [(file.known.submission.file, file.piece.raw) for file in chosen if file.known]
    if report.sample:
        members = mark_as_sample(members)
    path = output or Path(SAMPLE_ZIP if report.sample else UPLOAD_NAME)
    raw = zip_bytes(members)
    set_aside = _write(path, raw)
    names = tuple(name for name, _ in members)
    return Packed(path, tuple(chosen), names, hashlib.sha256(raw).hexdigest(), left_out, set_aside)


def mark_as_sample(members: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Return the members with a note by which ``check`` and people recognise a zip not for upload."""
    return [*members, (SAMPLE_MARK, SAMPLE_TEXT.encode("utf-8"))]


def zip_bytes(members: Sequence[tuple[str, bytes]]) -> bytes:
    """Return a flat zip of (name, bytes), times and permissions fixed.

    Members are stored, not deflated: another zlib version would give other bytes, and all files are small.

    Raises:
        DataError: a name that is not a plain file name.
    """
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, raw in members:
            fault = name_fault(name)
            if fault is not None:
                raise DataError("not a name for a file in the zip", received=printable(name), allowed=fault)
            info = zipfile.ZipInfo(name, TIMESTAMP)
            info.create_system = UNIX
            info.external_attr = PERMISSIONS
            archive.writestr(info, raw)
    return buffer.getvalue()


def _write(path: Path, raw: bytes) -> Path | None:
    """Write the zip; return the new path of a zip with other content that was in the way.

    Raises:
        UsageError: something other than a zip is in the way.
        StorageError: the disk refused; existing files are untouched.
    """
    make_folder(path.parent)
    if not path.exists() and not path.is_symlink():
        write_atomic(path, raw)
        return None
    old = read_regular(path, error_type=UsageError)
    if old == raw:
        return None
    if not old.startswith(ZIP_START):
        raise UsageError(
            "the output path holds a file that is not a zip",
            where=printable(str(path)),
            next_step="choose another --output",
        )
    number = 1
    while (aside := path.with_name(f"{path.stem}.old-{number}{path.suffix}")).exists():
        number += 1
    with disk_faults(path):
        path.rename(aside)
    write_atomic(path, raw)
    return aside


def _choose(report: Report, allow: Collection[str]) -> tuple[list[FileReport], tuple[str, ...]]:
    """Return the benchmark's files in the cards' order and what was left out; refuse files with a problem."""
    files = [file for file in report.files if file.known is None or _belongs(file, report.benchmark)]
    others = [file for file in report.files if file.known and not _belongs(file, report.benchmark)]
    left_out = [f"{file.piece.shown}: not of {report.benchmark}" for file in others]
    named: dict[str, list[FileReport]] = {}
    for file in files:
        named.setdefault(file.known.submission.file if file.known else file.piece.shown, []).append(file)
    chosen: list[FileReport] = []
    problems = list(report.unreadable)
    problems += [mark for mark in report.problems if SAMPLE_MARK in (mark.where or "")]
    for name, same in named.items():
        first = same[0]
        others = [file for file in same[1:] if not same_settings(file.piece, first.piece)]
        problems += [_conflict(name, first, other) for other in others]
        choice = choose([file.piece for file in same], allow)
        chosen += [replace(file, why=file.why or choice.why) for file in same if file.piece is choice.piece]
        left_out += [f"{piece.shown}: {why_not(piece, choice.piece, allow)}" for piece in choice.passed]
    problems += [fault for file in chosen for fault in file.problems]
    if not report.sample:
        problems += [flaw for file in chosen for flaw in flaws(file.piece, allow)]
        mix = None if "mixed" in allow else mixed_models(file.piece for file in chosen)
        problems += [mix] if mix else []
    if problems:
        raise DataError(
            "nothing was packed: these files should not go to the leaderboard",
            problems=problems,
            next_step="clue submit check",
        )
    return sorted(chosen, key=_place), tuple(left_out)


def _conflict(name: str, first: FileReport, other: FileReport) -> Problem:
    allowed = "one of them, or runs that differ in their seed alone"
    return problem(f"there are two files for {name}", other.piece.shown, f"also {first.piece.shown}", allowed)


def _belongs(file: FileReport, benchmark: str) -> bool:
    return file.known is not None and benchmark in file.known.submission.benchmarks


def _place(file: FileReport) -> tuple[str, int]:
    """Return the file's place in the zip: cards by name, then the card's own order."""
    if file.known is None:
        return ("", 0)
    return (file.known.card.name, file.known.card.submissions.index(file.known.submission))
