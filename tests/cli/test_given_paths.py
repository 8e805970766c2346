"""A message about a file names the path that the user gave, and never its absolute form."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Clue = Callable[..., Any]

AFQMC = ("train", "--task", "afqmc", "--dry-run", "--data", "sample")
WEBQA = ("train", "--task", "webqa", "--dry-run", "--data", "sample")
TEST = (*AFQMC, "--model", "test", "--set")
CONFIG = {"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
CONFIG |= {"intermediate_size": 16, "vocab_size": 5, "max_position_embeddings": 64, "type_vocab_size": 2}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a current folder with broken files of every kind in a folder of it."""
    folder = tmp_path / "材料 (1)"
    for name in ("empty", "config only", "run", "data"):
        (folder / name).mkdir(parents=True)
    (folder / "config only" / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    (folder / "run" / "run.yaml").write_text("model: [\n", encoding="utf-8")
    (folder / "data" / "train.json").write_text("{}\n", encoding="utf-8")
    (folder / "data" / "dev.json").write_text("{}\n", encoding="utf-8")
    (folder / "recipe.yaml").write_text("train:\n  epochz: 3\n", encoding="utf-8")
    (folder / "suite.yaml").write_text("models: [test]\ntaskz: [afqmc]\n", encoding="utf-8")
    (folder / "broken.txt").write_bytes(b"\xff\xfe\xff")
    monkeypatch.chdir(tmp_path)
    return tmp_path


CASES: list[tuple[str, tuple[str, ...], str]] = [
    ("--model", (*AFQMC, "--model", "材料 (1)/empty"), "材料 (1)/empty"),
    ("--model/", (*AFQMC, "--model", "材料 (1)/empty/"), "材料 (1)/empty"),
    ("--model ./", (*AFQMC, "--model", "./材料 (1)/config only"), "材料 (1)/config only"),
    ("--model ..", (*AFQMC, "--model", "材料 (1)/../材料 (1)/empty"), "材料 (1)/../材料 (1)/empty"),
    ("model.checkpoint", (*AFQMC, "--set", "model.checkpoint=材料 (1)/empty"), "材料 (1)/empty"),
    ("model.vocab", (*TEST, "model.vocab=材料 (1)/broken.txt"), "材料 (1)/broken.txt"),
    ("model.vocab, none", (*TEST, "model.vocab=材料 (1)/none.txt"), "材料 (1)/none.txt"),
    ("model.keep_tokens", (*TEST, "model.keep_tokens=材料 (1)/broken.txt"), "材料 (1)/broken.txt"),
    ("model.compound_tokens", (*TEST, "model.compound_tokens=材料 (1)/none.txt"), "材料 (1)/none.txt"),
    ("task.word_vectors", (*WEBQA, "--set", "task.word_vectors=材料 (1)/broken.txt"), "材料 (1)/broken.txt"),
    ("--data", ("train", "--task", "afqmc", "--data", "材料 (1)/none"), "材料 (1)/none"),
    (
        "--data, wrong record",
        ("train", "--task", "afqmc", "--data", "材料 (1)/data"),
        "材料 (1)/data/train.json",
    ),
    ("--config", (*AFQMC, "--config", "材料 (1)/recipe.yaml"), "材料 (1)/recipe.yaml"),
    ("--output", (*TEST, "seed=1", "--output", "材料 (1)"), "材料 (1)"),
    ("--task", ("train", "--task", "材料 (1)/empty"), "材料 (1)/empty"),
    ("predict --run", ("predict", "--run", "材料 (1)/run", "--text", "一"), "材料 (1)/run"),
    (
        "evaluate",
        ("evaluate", "--task", "afqmc", "--predictions", "材料 (1)/none.json"),
        "材料 (1)/none.json",
    ),
    ("convert", ("convert", "材料 (1)/config only", "out"), "材料 (1)/config only"),
    ("generate", ("generate", "--model", "材料 (1)/empty", "--prompt", "一"), "材料 (1)/empty"),
    ("pretrain --texts", ("pretrain", "--texts", "材料 (1)/none.txt"), "材料 (1)/none.txt"),
    ("bench", ("bench", "plan", "材料 (1)/suite.yaml"), "材料 (1)/suite.yaml"),
    ("memory", ("memory", "--task", "afqmc", "--model", "材料 (1)/config only"), "材料 (1)/config only"),
    ("config show", ("config", "show", "--model", "材料 (1)/empty"), "材料 (1)/empty"),
]


@pytest.mark.parametrize(("arguments", "path"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_message_names_the_path_as_it_was_given(
    clue: Clue, here: Path, arguments: tuple[str, ...], path: str
) -> None:
    outcome = clue(*arguments)
    assert outcome.exit_code in {2, 3, 4, 5}, outcome.stdout + outcome.stderr
    assert path in outcome.stderr
    assert str(here) not in outcome.stderr


def test_settings_hold_the_absolute_path_and_another_folder_reads_that(
    clue: Clue, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same name in another folder is another file: it is not read, and the message says which was."""
    from clue_runner.config.shipped import as_given, remembered_path

    absolute = remembered_path("材料 (1)/broken.txt")
    assert absolute == here.resolve() / "材料 (1)" / "broken.txt"
    assert as_given(str(absolute)) == Path("材料 (1)/broken.txt")
    monkeypatch.chdir("材料 (1)")
    assert as_given(str(absolute)) == absolute
    outcome = clue("config", "show", "--model", "test", "--set", "model.vocab=broken.txt")
    assert str(absolute) in outcome.stdout


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((*AFQMC, "--model", ""), "--model"),
        (("train", "--task", "afqmc", "--data", "", "--dry-run"), "--data"),
        ((*AFQMC, "--model=test", "--output="), "--output"),
        ((*AFQMC, "--config", ""), "--config"),
        (("predict", "--run", "", "--text", "一"), "--run"),
        (("evaluate", "--task", "afqmc", "--predictions", ""), "--predictions"),
        (("convert", "", "out"), "SRC"),
        (("convert", "材料 (1)/config only", ""), "DST"),
        (("tasks", "new", "own", "--from", ""), "--from"),
        (("bench", "plan", ""), "SUITE"),
    ],
)
def test_an_empty_name_is_refused(clue: Clue, here: Path, arguments: tuple[str, ...], name: str) -> None:
    """As a path it would mean the current folder, as ``--data`` another data set than the one wanted."""
    outcome = clue(*arguments)
    assert outcome.exit_code == 2, outcome.stderr
    assert f"{name} is empty" in outcome.stderr
