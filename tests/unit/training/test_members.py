"""A run to ask: its best state whole, and the card that it was trained with."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clue_runner.adapters.sections import SECTIONS, load_run
from clue_runner.data.cards import find_card
from clue_runner.errors import CheckpointError, DataError
from clue_runner.runs.folder import RunFolder, write_settings
from clue_runner.runs.identity import Identity, card_content
from clue_runner.runs.progress import Progress
from clue_runner.runs.snapshots import point, write_snapshot
from clue_runner.runs.states import SavedState
from clue_runner.training.members import open_member

SHIPPED = Path(__file__).parents[3] / "tasks" / "afqmc"


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A card of the user's own."""
    return Path(shutil.copytree(SHIPPED, tmp_path / "mytask"))


@pytest.fixture
def folder(tmp_path: Path, card: Path, tensors: Any) -> RunFolder:
    """A run of that card, unfinished, with a best state."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    write_settings(folder, load_run(task=str(card), model="test"), SECTIONS)
    content = card_content(find_card(str(card)).model_dump(mode="json"))
    state = SavedState(progress=Progress(step=3, best_step=3), identity=Identity(card=content))
    point(folder.checkpoints, "best", write_snapshot(folder.checkpoints, tensors, state))
    return folder


def edit(card: Path, old: str, new: str) -> None:
    path = card / "task.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_best_state_of_an_unfinished_run_is_used_and_said(
    folder: RunFolder, fake: SimpleNamespace
) -> None:
    console = fake.Console()
    assert open_member(folder.path, console).best.step == 3
    assert "has not finished" in console.warned[0]


def test_labels_swapped_in_the_card_are_refused(folder: RunFolder, card: Path, fake: SimpleNamespace) -> None:
    """Without that every answer would be flipped, and the file accepted."""
    edit(card, 'name: "0"', 'name: "?"')
    edit(card, 'name: "1"', 'name: "0"')
    edit(card, 'name: "?"', 'name: "1"')
    with pytest.raises(CheckpointError) as caught:
        open_member(folder.path, fake.Console())
    assert caught.value.exit_code == 4
    assert "the labels were 0, 1; they are now 1, 0" in str(caught.value)


def test_another_version_changes_no_answer(folder: RunFolder, card: Path, fake: SimpleNamespace) -> None:
    edit(card, 'version: "1', 'version: "9')
    assert open_member(folder.path, fake.Console()).best.step == 3


@pytest.mark.parametrize("name", ["absent", "n" * 300, "a\0b"])
def test_a_run_that_is_not_there(tmp_path: Path, fake: SimpleNamespace, name: str) -> None:
    with pytest.raises(DataError) as caught:
        open_member(tmp_path / name, fake.Console())
    assert caught.value.exit_code == 3
