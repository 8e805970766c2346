"""The table: means by hand, what is never mixed or reported, and how it is drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from clue_runner.config.yaml_reader import read_yaml
from clue_runner.data.cards import find_card
from clue_runner.errors import DataError
from clue_runner.suites.chosen import picks
from clue_runner.suites.collected import Collected, Comparison, read_collected
from clue_runner.suites.grid import first_stage, second_stage
from clue_runner.suites.items import Item
from clue_runner.suites.junit import junit
from clue_runner.suites.markdown import markdown
from clue_runner.suites.records import Standing, exit_code_of
from clue_runner.suites.suite import Suite, SuiteFile
from clue_runner.suites.table import Found, build_table

Make = Callable[..., Collected]


@pytest.fixture
def make_item(make_run: Callable[..., Any]) -> Callable[..., Item]:
    """An item of a wish; its name says which."""

    def make(wish: Any) -> Item:
        name = f"{wish.label} {wish.task.name} {wish.seed} {wish.stage} {sorted(wish.point.items())}"
        facts = {"precision": "float32", "code": "1+a"}
        run = make_run(f"seed={wish.seed}")
        return Item(name, wish, wish.task.name, facts, (), Path("runs") / "x", run, "accuracy")

    return make


@pytest.fixture
def make_table(make_item: Callable[..., Item], make_result: Callable[..., Any]) -> Make:
    """A table from scores by (task, seed) of one model; None: failed; left out: missing."""

    def make(scores: dict[tuple[str, int], float | None], **fields: Any) -> Collected:
        tasks = list(dict.fromkeys(task for task, _ in scores))
        base = {"title": "T", "models": ["bert-base"], "tasks": tasks, "seeds": [1, 2, 3]}
        suite = Suite.model_validate({**base, **fields})
        found = []
        for wish in first_stage(suite):
            key = (wish.task.name, wish.seed)
            score = scores.get(key)
            if score is not None:
                result = make_result(score=score, chance=69.0, confidence_interval=[score - 1, score + 1])
                stands = Standing("ok", result)
            else:
                failed = key in scores
                stands = Standing("failed" if failed else "missing", None, "loss | is <nan>\x01", 6)
            found.append(Found(make_item(wish), stands, "runs/x"))
        cards = {task: find_card(task) for task in tasks}
        file = SuiteFile("mine", suite, read_yaml("title: T\n"))
        return build_table(file, found, {}, cards, planned=len(suite.seeds))

    return make


def test_mean_and_deviation_by_hand(make_table: Make) -> None:
    table = make_table({("afqmc", 1): 70.0, ("afqmc", 2): 72.0, ("afqmc", 3): 77.0})
    cell = table.cells[0]
    assert cell.mean == pytest.approx(73.0)
    assert cell.std == pytest.approx(13.0**0.5)  # (9 + 1 + 16) / 2
    assert (cell.values, cell.seeds, cell.complete, cell.chance) == (
        [70.0, 72.0, 77.0],
        [1, 2, 3],
        True,
        69.0,
    )


def test_one_run_has_no_deviation(make_table: Make) -> None:
    table = make_table({("afqmc", 1): 70.0}, seeds=[1])
    assert (table.cells[0].mean, table.cells[0].std) == (70.0, None)
    assert "one run" in markdown(table)


def test_the_average_is_over_all_tasks_or_is_none(make_table: Make) -> None:
    whole = {(task, seed): score for task, score in (("afqmc", 70.0), ("csl", 80.0)) for seed in (1, 2, 3)}
    assert make_table(whole, average=True).averages[0].mean == pytest.approx(75.0)
    assert make_table(whole).averages == []
    part = make_table({**whole, ("csl", 3): None}, average=True)
    assert (part.averages[0].mean, part.averages[0].missing) == (None, ["csl"])
    assert part.cells[1].mean == pytest.approx(80.0)


def test_gates(make_table: Make) -> None:
    scores = {("afqmc", seed): 70.0 for seed in (1, 2, 3)}
    assert make_table(scores, gates={"afqmc": 70.0}).gates[0].passed
    assert not make_table(scores, gates={"afqmc": 70.01}).gates[0].passed
    assert not make_table({**scores, ("afqmc", 3): None}, gates={"afqmc": 1.0}).gates[0].passed


def test_published_scores_keep_their_split_and_the_same_model_comes_first(make_table: Make) -> None:
    cell = make_table({("afqmc", 1): 70.0}).cells[0]
    assert [(one.model, one.split, one.score) for one in cell.published[:2]] == [
        ("BERT-base", "dev", 74.16),
        ("BERT-base", "test", 73.70),
    ]
    line = next(line for line in markdown(make_table({("afqmc", 1): 70.0})).split("\n") if "accuracy" in line)
    assert [cell.strip() for cell in line.split("|")][-3:-1] == ["74.16", "73.70"]


def test_the_best_of_a_grid_is_not_the_score(
    make_item: Callable[..., Item], make_result: Callable[..., Any]
) -> None:
    suite = Suite.model_validate(
        {
            "title": "T",
            "models": ["test"],
            "tasks": ["afqmc"],
            "seeds": [1, 2],
            "grid": {"train.learning_rate": [1e-5, 2e-5, 3e-5]},
        }
    )
    by_point = {1e-5: (80.0, 60.0), 2e-5: (74.0, 76.0), 3e-5: (99.0, None)}
    first = [make_item(wish) for wish in first_stage(suite)]
    standings = {}
    for item in first:
        score = by_point[float(str(item.wish.point["train.learning_rate"]))][item.wish.seed - 1]
        result = None if score is None else make_result(score=score)
        standings[item.id] = Standing("failed" if score is None else "ok", result)
    picked = picks(first, standings)
    pick = picked["test", "afqmc"]
    assert (pick.point, pick.score, pick.ended) == ({"train.learning_rate": 2e-5}, 75.0, True)
    second = [make_item(wish) for wish in second_stage(suite, pick.model, pick.task, pick.point or {})]
    fresh = [Found(item, Standing("ok", make_result(score=71.0)), None) for item in second]
    found = [Found(item, standings[item.id], None) for item in first] + fresh
    file = SuiteFile("mine", suite, read_yaml("title: T\n"))
    table = build_table(file, found, picked, {"afqmc": find_card("afqmc")}, planned=2)
    cell = table.cells[0]
    assert (cell.mean, cell.seeds, cell.best_of_grid) == (71.0, [3, 4], 75.0)
    assert cell.chosen == {"train.learning_rate": 2e-5}
    assert "best of the grid 75.00" in markdown(table)


def test_a_grid_that_has_not_ended_chooses_nothing(make_item: Callable[..., Item]) -> None:
    suite = Suite.model_validate(
        {"title": "T", "models": ["test"], "tasks": ["afqmc"], "seeds": [1], "grid": {"a": [1, 2]}}
    )
    items = [make_item(wish) for wish in first_stage(suite)]
    pick = picks(items, {item.id: Standing("missing") for item in items})["test", "afqmc"]
    assert (pick.ended, pick.point) == (False, None)


def test_markdown_says_what_failed_and_breaks_no_table(make_table: Make) -> None:
    text = markdown(make_table({("afqmc", 1): 70.0, ("afqmc", 2): None}))
    assert "1 of 3 items have a result, 1 failed, 1 missing." in text
    assert "loss \\| is &lt;nan&gt;" in text
    assert "1 of 3" in next(line for line in text.split("\n") if line.startswith("| afqmc"))


def test_junit_counts_what_a_reader_counts(make_table: Make) -> None:
    scores: dict[tuple[str, int], float | None] = {("afqmc", 1): 70.0, ("afqmc", 2): None}
    root = ElementTree.fromstring(junit(make_table(scores, gates={"afqmc": 60.0})))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "2", "1")
    items = root[0]
    assert [len(case.findall("failure")) for case in items] == [0, 1, 0]
    assert items[1].find("failure").get("message") == "loss | is <nan>\ufffd"  # type: ignore[union-attr]
    assert {case.get("classname") for case in items} == {"afqmc.bert-base"}


def test_the_table_survives_its_file(make_table: Make, tmp_path: Path) -> None:
    table = make_table({("afqmc", 1): 70.0, ("afqmc", 2): None}, gates={"afqmc": 60.0}, average=True)
    path = tmp_path / "collected.json"
    path.write_text(json.dumps(table.to_json()), encoding="utf-8")
    assert read_collected(path) == table
    path.write_text('{"schema": 9}', encoding="utf-8")
    with pytest.raises(DataError, match="schema 9"):
        read_collected(path)


def test_the_exit_code_is_that_of_the_first_failure() -> None:
    standings = [Standing("ok"), Standing("failed", exit_code=-9), Standing("failed", exit_code=3)]
    assert exit_code_of(standings) == 137
    assert exit_code_of(standings[:1]) == 0


def test_a_refusal_is_an_answer_and_the_differences_are_from_the_baseline(
    make_item: Callable[..., Item], make_result: Callable[..., Any]
) -> None:
    models = ["test", {"name": "test", "label": "on"}, {"name": "test", "label": "never"}]
    suite = Suite.model_validate(
        {"title": "T", "models": models, "tasks": ["afqmc"], "seeds": [1], "baseline": "test"}
    )
    score = {"test": 70.0, "on": 71.5}
    refused = Standing("refused", None, "cannot use it: no classes", 2)
    found = [
        Found(
            make_item(wish),
            Standing("ok", make_result(score=score[wish.label], steps=50, seconds={"train": 5.0}))
            if wish.label in score
            else refused,
            None,
        )
        for wish in first_stage(suite)
    ]
    cards = {"afqmc": find_card("afqmc")}
    table = build_table(SuiteFile("mine", suite, read_yaml("title: T\n")), found, {}, cards, planned=1)
    assert [row.step_seconds for row in table.rows] == [0.1, 0.1, None]
    assert (table.failed, table.missing, len(table.refused)) == ([], [], 1)
    numbers = {"difference": 1.5, "interval": (-0.5, 3.5), "p": 0.14, "seeds_std": 0.4, "step_cost": 2.1}
    pair = Comparison(first="test", second="on", tasks=["afqmc"], **numbers)
    lines = markdown(table.model_copy(update={"pairs": [pair]})).split("\n")
    cells = [[one.strip() for one in line.split("|")[2:-1]] for line in lines if line.startswith("| ")]
    del cells[1]  # its marks
    assert cells[0][5:] == ["difference", "std of it", "95 % interval", "p", "update's time"]
    assert cells[1][4:] == ["1", "–", "–", "–", "–", "–"]
    assert cells[2][4:] == ["1", "+1.50", "0.40", "-0.50 to +3.50", "0.140", "2.10"]
    assert cells[3][:5] == ["never", "accuracy", "–", "–", "refused"]
    assert "- afqmc, never: refused: cannot use it: no classes" in lines
    assert "2 of 3 items have a result, 1 refused." in lines
    root = ElementTree.fromstring(junit(table))
    assert (root.get("failures"), root.get("errors"), root[0].get("skipped")) == ("0", "0", "1")
    assert root[0][2].find("skipped").get("message") == "refused: cannot use it: no classes"  # type: ignore[union-attr]
