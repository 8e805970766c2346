from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
        [sys.executable, "-c", PROGRAM, str(log)], capture_output=True, text=True, check=True
    ).stderr


def test_chatter_goes_to_the_log_and_our_lines_to_the_user(tmp_path: Path) -> None:
    assert run(tmp_path / "logs" / "start.log") == SAID
    assert (tmp_path / "logs" / "start.log").read_text(encoding="utf-8") == "chatter of a library\n"


def test_a_log_that_cannot_be_kept_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert run(tmp_path / "file" / "start.log") == SAID
