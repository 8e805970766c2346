"""Fitted exponents of growth, by hand, and copies of a run that a suite takes for its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import bench_growth
import growth_cells
from cells import Figures

from clue_runner.data.cards import load_card

WORKS = [100.0, 400.0, 1600.0, 6400.0]


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_what_does_not_grow_hides_no_growth(power: float) -> None:
    """Fixed costs, however large, change no exponent of what is added."""
    for fixed in (0.0, 3.0):
        costs = [fixed + (work - WORKS[0]) ** power for work in WORKS]
        assert bench_growth.exponent(WORKS, costs, 0.0) == pytest.approx(power)


def test_proportion_is_one_and_noise_is_none() -> None:
    assert bench_growth.exponent(WORKS, [5 + 0.01 * work for work in WORKS], 0.0) == pytest.approx(1.0)
    assert bench_growth.exponent(WORKS, [5.0, 5.2, 4.9, 5.1], 0.0) == 0.0
    assert bench_growth.exponent(WORKS, [0.0, 0.001, 0.004, 0.01], 0.02) == 0.0


def axis(**changes: Any) -> bench_growth.Axis:
    plain = bench_growth.Axis("test rows", "rows", [1, 10, 100], lambda size: {"test": size})
    return plain._replace(**changes)


def figures(*costs: float) -> list[dict[str, Any]]:
    return [{"seconds": cost, "processor": cost, "growth": cost * 1e9} for cost in costs]


def test_growth_faster_than_the_work_is_said() -> None:
    linear, square = figures(1.1, 2.0, 11.0), figures(1.0, 82.0, 9802.0)
    lines, wrong = bench_growth.verdicts(
        [bench_growth.judge(axis(), linear), bench_growth.judge(axis(name="folders"), square)]
    )
    assert lines[-2] == "| test rows | 1.00 | 1.00 | ok |"
    assert wrong == ["| folders | 2.00 | 2.00 | FASTER THAN THE WORK |"]
    # the same where the work itself is the square of the size
    (_, wrong) = bench_growth.verdicts(
        [bench_growth.judge(axis(work=lambda n: float(n) ** 2, room=lambda n: float(n) ** 2), square)]
    )
    assert not wrong


def test_time_is_judged_by_the_clock_that_others_disturbed_less() -> None:
    found = figures(1.1, 2.0, 11.0)
    found[2]["seconds"] = 500.0
    assert bench_growth.judge(axis(), found).time == pytest.approx(1.0)


@pytest.mark.parametrize("rehearse", [False, True])
def test_axes_rise_and_have_names_of_their_own(rehearse: bool) -> None:
    found = list(bench_growth.axes(rehearse=rehearse))
    assert len({one.name for one in found}) == len(found) == 9
    assert {one.part for one in found} == {None, "submit", "report", "collect"}
    for one in found:
        assert len(one.sizes) >= 3  # the first and two to fit through
        works = [one.work(size) for size in one.sizes]
        assert works == sorted(set(works))
        jobs = [one.job(size) for size in one.sizes]
        assert len({str(job) for job in jobs}) == len(jobs)


def test_figures_are_kept_and_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run_cell(job: dict[str, Any], script: str, *, flags: str) -> dict[str, Any]:
        asked.append(job["test"])
        return {"error": "exit 1"} if job["test"] == 10 else {"seconds": 1.0, "growth": 5}

    monkeypatch.setattr("cells.run_cell", run_cell)
    path = tmp_path / "growth.json"
    for _ in range(2):
        known = Figures(path, "script")
        found = [known.of({"program": "a", "test": size, "changes": {"n": 1}}) for size in (1, 10)]
        assert "error" in found[1]
    assert asked == [1, 10, 10]  # a failed one again
    Figures(path, "script").of({"program": "b", "test": 1, "changes": {"n": 1}})
    assert asked[-1] == 1  # another program


def test_the_synthetic_set_is_a_task(tmp_path: Path) -> None:
    rows = {"train": 12, "dev": 6, "test": 3}
    growth_cells.make_task(tmp_path / "task", labels=4, base=5, rows=rows)
    card = load_card(tmp_path / "task")
    assert len(card.labels) == 4
    lines = (tmp_path / "task" / "train.json").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 12
    assert len({line.partition('"label"')[0] for line in lines}) == 5
