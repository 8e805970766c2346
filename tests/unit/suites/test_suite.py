"""A suite's file: what it may say, and every mistake in it with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from clue_runner.commands.bench.request import BenchRequest
from clue_runner.config.yaml_reader import read_yaml
from clue_runner.data.cards import all_cards, find_card
from clue_runner.engines.rules import rule_names
from clue_runner.engines.techniques import technique_names
from clue_runner.errors import ClueError, UsageError
from clue_runner.suites.grid import compared_labels, first_stage, fresh_seeds, pairs, points, second_stage
from clue_runner.suites.reading import examine_suite, read_suite, suite_names
from clue_runner.suites.suite import Suite, SuiteFile

GOOD = """\
title: x
models: [test]
tasks: [afqmc]
seeds: [1]
"""


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", suite_names())
def test_shipped_suites_are_whole(name: str) -> None:
    assert pairs(read_suite(name).suite)


def test_the_suites_that_are_promised_ship() -> None:
    assert {"clue11", "clue10", "cluener", "smoke", "grid", "techniques"} <= {*suite_names()}


def test_the_suite_of_techniques_has_all_that_a_head_of_labels_can_have() -> None:
    """A new technique or update rule gets a line in configs/suites/techniques.yaml."""
    file = read_suite("techniques")
    settings = [item for model in file.suite.models for item in model.settings.items()]
    switched = {key.removeprefix("train.") for key, _ in settings}
    assert {*technique_names()} - {"teaforn"} <= switched  # teaforn.yaml: it is for heads that write
    assert {value for key, value in settings if key == "train.optimizer"} == {*rule_names()}
    assert {"drop_tokens", "ema", "lookahead", "layer_decay"} <= switched
    assert compared_labels(file.suite) == [("off", model.label) for model in file.suite.models[1:]]
    request = BenchRequest("techniques", model=["a/one", "b/two"])
    pairs_of_two = compared_labels(request._as_it_counts(file).suite)
    assert {first for first, _ in pairs_of_two} == {"one-off", "two-off"}
    assert len(pairs_of_two) == 2 * (len(file.suite.models) - 1)
    assert all(first.partition("-")[0] == second.partition("-")[0] for first, second in pairs_of_two)


def test_a_baseline_that_other_models_do_not_have() -> None:
    text = GOOD.replace("[test]", "[test, tiny]") + "baseline: test\n"
    file = SuiteFile("mine", Suite.model_validate(yaml.safe_load(text)), read_yaml(text))
    assert compared_labels(file.suite) == [("test", "tiny")]
    with pytest.raises(UsageError, match="none is the baseline"):
        BenchRequest("mine", model=["a/one", "b/two"])._as_it_counts(file)


def test_smoke_has_every_kind_of_task() -> None:
    """A new kind of task with a sample gets a line in configs/suites/smoke.yaml."""
    cards = [card for card in all_cards().values() if card.sample and "train" in card.splits]
    tried = {find_card(task.name).adapter for _, task in pairs(read_suite("smoke").suite)}
    assert tried == {card.adapter for card in cards}


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ("modles: [a]\n", ":5: modles: no such key of a suite, did you mean models?"),
        ("slurm: {minuets: 3}\n", ":5: slurm.minuets: no such key of a suite, did you mean minutes?"),
        ("grid: {}\n", ":5: grid is empty"),
        ("baseline: tset\n", ":5: no model of this suite is called tset, did you mean test?"),
        ("grid:\n  train.epochs: []\n", ":6: grid.train.epochs is empty"),
        ("grid: {train.epochs: [1, 1]}\n", ":5: train.epochs: 1 appears twice"),
        ("grid: {a: [1, 2]}\nsettings: {a: 1}\n", ":5: a is also given in settings"),
        ("settings: {train: {epochs: 1}}\n", ":5: settings.train has an invalid value, got a mapping"),
        ("gates: {afqcm: 1}\n", ":5: afqcm is not a task of this suite, did you mean afqmc?"),
        ("fresh_seeds: [2]\n", ":5: fresh_seeds are for suites with a grid"),
        ("grid: {a: [1]}\nfresh_seeds: [2]\n", ":6: fresh_seeds are for suites with a grid"),
        ("grid: {a: [1, 2]}\nfresh_seeds: [1]\n", ":6: the grid has already seen these seeds, got [1]"),
        ("folds: 1\n", ":5: folds: input should be greater than or equal to 2"),
        ("data: [a]\n", ":5: data has an invalid value, got a list"),
    ],
)
def test_mistakes_have_their_line(tmp_path: Path, more: str, found: str) -> None:
    with pytest.raises(ClueError) as caught:
        read_suite(written(tmp_path, GOOD + more))
    assert caught.value.exit_code == 2
    assert found in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("seeds: [1]", "seeds: [1, 1]", ":4: the seed 1 appears twice, so two runs would share"),
        ("models: [test]", "models: [a/x, b/x]", ":2: two models are called x and would share"),
        ("models: [test]", "models: [{name: test, label: a/b}]", ":2: a model's label becomes a folder"),
        ("tasks: [afqmc]", "tasks: [afqmc, afqmc]", ":3: the task afqmc appears twice"),
        ("models: [test]", "models: []", ":2: models is empty"),
        ("models: [test]", "models: [{name: test, tasks: []}]", ":3: no model of this suite is for the task"),
        ("title: x", "", "title is missing"),
    ],
)
def test_repeats_and_gaps_have_their_line(tmp_path: Path, old: str, new: str, found: str) -> None:
    with pytest.raises(ClueError) as caught:
        read_suite(written(tmp_path, GOOD.replace(old, new)))
    assert caught.value.exit_code == 2
    assert found in str(caught.value)


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ClueError) as caught:
        read_suite(written(tmp_path, GOOD + "modles: []\ngrid: {}\nfolds: 0\n"))
    assert len(caught.value.problems) == 3


def test_what_can_be_understood_of_a_wrong_file_keeps_its_lines(tmp_path: Path) -> None:
    text = """\
models:
  - {label: nameless}
  - {name: test, lable: x}
  - {name: tiny, settings: {a: {b: 1}}}
tasks: [afqmc, 7]
gates: {afqmc: high}
grid: {}
"""
    file, problems = examine_suite(written(tmp_path, text))
    assert file is not None
    assert [(entry.name, entry.settings) for entry in file.suite.models] == [("test", {}), ("tiny", {})]
    assert [file.where("models", place)[-2:] for place in (0, 1)] == [":3", ":4"]
    assert ([entry.name for entry in file.suite.tasks], file.suite.gates) == (["afqmc"], {})
    assert len(problems) == 8  # title, seeds, nameless, lable, a, 7, high, grid
    assert examine_suite(written(tmp_path, "models: 3\n"))[0] is None


def test_a_misspelt_suite_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClueError, match="did you mean smoke") as caught:
        read_suite("smokee")
    assert caught.value.exit_code == 2
    with pytest.raises(ClueError) as caught:
        read_suite(str(tmp_path / "none.yaml"))
    assert caught.value.exit_code == 3


def suite(**fields: object) -> Suite:
    base = {"title": "x", "models": ["test", "tiny"], "tasks": ["afqmc", "csl"], "seeds": [1, 2]}
    return Suite.model_validate({**base, **fields})


def test_a_grid_is_every_combination_the_last_key_fastest() -> None:
    assert points(suite(grid={"a": [1, 2], "b": ["x", "y"]})) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]


def test_the_first_stage_crosses_everything() -> None:
    wishes = list(first_stage(suite(grid={"a": [1, 2]}, folds=3)))
    assert len(wishes) == 2 * 2 * 2 * 2 * 3
    assert {wish.stage for wish in wishes} == {"grid"}
    assert {wish.fold for wish in wishes} == {"0/3", "1/3", "2/3"}
    assert len(set(map(repr, wishes))) == len(wishes)


def test_one_point_is_no_grid() -> None:
    assert {wish.stage for wish in first_stage(suite(grid={"a": [1]}))} == {"score"}


def test_models_for_single_tasks() -> None:
    crossed = pairs(suite(models=["test", {"name": "dgcnn", "tasks": ["csl"]}]))
    assert [(model.name, task.name) for model, task in crossed] == [
        ("test", "afqmc"),
        ("test", "csl"),
        ("dgcnn", "csl"),
    ]


def test_the_second_stage_has_seeds_that_the_grid_has_not_seen() -> None:
    gridded = suite(grid={"a": [1, 2]}, seeds=[3, 9])
    assert fresh_seeds(gridded) == [10, 11]
    wishes = list(second_stage(gridded, gridded.models[0], gridded.tasks[0], {"a": 2}))
    assert [(wish.stage, wish.seed, wish.point) for wish in wishes] == [
        ("score", 10, {"a": 2}),
        ("score", 11, {"a": 2}),
    ]


def test_settings_of_the_model_the_task_and_the_point_win_in_this_order() -> None:
    layered = suite(
        settings={"a": 0, "b": 0, "c": 0, "d": 0},
        models=[{"name": "test", "settings": {"b": 1, "c": 1, "d": 1}}],
        tasks=[{"name": "csl", "settings": {"c": 2, "d": 2}}],
        grid={"d": [3]},
    )
    assert next(first_stage(layered)).settings(layered) == {"a": 0, "b": 1, "c": 2, "d": 3}
