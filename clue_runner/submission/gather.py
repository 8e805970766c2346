"""Files, folders, runs and zips to the submission files in them.

In: paths that a user named. Out: pieces (name, where shown, bytes) and what is wrong with the containers.
Knows nothing about what the pieces should hold. Nothing is unpacked to disk.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from clue_runner.data.archives import open_archive, read_member
from clue_runner.errors import DataError, Problem
from clue_runner.runs.find import submission_folders
from clue_runner.runs.folder import RunFolder

SUBMISSION_FOLDER = RunFolder.SUBMISSION
SAMPLE_MARK = "NOT-FOR-UPLOAD.txt"
UPLOAD_NAME = "submit.zip"
MAX_BYTES = 64 * 1024**2  # the largest official file has 1.5 MB
LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class Piece:
    """One file that may be a submission; ``named`` True where the user named it or a zip holds it."""

    name: str
    shown: str
    raw: bytes
    named: bool
    run: Path | None = None


@dataclass
class Gathered:
    """All pieces, and findings about the folders and zips themselves."""

    pieces: list[Piece] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    sample_marks: list[str] = field(default_factory=list)


def gather(paths: Sequence[str | Path]) -> Gathered:
    """Return the submission files at ``paths``; none given: those of the newest runs under ``runs``.

    Raises:
        DataError: a path is missing, cannot be read, is no zip, or holds no file.
    """
    gathered = Gathered()
    for path in paths or [Path("runs")]:
        location = Path(path).expanduser()
        if location.is_dir():
            _gather_folder(location, gathered)
        elif not location.exists():
            what = "no such file or folder" if paths else "no runs here, so nothing to check"
            raise DataError(
                what, where=str(path), next_step="clue train --task NAME, or name a folder, a file or a zip"
            )
        elif zipfile.is_zipfile(location) or location.suffix == ".zip":
            _gather_zip(location, gathered)
        else:
            gathered.pieces.append(_read_piece(location, named=True))
    return gathered


def newest_submissions(root: Path) -> list[Path]:
    """Return the submission files under ``root``, of each name the one from the newest run."""
    newest: dict[str, Path] = {}
    for folder in submission_folders(root):
        for file in sorted(folder.glob("*.json")):
            known = newest.get(file.name)
            if known is None or file.stat().st_mtime_ns > known.stat().st_mtime_ns:
                newest[file.name] = file
    return [newest[name] for name in sorted(newest)]


def _gather_folder(folder: Path, gathered: Gathered) -> None:
    """Take a folder's own files, its ``submission`` folder, or those of the newest runs below it."""
    inner = folder / SUBMISSION_FOLDER
    source = inner if inner.is_dir() else folder
    files = [
        path for path in sorted(source.iterdir()) if path.is_file() and path.suffix in {".json", ".jsonl"}
    ]
    if not files:
        files = newest_submissions(folder)
    if not files:
        raise DataError(
            "no submission file here",
            where=str(folder),
            next_step="clue train --task NAME writes one to runs/NAME/.../submission",
        )
    for path in files:
        gathered.pieces.append(_read_piece(path, named=False))
    marks = {path.parent / SAMPLE_MARK for path in files}
    gathered.sample_marks += sorted(str(mark) for mark in marks if mark.exists())


def _read_piece(path: Path, *, named: bool) -> Piece:
    """Return one file of a folder."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError("too large for a submission", where=str(path), allowed=f"{MAX_BYTES:,} bytes")
        raw = path.read_bytes()
    except OSError as error:
        raise DataError("cannot read the file", where=str(path), received=error.strerror) from None
    run = path.parent.parent if path.parent.name == SUBMISSION_FOLDER else None
    return Piece(path.name, str(path), raw, named, run)


def _gather_zip(path: Path, gathered: Gathered) -> None:
    """Take a zip's files by base name, noting folders, litter and an unusual zip name."""
    found = open_archive(path)
    with zipfile.ZipFile(path) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
    gathered.problems += _layout_problems(path, infos)
    if not path.name.startswith("submit"):
        what = "unusual zip name: an upload has been taken only after the zip was renamed"
        allowed = f"{UPLOAD_NAME} or submit_<team>_<date>.zip"
        fix = f"mv {quote(str(path))} {quote(str(path.with_name(UPLOAD_NAME)))}"
        gathered.warnings.append(Problem(what, str(path), path.name, allowed, fix))
    sizes = {info.filename: info.file_size for info in infos}
    for name, members in sorted(found.items()):
        if name == SAMPLE_MARK:
            gathered.sample_marks.append(f"{path}:{name}")
            continue
        for member in members:
            if sizes[member] > MAX_BYTES:
                raise DataError(
                    "too large for a submission", where=f"{path}:{member}", allowed=f"{MAX_BYTES:,} bytes"
                )
            gathered.pieces.append(Piece(name, f"{path}:{member}", read_member(path, member), named=True))
    if not gathered.pieces:
        raise DataError("the zip holds no file", where=str(path), next_step="clue submit pack")


def _layout_problems(path: Path, infos: Sequence[zipfile.ZipInfo]) -> list[Problem]:
    """Return what is wrong with the zip apart from its files: folders and litter inside."""
    repack = f"clue submit pack {quote(str(path))} --output {UPLOAD_NAME}"
    litter = [info.filename for info in infos if _is_litter(info.filename)]
    nested = [info.filename for info in infos if "/" in info.filename and info.filename not in litter]
    problems = []
    if litter:
        what = f"the zip holds {len(litter)} files that a file manager added"
        problems.append(Problem(what, str(path), litter[0], "submission files alone", repack))
    if nested:
        what = "files lie in a folder inside the zip; zipped folders have scored 0 on every task"
        problems.append(Problem(what, str(path), nested[0], nested[0].rsplit("/", 1)[1], repack))
    return problems


def _is_litter(member: str) -> bool:
    """Return whether a member is what macOS or Windows adds to folders."""
    parts = member.split("/")
    return parts[0] == "__MACOSX" or parts[-1] in LITTER or parts[-1].startswith("._")
