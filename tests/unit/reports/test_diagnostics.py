"""The running average of the loss: by hand, over a resume, on a page; absent without events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.pages import make_run

from clue_runner.reports.diagnostics import running_average
from clue_runner.reports.run_page import PageOptions
from clue_runner.reports.words import LANGUAGES, Language, words
from clue_runner.reports.write import write_run_page
from clue_runner.runs.events import AnyEvent, Resume, Step, read_events


def step(number: int, loss: float) -> Step:
    return Step(step=number, epoch=1, loss=loss, learning_rate=1e-4, gradient_norm=1.0)


def test_each_update_counts_once() -> None:
    found = running_average([step(2, 1.0), step(6, 0.5), step(7, 4.0)])
    assert found == [(2.0, 1.0), (6.0, pytest.approx(4 / 6)), (7.0, pytest.approx(8 / 7))]
    assert running_average([]) == []


def test_what_was_lost_at_a_stop_counts_nothing() -> None:
    """Saved at 5: the loss of update 5 is in no event, and updates 6 to 8 are done again."""
    events: list[AnyEvent] = [step(4, 1.0), Resume(step=5), step(8, 2.0)]
    assert running_average(events) == [(4.0, 1.0), (8.0, pytest.approx(10 / 7))]


def test_events_that_a_resume_supersedes_are_not_in_the_average(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    one = {"schema": 2, "event": "step", "epoch": 1, "learning_rate": 1e-4, "gradient_norm": 1.0}
    events: list[dict[str, Any]] = [
        {**one, "step": 4, "loss": 1.0},
        {**one, "step": 8, "loss": 9.0},
        {"schema": 2, "event": "resume", "step": 5},
        {**one, "step": 8, "loss": 2.0},
    ]
    path.write_text("".join(f"{json.dumps(event)}\n" for event in events), encoding="utf-8")
    assert running_average(read_events(path))[-1] == (8.0, pytest.approx((4 * 1.0 + 3 * 2.0) / 7))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_draws_what_was_logged_and_nothing_else(language: Language, tmp_path: Path) -> None:
    folder, known = make_run(tmp_path / "run", "afqmc"), words(language)
    result = folder.result()
    assert result is not None

    def page() -> str:
        path = write_run_page(folder, result, PageOptions(language, texts=False), warn=pytest.fail)
        return path.read_text(encoding="utf-8")

    drawn = ("running_average", "step_size", "gradient_norm")
    whole = page()
    assert known["diagnostics_said"] in whole and 'href="#diagnostics"' in whole
    assert all(f'aria-label="{known[name]}"' in whole for name in drawn)
    assert ">0.0001<" in whole  # a constant rate lies inside its axis
    kept = [line for line in folder.events.read_text(encoding="utf-8").splitlines() if '"step",' not in line]
    folder.events.write_text("\n".join(kept) + "\n", encoding="utf-8")
    without = page()
    assert known["diagnostics_said"] not in without and "#diagnostics" not in without
    assert not any(f'aria-label="{known[name]}"' in without for name in drawn)
    assert without.count("<svg") == whole.count("<svg") - 4  # the loss itself is not there either
