"""What surrounds a run and must not change it: names of folders, clocks, time zones, a net that is not there.

One run in ordinary surroundings, one in the strangest that are allowed: the same bytes; and the smallest run.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from clue_runner.cli.main import run as run_clue

Clue = Callable[..., Any]
BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
SMALL = ("--task", "afqmc", "--model", "test", "--backend", BACKEND, "--set", "data.max_length=8")
SMALL += ("--set", "data.limit_train=48", "--set", "data.limit_dev=16", "--set", "train.max_steps=2")
SMALL += ("--set", "train.precision=float32", "--set", "train.save_steps=1")
SAMPLE = Path(__file__).parents[2] / "tasks" / "afqmc" / "sample"
COMPOSED, APART = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
SECRETS = ("HF_TOKEN", "TF_API_TOKEN", "JAX_SECRET", "AWS_SECRET_KEY")


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    place = tmp_path_factory.mktemp("ordinary")
    os.environ["CLUE_HOME"] = str(place / "home")
    assert run_clue(["train", "--data", str(SAMPLE), *SMALL, "--output", str(place / "run")]) == 0
    return place / "run"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Another time zone, a clock that runs backwards, secrets in the environment, no net; a folder."""
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv("LC_ALL", "tr_TR.UTF-8")
    for name in SECRETS:
        monkeypatch.setenv(name, f"do-not-tell-{name}")
    time.tzset()
    now, passed = datetime(2026, 3, 29, 2, 30, tzinfo=UTC), count()

    def backwards() -> str:
        return (now - timedelta(minutes=next(passed))).isoformat(timespec="milliseconds")

    monkeypatch.setattr("clue_runner.runs.events.utc_now", backwards)
    monkeypatch.setattr(time, "time", lambda: 1e9 - 60 * next(passed))

    def no_net(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, no_net)
    monkeypatch.setattr(socket, "getaddrinfo", no_net)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    monkeypatch.undo()
    time.tzset()


def results(folder: Path) -> dict[str, bytes]:
    """Return what must be equal: weights, optimizer, answers, submission."""
    kept = [*folder.glob("checkpoints/*/*.safetensors"), *folder.glob("predictions/*")]
    found = {path.relative_to(folder).as_posix(): path for path in [*kept, *folder.glob("submission/*")]}
    return {name: path.read_bytes() for name, path in sorted(found.items())}


def test_strange_surroundings_change_no_byte(clue: Clue, ordinary: Path, elsewhere: Path) -> None:
    name = f"-{APART} {COMPOSED}[*?]😀\n数据"
    data = elsewhere / f"{APART}-daten"
    shutil.copytree(SAMPLE, data)
    shutil.copytree(SAMPLE, elsewhere / f"{COMPOSED}-daten")
    for path in (elsewhere / f"{COMPOSED}-daten").iterdir():
        path.write_text("not this one", encoding="utf-8")
    outcome = clue("train", "--data", f"{APART}-daten", *SMALL, "--output", name)
    assert outcome.exit_code == 0, outcome.stderr
    folder = elsewhere / name
    assert results(folder) == results(ordinary) and len(results(folder)) == 7
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert all(seconds >= 0 for seconds in metrics["seconds"].values())
    again = clue("train", "--data", f"{APART}-daten", *SMALL, "--output", name)
    assert again.exit_code == 0 and "already finished" in again.stdout

    files = [path for path in elsewhere.rglob("*") if path.is_file()]
    written = b"".join(path.read_bytes() for path in files) + (outcome.stdout + outcome.stderr).encode()
    assert b"do-not-tell" not in written


@pytest.mark.parametrize("rows", [1, 3])
def test_fewer_rows_than_a_batch_are_trained_on(clue: Clue, tmp_path: Path, rows: int) -> None:
    few = [word.replace("limit_train=48", f"limit_train={rows}") for word in SMALL]
    few = [word.replace("limit_dev=16", "limit_dev=1") for word in few]
    outcome = clue("train", "--data", "sample", *few, "--output", tmp_path / "run")
    assert outcome.exit_code == 0, outcome.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["examples"] == 1 and metrics["score"] in {0.0, 100.0} and metrics["steps"] == 2
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").open(encoding="utf-8")]
    losses = [one["loss"] for one in events if one["event"] == "step"]
    assert losses and all(0 < loss < 10 for loss in losses)
