"""Settings of rules and techniques: a file in the folder is all that `clue train` needs to have them."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_rules import MOMENTUM_SGD
from test_techniques import ALONG_THE_GRADIENT

from clue_runner.adapters.sections import SECTIONS, load_run
from clue_runner.config.loader import config_hash, dump_run, load_resolved
from clue_runner.engines import rules, techniques
from clue_runner.engines.techniques import make_techniques, technique_names
from clue_runner.engines.techniques.base import Technique
from clue_runner.errors import UsageError
from clue_runner.runs.states import WEIGHTS_FILE

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")

AROUND = """
from pydantic import Field
from clue_runner.config.schema import Section
from clue_runner.engines.techniques.base import Technique

class {name}Settings(Section):
    {file}: int | None = Field(None, description="made up")

class {name}(Technique):
    settings_type = {name}Settings
    changes_loss = {changes}
    calls_network = {calls}
"""


@pytest.fixture
def made_up(add_module: Callable[..., None]) -> None:
    add_module(rules, "momentum_sgd", MOMENTUM_SGD)
    add_module(techniques, "along_the_gradient", ALONG_THE_GRADIENT)


@pytest.mark.usefixtures("made_up")
def test_a_made_up_rule_and_technique_train(clue: Callable[..., Any], tmp_path: Path) -> None:
    """Their settings are taken, written down, part of what a run is, and they change what it learns."""
    command = ["train", "--task", "afqmc", "--data", "sample", "--model", "test", "--json"]
    command += ["--backend", BACKEND]
    sets = [
        "model.num_layers=1",
        "train.max_steps=2",
        "train.batch_size=4",
        "data.max_length=16",
        "train.optimizer=momentum_sgd",
    ]
    states = {}
    for name, more in {
        "plain": [],
        "fast": ["train.momentum=0.5"],
        "moved": ["train.momentum=0.5", "train.along_the_gradient=0.3"],
    }.items():
        arguments = [part for one in [*sets, *more] for part in ("--set", one)]
        outcome = clue(*command, *arguments, "--output", tmp_path / name)
        assert outcome.exit_code == 0, outcome.stderr
        saved = tmp_path / name / "checkpoints" / "step-2" / WEIGHTS_FILE
        result = json.loads(outcome.stdout.strip().split("\n")[-1])
        states[saved.read_bytes()] = result["config_sha256"]
    assert len(states) == len(set(states.values())) == 3
    run = load_resolved(tmp_path / "moved" / "run.yaml", SECTIONS)
    values = run.train.model_dump()
    assert (values["momentum"], values["along_the_gradient"]) == (0.5, 0.3)
    arguments = [part for one in [*sets, "train.momentum=0.25"] for part in ("--set", one)]
    other = clue(*command, *arguments, "--output", tmp_path / "fast")
    assert other.exit_code == 4 and "train.momentum" in other.stderr


@pytest.mark.usefixtures("made_up")
def test_settings_are_explained_and_in_the_schema(clue: Callable[..., Any]) -> None:
    shown = clue("config", "show", "--explain", "--set", "train.optimizer=momentum_sgd").stdout
    assert "momentum: 0.9" in shown and "share of the last step that goes on" in shown
    assert "along_the_gradient: null" in shown and "length of the step" in shown
    described = clue("config", "schema").stdout
    assert "share of the last step that goes on" in described and "length of the step" in described


@pytest.mark.usefixtures("made_up")
def test_mistakes_are_answered_with_what_is_meant() -> None:
    for override, words in (
        ("train.along_the_gradent=1", "did you mean train.along_the_gradient?"),
        ("train.momentun=0.5", "did you mean train.momentum?"),
        ("train.beta_1=0.5", "not a setting of this run, but of the update rule adafactor, adamw"),
        ("train.along_the_gradient=long", "train.along_the_gradient has an invalid value"),
        ("train.momentum=1.5", "from 0 to below 1"),
    ):
        with pytest.raises(UsageError) as refused:
            load_run(task="afqmc", overrides=["train.optimizer=momentum_sgd", override])
        assert words in str(refused.value)
    with pytest.raises(UsageError, match="no update rule called 'momentum_sdg'") as refused:
        load_run(task="afqmc", overrides=["train.optimizer=momentum_sdg"])
    assert "momentum_sgd" in str(refused.value) and "train.optimizer" in str(refused.value)


@pytest.mark.usefixtures("made_up")
def test_a_run_is_written_and_read_back(tmp_path: Path) -> None:
    run = load_run(task="afqmc", overrides=["train.optimizer=momentum_sgd", "train.along_the_gradient=2.0"])
    (tmp_path / "run.yaml").write_text(dump_run(run), encoding="utf-8")
    again = load_resolved(tmp_path / "run.yaml", SECTIONS)
    assert again == run and config_hash(again) == config_hash(run)


def test_a_run_travels_to_another_process() -> None:
    run = load_run(task="afqmc", overrides=["train.beta_2=0.95"])
    assert pickle.loads(pickle.dumps(run)) == run


def test_a_layer_for_other_tasks_is_checked_with_the_rule_that_it_fits(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("tasks:\n  tnews:\n    train: {beta_1: 0.8, epsilon: 1e-8}\n", encoding="utf-8")
    load_run(task="afqmc", configs=[str(recipe)])
    recipe.write_text("tasks:\n  tnews:\n    train: {beta_1: 1.8}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"train.beta_1 has an invalid value"):
        load_run(task="afqmc", configs=[str(recipe)])


@pytest.mark.parametrize("name", technique_names())
def test_a_technique_is_off_by_default(name: str) -> None:
    assert not make_techniques({})
    assert techniques.technique_type(name).settings_type().model_dump()[name] is None


def test_settings_that_are_not_named_as_the_file_are_refused(add_module: Callable[..., None]) -> None:
    add_module(techniques, "stranger", AROUND.format(name="Stranger", file="other", changes=0, calls=0))
    with pytest.raises(RuntimeError, match="settings of stranger"):
        techniques.technique_settings()


def test_the_order_is_fixed(add_module: Callable[..., None]) -> None:
    """Around gradients before inside the loss before what calls the network; then the alphabet."""
    kinds = {"aa": (True, True), "bb": (True, False), "cc": (False, False), "dd": (False, False)}
    for name, (changes, calls) in kinds.items():
        text = AROUND.format(name=name.title(), file=name, changes=changes, calls=calls)
        add_module(techniques, name, text)
    found = make_techniques({"epochs": 3} | dict.fromkeys(kinds, 1))
    assert [type(one).__name__ for one in found] == ["Cc", "Dd", "Bb", "Aa"]
    assert all(isinstance(one, Technique) for one in found)
    add_module(techniques, "ee", AROUND.format(name="Ee", file="ee", changes=True, calls=True))
    with pytest.raises(UsageError, match="aa and ee cannot be combined"):
        make_techniques(dict.fromkeys([*kinds, "ee"], 1))
