"""The one line of a run: what it counts, and how long the whole will take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from clue_runner.config.schema import Run
from clue_runner.data.cards import find_card
from clue_runner.runs.progress import Progress
from clue_runner.training.run_display import RunDisplay, evaluations_until

ENTRY = {"step": 4, "epoch": 1, "score": 60.0, "scores": {}, "loss": 0.5}


class Line:
    """Keeps what a bar was told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def begin(self, label: str, total: int, done: int = 0) -> None:
        self.told.append((label, done, total))

    def update(self, done: int, *, left: float | None = None, **shown: object) -> None:
        self.told.append((done, left, shown))


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def make_display(line: Line, make_run: Callable[..., Run]) -> Callable[[Progress], RunDisplay]:
    """A display over 40 train rows in 4 updates an epoch, 20 dev rows, 60 test rows."""

    class Console:
        said: list[str] = []

        @contextmanager
        def progress(self, total: int, label: str, done: int = 0) -> Iterator[Line]:
            line.begin(label, total, done)
            yield line
            line.told.append(("closed",))

        def say(self, text: str) -> None:
            line.told.append((text,))

    setup: Any = SimpleNamespace(
        run=make_run("train.epochs=2"),
        card=find_card("afqmc"),
        rows={"train": range(40), "dev": range(20), "test": range(60)},
    )
    console: Any = Console()
    return lambda progress: RunDisplay(console, setup, progress)


def test_the_time_left_holds_evaluations_and_predictions(line: Line, make_display: Any) -> None:
    progress = Progress()
    with make_display(progress) as display:
        display.train(8, 4)
        assert line.told == [("training", 0, 8), (0, None, {})]
        progress.step, progress.examples, progress.seconds = 2, 20, {"train": 6.0}
        display.show(progress, {"loss": 0.5, "rate": None})
        # 6 updates of 3 s; two evaluations of 20 and 60 test rows at a third of 0.3 s
        assert line.told[-1][:2] == (2, pytest.approx(6 * 3 + 100 * 0.1))
        progress.step, progress.seconds = 4, {"train": 12.0}
        progress.examples = 40
        with display.answering("evaluating dev", "dev") as answered:
            assert line.told[-1] == ("evaluating dev", 0, 20)
            answered(5)
            assert line.told[-1][:2] == (5, pytest.approx(4 * 3 + (15 + 20 + 60) * 0.1))
        assert line.told[-2] == ("training", 4, 8)
        assert line.told[-1][2]["loss"] == 0.5  # what stood beside the bar stands there again
        progress.history.append(ENTRY)
        progress.best_score, progress.best_epoch = 60.0, 1
        progress.seconds["evaluate"] = 10.0
        display.show(progress, {"evaluated": ENTRY, "improved": True})
        display.show(progress, {"loss": 0.25, "rate": 3.5})
        assert line.told[-1][:2] == (4, pytest.approx(4 * 3 + 80 * 0.5))  # measured now
        assert line.told[-1][2] == {"loss": 0.25, "epoch": "1/2", "best": "60.00", "rows/s": "3.5"}
        display.trained()
        with display.answering("predicting test", "test") as answered:
            answered(20)
            assert line.told[-1][:2] == (20, pytest.approx(20.0))
    assert line.told[-1] == ("closed",)
    assert sum(entry == ("closed",) for entry in line.told) == 1


def test_after_a_resume_it_begins_where_the_run_does(line: Line, make_display: Any) -> None:
    progress = Progress(step=6, examples=60, seconds={"train": 18.0})
    with make_display(progress) as display:
        display.train(8, 4)
    assert line.told[0] == ("training", 6, 8)
    assert line.told[1][0] == 6


def test_outside_its_block_nothing_is_shown(line: Line, make_display: Any) -> None:
    display = make_display(Progress())
    with display.answering("evaluating dev", "dev") as answered:
        answered(3)
    assert line.told == []


@pytest.mark.parametrize(
    ("total", "settings", "expected"),
    [(8, (), 2), (7, (), 2), (8, ("train.evaluate_steps=3",), 3), (3, (), 1)],
)
def test_an_evaluation_follows_the_last_update(
    total: int, settings: tuple[str, ...], expected: int, make_run: Callable[..., Run]
) -> None:
    assert evaluations_until(total, make_run(*settings).train, 4) == expected
