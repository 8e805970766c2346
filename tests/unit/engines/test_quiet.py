"""A backend's chatter goes to the log, our lines to the user, and neither can stop or harm anything."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = """
import logging, os, pathlib, sys
from clue_runner.engines.quiet import chatter_to
with chatter_to(pathlib.Path(sys.argv[1])):
    os.write(2, b"chatter of a library\\n")
    print("a line of ours", file=sys.stderr)
    logging.getLogger().addHandler(logging.StreamHandler())  # as TensorFlow's, made while it is imported
os.write(2, b"after\\n")
print("and ours", file=sys.stderr)
logging.warning("a library's warning")
"""
SAID = "a line of ours\nafter\nand ours\na library's warning\n"


def run(log: Path) -> str:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(log)], capture_output=True, text=True, check=True, timeout=60
    ).stderr


def test_chatter_goes_to_the_log_and_our_lines_to_the_user(tmp_path: Path) -> None:
    assert run(tmp_path / "logs" / "start.log") == SAID
    assert (tmp_path / "logs" / "start.log").read_text(encoding="utf-8") == "chatter of a library\n"


def test_a_log_that_cannot_be_kept_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert run(tmp_path / "file" / "start.log") == SAID


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_the_log_does_not_write_through_links(tmp_path: Path, link: Callable[[Path, Path], None]) -> None:
    precious, log = tmp_path / "precious.txt", tmp_path / "start.log"
    precious.write_text("a thesis", encoding="utf-8")
    link(precious, log)
    assert run(log) == SAID
    assert precious.read_text(encoding="utf-8") == "a thesis"
    assert log.read_text(encoding="utf-8") == "chatter of a library\n"


def test_a_pipe_in_the_place_of_the_log_does_not_hang(tmp_path: Path) -> None:
    log = tmp_path / "start.log"
    os.mkfifo(log)
    assert run(log) == SAID
    assert log.read_text(encoding="utf-8") == "chatter of a library\n"


CLOSED = """
import os, pathlib, sys
from clue_runner.engines.quiet import chatter_to
with chatter_to(pathlib.Path(sys.argv[1])):
    os.write(2, b"chatter of a library\\n")
opened = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
for descriptor in (1, 2):
    os.write(descriptor, b"printed by a library\\n")
os.write(opened, b"a saved state\\n")
"""


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_streams_that_were_closed_at_the_start_stop_nothing(tmp_path: Path, closed: str) -> None:
    log, state = tmp_path / "start.log", tmp_path / "state"
    command = f'exec "$0" -c "$1" "$2" "$3" {closed}'
    subprocess.run(
        ["sh", "-c", command, sys.executable, CLOSED, log, state], check=True, capture_output=True, timeout=60
    )
    assert log.read_text(encoding="utf-8") == "chatter of a library\n"
    assert state.read_text(encoding="utf-8") == "a saved state\n"


GONE = """
import os, pathlib, sys
from clue_runner.engines.quiet import chatter_to
reader, writer = os.pipe()
os.dup2(writer, 2)
os.close(reader)
sys.stderr = open(2, "w", encoding="utf-8", closefd=False)
sys.stderr.write("not sent yet")
with chatter_to(pathlib.Path(sys.argv[1])):
    os.write(2, b"chatter of a library\\n")
os._exit(0)
"""


def test_a_reader_of_standard_error_that_has_gone_stops_nothing(tmp_path: Path) -> None:
    log = tmp_path / "start.log"
    subprocess.run([sys.executable, "-c", GONE, log], check=True, timeout=60)
    assert log.read_text(encoding="utf-8") == "chatter of a library\n"
