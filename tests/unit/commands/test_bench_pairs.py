"""Models of a suite on the same records: by hand, with every reason why there may be no number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.pages import make_run

from clue_runner.adapters.base import Prediction
from clue_runner.adapters.sections import SECTIONS
from clue_runner.commands.bench import pairs
from clue_runner.commands.bench.pairs import Scored, compare_models
from clue_runner.config.yaml_reader import read_yaml
from clue_runner.data.cards import find_card
from clue_runner.metrics.confidence import summed_mean
from clue_runner.suites.collected import Comparison
from clue_runner.suites.grid import compared_labels, first_stage
from clue_runner.suites.items import Item
from clue_runner.suites.records import Standing
from clue_runner.suites.suite import Suite, SuiteFile
from clue_runner.suites.table import Found, build_table


def flipped(place: int, one: Prediction) -> Prediction:
    """Every fifth answer is the other one."""
    other = {"0": "1", "1": "0"}[str(one.prediction)]
    return Prediction(one.id, other, 0.6) if place % 5 == 0 else one


@pytest.fixture
def compared(tmp_path: Path) -> Callable[..., list[Comparison]]:
    """The comparisons of a suite of two models on tasks, of which only the second is changed."""

    def compare(change: Any, *tasks: str, spoil: Callable[[Path], None] = lambda path: None) -> Any:
        fields = {"title": "T", "models": ["test", "tiny"], "tasks": list(tasks), "seeds": [1, 2]}
        suite = Suite.model_validate(fields)
        found = []
        for wish in first_stage(suite):
            path = tmp_path / f"{wish.label}-{wish.task.name}-{wish.seed}"
            made = change if wish.label == "tiny" and wish.task.name == "afqmc" else None
            folder = make_run(path, wish.task.name, seed=wish.seed, change=made)
            result = folder.result()
            assert result is not None
            facts = {"precision": "float32", "code": "1+a"}
            run = folder.run(SECTIONS)
            item = Item(path.name, wish, wish.task.name, facts, (), path, run, "accuracy")  # type: ignore[arg-type]
            found.append(Found(item, Standing("ok", result), str(path)))
            spoil(path)
        cards = {task: find_card(task) for task in tasks}
        table = build_table(SuiteFile("m", suite, read_yaml("title: T\n")), found, {}, cards, planned=2)
        data = {one.item.id: "sample" for one in found}
        return table, compare_models(table, found, data, compared_labels(suite))

    return compare


def test_the_difference_is_that_of_the_table_and_the_average_is_over_tasks(compared: Any) -> None:
    table, (one, other, both) = compared(flipped, "afqmc", "csl")
    means = {(cell.model, cell.task): cell.mean for cell in table.cells}
    assert one.difference == pytest.approx(means["tiny", "afqmc"] - means["test", "afqmc"])
    assert one.difference < 0 and 0 < one.p < 1 and one.interval[0] <= one.difference <= one.interval[1]
    assert (other.difference, other.p, other.interval) == (0.0, 1.0, (0.0, 0.0))  # the same answers
    assert (both.tasks, both.difference) == (["afqmc", "csl"], pytest.approx(one.difference / 2))
    assert (one.first, one.second, one.reason) == ("test", "tiny", None)
    values = {(cell.model, cell.task): cell.values for cell in table.cells}
    low, high = (b - a for a, b in zip(values["test", "afqmc"], values["tiny", "afqmc"], strict=True))
    assert one.seeds_std == pytest.approx(abs(high - low) / 2**0.5) and other.seeds_std == 0.0


def test_the_cost_of_an_update_is_a_ratio_of_medians_over_seeds(compared: Any) -> None:
    table, _ = compared(None, "afqmc")
    times = {("test", 1): 0.2, ("test", 2): 0.4, ("tiny", 1): 0.9, ("tiny", 2): 0.6}
    rows = [row.model_copy(update={"step_seconds": times[row.model, row.seed]}) for row in table.rows]
    timed = table.model_copy(update={"rows": rows})
    assert pairs._over_seeds(timed, "test", "tiny", "afqmc")["step_cost"] == pytest.approx(0.75 / 0.3)
    rows[0] = rows[0].model_copy(update={"step_seconds": None})
    rows[1] = rows[1].model_copy(update={"step_seconds": None})
    unknown = table.model_copy(update={"rows": rows})
    assert pairs._over_seeds(unknown, "test", "tiny", "afqmc")["step_cost"] is None


def test_answers_that_are_gone_are_said_and_stop_nothing(compared: Any) -> None:
    def spoil(path: Path) -> None:
        if path.name == "tiny-csl-2":
            (path / "predictions" / "dev.jsonl").unlink()

    _, (one, other) = compared(None, "afqmc", "csl", spoil=spoil)
    assert (one.tasks, one.p) == (["afqmc"], 1.0)
    assert (other.tasks, other.p) == (["csl"], None)
    assert "this run has no answers to dev" in other.reason


def test_models_with_other_records_are_not_compared() -> None:
    one, other = (Scored([summed_mean([100.0, 0.0])], ids) for ids in (["a", "b"], ["a", "c"]))
    assert pairs._draws(one, other, 1) == "the models were scored on different records"
    assert pairs._draws(one, "gone", 1) == pairs._draws("gone", one, 1) == "gone"
