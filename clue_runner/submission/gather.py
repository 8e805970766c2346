"""Collects the submission files in files, folders, runs and zips.

In: paths that a user named. Out: pieces (name, place, bytes, the run that made it) and the problems of
the containers. Knows nothing about the pieces' expected content. Nothing is unpacked to disk.
What cannot be read becomes a finding with its name and hides nothing else.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from clue_runner.data.archives import open_archive, read_member
from clue_runner.errors import ClueError, DataError, Problem, StorageError
from clue_runner.files.litter import entries, is_litter
from clue_runner.files.names import open_regular, user_path
from clue_runner.files.text import printable
from clue_runner.runs.find import submission_folders
from clue_runner.runs.folder import RunFolder
from clue_runner.submission.findings import problem
from clue_runner.submission.forms import MAX_BYTES, TOO_LARGE
from clue_runner.submission.origin.facts import RunFacts, facts_of

SAMPLE_MARK = "NOT-FOR-UPLOAD.txt"
UPLOAD_NAME = "submit.zip"
ROOT = "runs"


@dataclass(frozen=True)
class Piece:
    """One file that may be a submission.

    Args:
        shown: its name in messages, with the member of a zip.
        raw: its bytes; ``MAX_BYTES`` plus one if the file is too large.
        named: the user named it, or a zip contains it.
        searched: it was found in one of the runs below a named folder.
        changed: the time of writing, in nanoseconds of the disk's clock.
        fault: why it cannot be read.
    """

    name: str
    shown: str
    raw: bytes
    named: bool = False
    searched: bool = False
    changed: int = 0
    run: RunFacts | None = None
    fault: Problem | None = None


@dataclass
class Gathered:
    """All pieces, findings about the zips themselves, and what could not be read."""

    pieces: list[Piece] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unreadable: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    sample_marks: list[str] = field(default_factory=list)


def gather(paths: Sequence[str | Path], is_official: Callable[[str], bool]) -> Gathered:
    """Return the submission files at ``paths``; without paths, those of the runs under ``runs``.

    Args:
        paths: files, folders, runs, zips.
        is_official: whether a file name stands for a file of the leaderboard, perhaps misspelt.

    Raises:
        DataError: no path holds a file, or the only one cannot be read.
        RefusedFileError: a malicious zip.
    """
    gathered = Gathered()
    errors: list[ClueError] = []
    for path in paths or [ROOT]:
        try:
            location = user_path(path)
            if location.is_dir():
                _gather_folder(location, gathered, is_official)
            elif not location.exists():
                what = "no such file or folder" if paths else "no runs here, so there is nothing to check"
                advice = "clue train --task NAME, or name a folder, a file or a zip"
                raise DataError(what, where=printable(str(path)), next_step=advice)
            elif location.suffix == ".zip" or (location.is_file() and zipfile.is_zipfile(location)):
                _gather_zip(location, gathered)
            else:
                gathered.pieces.append(_read_piece(location, named=True))
        except (DataError, StorageError) as error:
            errors.append(error)
    if len(errors) == 1 and not gathered.pieces:
        raise errors[0]
    gathered.unreadable = [as_problem(error) for error in errors]
    if not gathered.pieces:
        raise DataError("none of these files can be read", problems=gathered.unreadable)
    return gathered


def as_problem(error: ClueError) -> Problem:
    """Return an error about one file as a finding beside its name."""
    first = error.problems[0] if error.problems else None
    headline = error.headline
    what = headline.what if first is None else f"{headline.what}: {first}"
    return problem(what, headline.where, headline.received, headline.allowed, error.next_step)


def _gather_folder(folder: Path, gathered: Gathered, is_official: Callable[[str], bool]) -> None:
    """Take a run's ``submission`` folder, a folder's own files, or those of the runs below it."""
    inner = RunFolder(folder).submission
    files = _files(inner if inner.is_dir() else folder)
    searched = not files or not (inner.is_dir() or any(is_official(path.name) for path in files))
    if searched:
        below = [path for place in submission_folders(folder) for path in _files(place)]
        files, searched = (below, True) if below else (files, False)
    if not files:
        raise DataError(
            "no submission file found",
            where=printable(str(folder)),
            next_step="clue train --task NAME writes one to runs/NAME/.../submission",
        )
    facts = {place: facts_of(place) for place in {path.parent for path in files}}
    for path in files:
        gathered.pieces.append(_read_piece(path, searched=searched, run=facts[path.parent]))
    marks = {path.parent / SAMPLE_MARK for path in files}
    gathered.sample_marks += sorted(str(mark) for mark in marks if mark.exists())


def _files(folder: Path) -> list[Path]:
    """Return what may be submission files, including pipes and the like, which reading reports."""
    try:
        return [path for path in entries(folder) if path.suffix in {".json", ".jsonl"} and not path.is_dir()]
    except OSError as error:
        where, received = printable(str(folder)), error.strerror
        raise StorageError("cannot read the folder", where=where, received=received) from None


def _read_piece(
    path: Path, *, named: bool = False, searched: bool = False, run: RunFacts | None = None
) -> Piece:
    raw, changed, fault = b"", 0, None
    try:
        with open_regular(path) as stream:
            changed = os.fstat(stream.fileno()).st_mtime_ns
            raw = stream.read(MAX_BYTES + 1)
    except (DataError, StorageError) as error:
        fault = as_problem(error)
    except OSError as error:
        fault = problem("cannot read the file", str(path), error.strerror)
    facts = facts_of(path.absolute().parent) if named else run
    return Piece(path.name, str(path), raw, named, searched, changed, facts, fault)


def _gather_zip(path: Path, gathered: Gathered) -> None:
    """Take a zip's files by base name, noting folders, litter and an unusual zip name."""
    members = open_archive(path)
    with open_regular(path) as stream, zipfile.ZipFile(stream) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
    gathered.problems += _layout_problems(path, infos)
    if not path.name.startswith("submit"):
        what = "unusual zip name: an upload was accepted only after the zip was renamed"
        right = path.with_name(UPLOAD_NAME)
        fix = None if right.exists() else f"mv {quote(str(path))} {quote(str(right))}"
        allowed = f"{UPLOAD_NAME} or submit_<team>_<date>.zip"
        gathered.warnings.append(problem(what, str(path), path.name, allowed, fix))
    sizes = {info.filename: info.file_size for info in infos}
    before = len(gathered.pieces)
    for name, places in sorted(members.items()):
        if name == SAMPLE_MARK:
            gathered.sample_marks.append(f"{path}:{name}")
            continue
        gathered.pieces += [_read_member(path, name, member, sizes[member]) for member in places]
    if len(gathered.pieces) == before:
        raise DataError("the zip is empty", where=printable(str(path)), next_step="clue submit pack RUN")


def _read_member(path: Path, name: str, member: str, size: int) -> Piece:
    shown, raw, fault = f"{path}:{member}", b"", None
    if size > MAX_BYTES:
        fault = problem(TOO_LARGE, shown, f"{size:,} bytes", f"{MAX_BYTES:,} bytes")
    else:
        try:
            raw = read_member(path, member)
        except DataError as error:
            fault = as_problem(error)
    return Piece(name, shown, raw, named=True, fault=fault)


def _layout_problems(path: Path, infos: Sequence[zipfile.ZipInfo]) -> list[Problem]:
    """Return the problems of the zip apart from its files: folders and litter inside."""
    repack = f"clue submit pack {quote(str(path))} --output {UPLOAD_NAME}"
    names = [info.filename for info in infos]
    litter = [name for name in names if is_litter(name)]
    nested = [name for name in names if "/" in name and not is_litter(name)]
    problems = []
    if litter:
        what = f"the zip contains {len(litter)} files that a file manager added"
        problems.append(problem(what, str(path), litter[0], "only submission files", repack))
    if nested:
        what = "the files are in a folder inside the zip; zipped folders have scored 0 on every task"
        problems.append(problem(what, str(path), nested[0], nested[0].rsplit("/", 1)[1], repack))
    return problems
