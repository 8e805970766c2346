"""Whole small files: what they cost to read, and where reading ends."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_runner.data.archives import unpack_gzip
from clue_runner.files.reading import CHUNK, DamagedFileError, read_file

CONTENT = os.urandom(3 * CHUNK + 5)


def peak(call: Callable[[], Any]) -> int:
    """The most memory that a call holds at once."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_generous_limit_costs_no_memory(tmp_path: Path) -> None:
    """A run that halves its micro-batches because memory ended reads its events first."""
    (tmp_path / "f").write_bytes(CONTENT)
    packed = gzip.compress(CONTENT)
    assert peak(lambda: read_file(tmp_path / "f", 1024**3)) < 5 * len(CONTENT)
    assert peak(lambda: unpack_gzip(packed, "f.gz")) < 8 * len(CONTENT)


def test_the_limit_is_a_size_that_a_file_may_have(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(CONTENT)
    assert read_file(tmp_path / "f", len(CONTENT)) == CONTENT
    with pytest.raises(DamagedFileError, match="has more than 3,145,732 bytes"):
        read_file(tmp_path / "f", len(CONTENT) - 1)
    (tmp_path / "f").write_bytes(b"")
    assert read_file(tmp_path / "f", 0) == b""
