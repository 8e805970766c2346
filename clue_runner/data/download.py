"""Official zips over HTTP into ``$CLUE_HOME/data/<task>``, verified before they get their final name.

In: a card with urls, mirrors in order. Out: the path of a complete, verified zip.
Knows nothing about records beyond the number of lines in a file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from clue_runner.data import mirror
from clue_runner.data.archives import open_archive, verify_archive
from clue_runner.data.at_hand import data_folder, is_offline
from clue_runner.data.card import Card, Download
from clue_runner.data.mirror import BROKEN_OFF, OnProgress, answers, host, transfer, transfer_fault
from clue_runner.data.sources import DataSource, ZipSource, require_some_file, split_file
from clue_runner.errors import ClueError, DataError, Problem, StorageError
from clue_runner.files.names import read_regular

ATTEMPTS = 2  # per mirror, if it sent anything
RETRY_SECONDS = 1.0
STALE_PART_SECONDS = 24 * 3600.0

Say = Callable[[str], None]


def fetch(
    card: Card,
    *,
    offline: bool | None = None,
    on_progress: OnProgress | None = None,
    say: Say | None = None,
) -> Path:
    """Return the task's zip in ``$CLUE_HOME/data/<task>``, downloading it from the first mirror that works.

    Args:
        card: the task.
        offline: do not connect; None asks ``$CLUE_OFFLINE``.
        on_progress: called with (bytes so far, total bytes or None).
        say: called with what is being waited for, and with why a mirror was given up.

    Raises:
        DataError: offline, no urls, or no mirror had the official data; lists all ways to provide data.
        RefusedFileError: the last mirror sent a malicious zip.
        StorageError: the folder cannot be written.
    """
    if card.download is None or not card.download.urls:
        raise _no_data(card, "the card has no download")
    if is_offline(offline):
        raise _no_data(card, "downloads are disabled")
    part = _part_file(card, card.download)
    problems: list[Problem] = []
    try:
        for number, url in enumerate(card.download.urls, start=1):
            if say:
                say(
                    f"waiting for {host(url)} (mirror {number} of {len(card.download.urls)}; given up after "
                    f"{mirror.CONNECT_SECONDS:g} s to connect or {mirror.STALL_SECONDS:g} s without a byte)"
                )
            failure = _fetch_from(url, part, card, on_progress)
            if failure is None:
                return _give_name(part, data_folder(card) / card.download.file)
            problems.append(failure)
            if say:
                say(f"given up: {failure}")
    finally:
        part.unlink(missing_ok=True)
    raise _no_data(card, f"cannot download {card.download.file}", problems)


def install(card: Card, path: Path) -> Path:
    """Copy a zip, or the one in a folder, into ``$CLUE_HOME/data/<task>`` and return its new path.

    Raises:
        DataError: no such path, not a zip, damaged, or not this task's files. Partial data is accepted:
            ``clue data check`` reports what is missing.
        RefusedFileError: a malicious zip.
        StorageError: the folder cannot be written.
    """
    archive = _zip_at(card, path)
    require_some_file(_opened(archive), card)
    verify_archive(archive)
    download = card.download or Download(file=archive.name, urls=[])
    part = _part_file(card, download)
    try:
        shutil.copyfile(archive, part)
        return _give_name(part, data_folder(card) / download.file)
    except OSError as error:
        raise _cannot_write(data_folder(card), error) from None
    finally:
        part.unlink(missing_ok=True)


def hash_warning(card: Card, archive: Path | None) -> str | None:
    """Return the warning for a zip whose hash the card does not list, or None."""
    if archive is None or card.download is None or not card.download.hashes:
        return None
    if has_known_hash(archive, card.download.hashes):
        return None
    return f"the hash of {archive.name} is not in the card (the zips were replaced in place over the years)"


def has_known_hash(path: Path, hashes: Sequence[str]) -> bool:
    """Return whether the file has one of ``hashes``, given as ``md5:...`` or ``sha256:...``."""
    raw = read_regular(path)
    return any(hashlib.new(known.split(":")[0], raw).hexdigest() == known.split(":")[1] for known in hashes)


def _zip_at(card: Card, path: Path) -> Path:
    """Return the zip at ``path``: the file itself, or the official one in a folder."""
    if path.is_dir():
        inside = path / card.download.file if card.download else path
        if inside.is_file():
            return inside
        raise DataError(
            "this is a folder of files, not a zip",
            where=str(path),
            next_step=(
                f"use it as it is: clue train --data {path}, or copy its files into {data_folder(card)}"
            ),
        )
    if not path.exists():
        raise DataError(
            "no such file or folder", where=str(path), next_step="give the official zip with --from"
        )
    return path


def _opened(archive: Path) -> ZipSource:
    """Return the source of a zip's files; raises as ``open_archive``."""
    return ZipSource(str(archive), archive, open_archive(archive))


def _fetch_from(url: str, part: Path, card: Card, on_progress: OnProgress | None) -> Problem | None:
    """Fill ``part`` from one mirror with verified data and return None, or return the problem."""
    import requests

    if not answers(url):
        return Problem(f"no connection within {mirror.CONNECT_SECONDS:g} seconds", where=url)
    problem = Problem("not tried", where=url)
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(RETRY_SECONDS)
        try:
            transfer(url, part, on_progress)
            _verify(card, part)
            return None
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            problem = Problem("the server refused", where=url, received=f"status {status}")
            if status < 500:
                return problem
        except (requests.ConnectTimeout, requests.exceptions.InvalidURL, requests.exceptions.MissingSchema):
            return Problem("no connection", where=url)
        except requests.RequestException as error:
            problem = Problem(transfer_fault(error), where=url)
            if problem.what != BROKEN_OFF:
                return problem
        except ClueError as error:
            problem = Problem(error.headline.what, where=url, received=error.headline.received)
        except OSError as error:
            raise _cannot_write(part.parent, error) from None
    return problem


def _verify(card: Card, path: Path) -> None:
    """Raise unless the zip is whole and has a known hash, or else the official members and counts."""
    verify_archive(path)
    if card.download and has_known_hash(path, card.download.hashes):
        return
    source = _opened(path)
    require_some_file(source, card)
    for name, split in card.splits.items():
        file = split_file(source, split)
        if file is None:
            raise DataError(
                f"unknown hash, and the zip has no {split.file}", received=", ".join(source.names())
            )
        lines = count_lines(source, file)
        if split.records and lines not in split.records:
            raise DataError(
                f"unknown hash, and {name} has the wrong number of records", received=f"{lines:,}"
            )


def count_lines(source: DataSource, file: str) -> int:
    """Return the number of non-blank lines of the file."""
    return sum(1 for line in source.read(file).split(b"\n") if line.strip())


def _part_file(card: Card, download: Download) -> Path:
    """Return the name of an unverified file, in the folder made for it; old leftovers are removed."""
    folder = data_folder(card)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob("*.part"):
            if time.time() - stale.stat().st_mtime > STALE_PART_SECONDS:
                stale.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from None
    return folder / f"{download.file}.{os.getpid()}.part"


def _give_name(part: Path, path: Path) -> Path:
    """Rename the verified file into place."""
    try:
        part.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from None
    return path


def _cannot_write(path: Path, error: OSError) -> StorageError:
    """Return the error for a folder that cannot be written."""
    return StorageError(
        "the folder cannot be written",
        where=str(path),
        received=error.strerror or str(error),
        next_step="set CLUE_HOME to a writable folder",
    )


def _no_data(card: Card, why: str, problems: Sequence[Problem] = ()) -> DataError:
    """Return the error that lists every way to provide data."""
    get = f", or download with a connection: clue data get {card.argument}" if card.download else ""
    sample = "; --data sample uses the records that ship with the card" if card.sample else ""
    return DataError(
        f"no data for {card.name}: {why}",
        problems=problems,
        next_step=(
            f"put the files{' or the official zip' if card.download else ''} into {data_folder(card)}, "
            f"or name them with --data PATH (of clue data: --from PATH){get}{sample}"
        ),
    )
