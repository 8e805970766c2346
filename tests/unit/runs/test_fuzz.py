"""Files of a run, mutated at random: the user's error or the content, never anything else."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clue_runner.adapters.sections import SECTIONS
from clue_runner.config.schema import Run
from clue_runner.errors import ClueError
from clue_runner.runs.events import EventLog, Result, Save, Start, remembered_data
from clue_runner.runs.find import finished_runs
from clue_runner.runs.folder import RunFolder, write_settings
from clue_runner.runs.opening import saved_identity
from clue_runner.runs.results import write_result
from clue_runner.runs.resume import best_snapshot, newest_state
from clue_runner.runs.snapshots import point, write_manifest, write_snapshot

ROUNDS = 150
ODD: list[Any] = [None, True, -1, 0, 2**70, 1e308, "", "x", "\udcff", [], [[]], {}, {"a": {"b": []}}]
FILES = ["metrics.json", "events.jsonl", "run.yaml", "state.json", "manifest.json", "best", "last"]


def replaced(content: Any, chance: random.Random) -> Any:
    """Return JSON data with one value, key or item replaced, dropped or doubled."""
    if isinstance(content, dict) and content and chance.random() < 0.85:
        key = chance.choice(list(content))
        kind = chance.randrange(4)
        if kind == 0:
            return {name: value for name, value in content.items() if name != key}
        if kind == 1:
            return {**content, str(chance.choice(ODD)): chance.choice(ODD)}
        return {**content, key: replaced(content[key], chance)}
    if isinstance(content, list) and content and chance.random() < 0.85:
        at = chance.randrange(len(content))
        return [*content[:at], replaced(content[at], chance), *content[at:]]
    return chance.choice(ODD)


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """Return the bytes of a file changed: as JSON where it is JSON, else cut, flipped or doubled."""
    lines = raw.split(b"\n")
    at = chance.randrange(len(lines))
    if chance.random() < 0.7:
        for start, end in ((0, len(lines)), (at, at + 1)):
            try:
                content = json.loads(b"\n".join(lines[start:end]))
            except ValueError:
                continue
            text = json.dumps(replaced(content, chance)).encode()
            return b"\n".join([*lines[:start], text, *lines[end:]])
    place, kind = chance.randrange(len(raw) + 1), chance.randrange(4)
    noise = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 9)))
    return [raw[:place], raw[:place] + noise + raw[place:], raw[place:], raw[:place] + noise][kind]


@pytest.mark.faults
@pytest.mark.parametrize("file", FILES)
def test_mutated_files_end_in_an_error_of_the_users_or_in_content(
    tmp_path: Path,
    file: str,
    make_run: Callable[..., Run],
    make_result: Callable[..., Any],
    make_state: Callable[..., Any],
    tensors: Any,
    fake: SimpleNamespace,
) -> None:
    folder = RunFolder(tmp_path / "run")
    state = write_snapshot(folder.checkpoints, tensors, make_state(3, best_step=3))
    point(folder.checkpoints, "best", state)
    point(folder.checkpoints, "last", state)
    write_settings(folder, make_run(), SECTIONS)
    write_result(folder.metrics, make_result(best_step=3))
    with EventLog(folder.events, fake.Console()) as log:
        log.write(Start(step=0, data="sample"))
        log.write(Save(step=3, folder="checkpoints/step-3", best=True))
        log.write(Result.model_validate(make_result().to_json()))
    places = (folder.path, folder.checkpoints, state)
    path = next(place / file for place in places if (place / file).exists())
    whole, chance, refused = path.read_bytes(), random.Random(file), 0
    for _ in range(ROUNDS):
        path.write_bytes(mutated(whole, chance))
        if file == "state.json":
            write_manifest(state)
        for read in (
            folder.result,
            lambda: folder.run(SECTIONS),
            folder.best_state,
            lambda: remembered_data(folder.path),
            lambda: finished_runs(tmp_path),
            lambda: saved_identity(folder),
            lambda: best_snapshot(folder),
            lambda: newest_state(folder, lambda text: None),
        ):
            try:
                read()
            except ClueError as error:
                refused += 1
                assert error.exit_code in {3, 4}
        if not state.exists():
            (folder.checkpoints / "corrupt-step-3").rename(state)
    assert refused > ROUNDS / 10 or file in {"events.jsonl", "last"}
