"""``metrics.json``: what schema 2 holds, schema 1 for ever, and every way of being damaged."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from clue_runner.config.schema import Run
from clue_runner.errors import CheckpointError, DataError, NotFiniteError, StorageError
from clue_runner.runs.identity import Identity
from clue_runner.runs.measure import padding_share, seconds_spent
from clue_runner.runs.progress import Progress
from clue_runner.runs.results import RunResult, failed_result, read_result, run_fields, write_result

MakeResult = Callable[..., RunResult]
# The contract of metrics.json, schema 2: readers of old files rely on every name.
FIELDS = {
    "schema", "ok", "task", "card_version", "model", "checkpoint", "identity", "init", "seed", "batch_size",
    "split", "metric", "score", "scores", "confidence_interval", "chance", "examples", "data_complete",
    "notes", "backend", "device", "devices", "precision", "epochs", "steps", "best_step", "best_epoch",
    "ended", "history", "seconds", "examples_per_second", "padding_share", "peak_memory_bytes", "data_sha256",
    "config_sha256", "commit", "code", "versions", "submission", "error",
}  # fmt: skip
# A finished run as version 0.1.0 wrote it.
SCHEMA_1: dict[str, Any] = {
    "schema": 1, "ok": True, "task": "afqmc", "card_version": "1.0", "model": "tiny", "init": "random",
    "seed": 42, "batch_size": 32, "split": "dev", "metric": "accuracy", "score": 61.5,
    "scores": {"accuracy": 61.5, "macro_f1": 60.0}, "confidence_interval": [50.1, 71.9], "chance": 51.0,
    "examples": 64, "data_complete": False, "backend": "tensorflow", "device": "CPU, 2 cores (tensorflow)",
    "precision": "float32", "epochs": 1, "steps": 6, "best_step": 6, "best_epoch": 1, "ended": "epochs",
    "history": [{"step": 6, "epoch": 1, "score": 61.5, "scores": {"accuracy": 61.5}, "loss": 0.69}],
    "seconds": {"total": 3.2}, "examples_per_second": {"train": 71.0, "predict": None}, "padding_share": 0.1,
    "peak_memory_bytes": 1, "data_sha256": {"train": "a"}, "config_sha256": "c", "commit": None,
    "versions": {"keras": "3.15.1"},
    "submission": {
        "files": [{"file": "submission/a.json", "split": "test", "lines": 64, "ok": True, "problems": []}],
        "ok": True, "zip": "submit-sample.zip", "note": "not for upload",
    },
}  # fmt: skip


def put(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_result_comes_back_equal_with_every_field(tmp_path: Path, make_result: MakeResult) -> None:
    path, result = tmp_path / "metrics.json", make_result(score=100 / 3, notes={"dev": {"cut": 3}})
    write_result(path, result)
    assert read_result(path) == result
    content = json.loads(path.read_text(encoding="utf-8"))
    assert set(content) == FIELDS
    assert content["schema"] == 2
    assert content["score"] == 100 / 3


def test_the_pretrained_weights_are_named(make_run: Callable[..., Run]) -> None:
    known: dict[str, Any] = {
        "task": "afqmc", "card_version": "1", "metric": "accuracy", "data_sha256": {}, "versions": {},
        "commit": None,
    }  # fmt: skip
    model = make_run().model.model_copy(update={"init": "checkpoint", "checkpoint": "/models/bert"})
    run = make_run().model_copy(update={"model": model})
    fields = run_fields(run, identity=Identity(weights="f00"), **known)
    assert fields["checkpoint"] == {"path": "/models/bert", "sha256": "f00"}
    assert fields["identity"]["weights"] == "f00"
    assert run_fields(make_run(), identity=Identity(weights="random"), **known)["checkpoint"] is None


def test_a_failure_has_no_score(tmp_path: Path, make_result: MakeResult) -> None:
    fields = {
        name: value
        for name, value in make_result().to_json().items()
        if name in {"task", "card_version", "model", "checkpoint", "init", "seed", "batch_size", "split"}
        or name in {"metric", "backend", "data_sha256", "identity", "config_sha256", "commit", "versions"}
    }
    failed = failed_result(fields, NotFiniteError("step 3"))
    write_result(tmp_path / "metrics.json", failed)
    content = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert set(content) == FIELDS
    assert (content["ok"], content["score"], content["error"]["exit_code"]) == (False, None, 6)
    assert failed_result(fields, KeyError("x")).error.exit_code == 1  # type: ignore[union-attr]
    assert failed_result(fields, DataError("x")).error.exit_code == 3  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="failed"):
        _ = failed.scored


@pytest.mark.parametrize("missing", ["score", "confidence_interval", "chance", "examples"])
def test_ok_means_that_there_is_a_score(make_result: MakeResult, missing: str) -> None:
    with pytest.raises(ValidationError, match="ok is true"):
        make_result(**{missing: None})


def test_no_file_is_no_result(tmp_path: Path) -> None:
    assert read_result(tmp_path / "metrics.json") is None


def test_schema_1_is_read(tmp_path: Path) -> None:
    result = read_result(put(tmp_path / "metrics.json", SCHEMA_1))
    assert result is not None
    assert result.scored == (61.5, (50.1, 71.9), 51.0, 64)
    assert (result.checkpoint, result.notes, result.init, result.batch_size) == (None, {}, "random", 32)
    assert result.submission is not None and result.submission.files[0].lines == 64
    first = {name: value for name, value in SCHEMA_1.items() if name not in {"init", "batch_size", "ended"}}
    older = read_result(put(tmp_path / "metrics.json", first))
    assert older is not None and (older.init, older.ended) == (None, None)


DAMAGES: dict[str, Any] = {
    "cut off": b'{"schema": 2, "ok": true',
    "empty": b"",
    "not UTF-8": b'{"task": "\xff"}',
    "nested without end": b'{"a": ' * 200_000,
    "a list": b"[]",
    "null": b"null",
    "thousands of digits": b'{"schema": 2, "seed": ' + b"9" * 5000 + b"}",
    "of a later version": {**SCHEMA_1, "schema": 3},
    "schema of a wrong type": {**SCHEMA_1, "schema": True},
    "schema as a list": {**SCHEMA_1, "schema": [1]},
    "no schema": {"ok": True},
    "a field missing": {name: value for name, value in SCHEMA_1.items() if name != "task"},
    "text for a number": {**SCHEMA_1, "score": "61.5"},
    "a list for a mapping": {**SCHEMA_1, "scores": []},
    "ok as text": {**SCHEMA_1, "ok": "yes"},
    "ok without a score": {**SCHEMA_1, "score": None},
    "a score without ok": {**SCHEMA_1, "ok": False},
    "history of numbers": {**SCHEMA_1, "history": [1]},
    "an interval of three": {**SCHEMA_1, "confidence_interval": [1, 2, 3]},
    "infinite": b'{"schema": 1, "ok": true, "score": 1e999}',
    "submission of text": {**SCHEMA_1, "submission": "yes"},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_result_is_named(tmp_path: Path, damage: str) -> None:
    path, content = tmp_path / "metrics.json", DAMAGES[damage]
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(CheckpointError) as caught:
        read_result(path)
    assert caught.value.exit_code == 4
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value.headline)


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "link to itself"])
def test_something_else_than_a_file_is_damage_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "metrics.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path)
    with pytest.raises(CheckpointError, match=r"metrics\.json"):
        read_result(path)


def test_unreadable_is_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "metrics.json", SCHEMA_1)

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageError, match="nothing was changed") as caught:
        read_result(path)
    assert caught.value.exit_code == 8


def test_seconds_are_never_negative_and_always_all_there() -> None:
    progress = Progress(seconds={"train": 2.5, "evaluate": -0.001})
    assert seconds_spent(progress, 1.0, 4.0) == {
        "prepare": 1.0,
        "compile": 0.0,
        "train": 2.5,
        "evaluate": 0.0,
        "predict": 0.0,
        "save": 0.0,
        "write": 0.0,
        "total": 4.0,
    }


def test_padding_share() -> None:
    assert padding_share(Progress(real_tokens=75, computed_tokens=100)) == 0.25
    assert padding_share(Progress()) is None
