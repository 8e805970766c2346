from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from clue_runner.errors import BusyError, StorageError, UsageError
from clue_runner.files.lock import FolderLock

HOLD = (
    "import sys, time, pathlib\n"
    "from clue_runner.files.lock import FolderLock\n"
    "FolderLock(pathlib.Path(sys.argv[1])).acquire()\n"
    "print('held', flush=True)\n"
    "time.sleep(60)\n"
)


def test_the_second_is_told_who_holds_it(tmp_path: Path) -> None:
    with FolderLock(tmp_path):
        holder = json.loads((tmp_path / "lock").read_text(encoding="utf-8"))
        assert holder["pid"] == os.getpid()
        with pytest.raises(BusyError, match=f"process {os.getpid()} on {holder['host']}") as caught:
            FolderLock(tmp_path).acquire()
        assert caught.value.exit_code == 9
    assert not (tmp_path / "lock").exists()
    FolderLock(tmp_path).acquire().release()


def test_a_killed_holder_frees_it_at_once(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(BusyError, match=str(process.pid)):
        FolderLock(tmp_path).acquire()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with FolderLock(tmp_path):
        assert json.loads((tmp_path / "lock").read_text(encoding="utf-8"))["pid"] == os.getpid()


def test_a_holder_on_another_host_is_named(tmp_path: Path) -> None:
    """The kernel of a shared disk says that the lock is held; only the file says by whom."""
    content = '{"pid": 7, "host": "node-b", "started": "2026-01-01T00:00:00+00:00"}\n'
    (tmp_path / "lock").write_text(content, encoding="utf-8")
    with (tmp_path / "lock").open("rb") as elsewhere:
        fcntl.flock(elsewhere, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match="process 7 on node-b, since 2026-01-01T00:00:00") as caught:
            FolderLock(tmp_path).acquire()
        assert caught.value.exit_code == 9
    FolderLock(tmp_path).acquire().release()  # it let go, or its host died: the disk knows, no clock does


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_a_disk_that_keeps_no_locks_is_said_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StorageError, match=re.escape(os.strerror(number))) as caught:
        FolderLock(tmp_path).acquire()
    assert str(tmp_path / "lock") in str(caught.value)


def test_a_copied_folder_carries_no_lock(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with FolderLock(tmp_path / "a"):
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        FolderLock(tmp_path / "b").acquire().release()


def test_exactly_one_of_many_proceeds(tmp_path: Path) -> None:
    for _ in range(20):
        won: list[FolderLock] = []
        barrier = threading.Barrier(8)

        def contend(barrier: threading.Barrier = barrier, won: list[FolderLock] = won) -> None:
            barrier.wait()
            try:
                won.append(FolderLock(tmp_path).acquire())
            except BusyError:
                return

        threads = [threading.Thread(target=contend) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        won[0].release()


def test_a_file_of_the_users_that_is_called_lock_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("my notes\n", encoding="utf-8")
    for _ in range(2):
        with pytest.raises(UsageError, match="called lock"):
            FolderLock(tmp_path).acquire()
    assert (tmp_path / "lock").read_text(encoding="utf-8") == "my notes\n"


@pytest.mark.parametrize("left", ["", '{"p', '{"pid": 1, "ho', '{"pid": 1, "host": "a", "started": "b"}\n'])
def test_what_a_killed_holder_left_is_taken(tmp_path: Path, left: str) -> None:
    (tmp_path / "lock").write_text(left, encoding="utf-8")
    FolderLock(tmp_path).acquire().release()
    assert not (tmp_path / "lock").exists()


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("five years", encoding="utf-8")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lock").symlink_to(tmp_path / "thesis.tex")
    with pytest.raises(StorageError, match="lock"):
        FolderLock(tmp_path / "run").acquire()
    assert (tmp_path / "thesis.tex").read_text(encoding="utf-8") == "five years"
