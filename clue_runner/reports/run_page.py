"""The page of one run: the mistakes first, then the training and its cost.

In: the contents of a run folder, its dev predictions if the data is available. Out: HTML, mistakes.jsonl.
Knows nothing about argv, or about single kinds of tasks.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from clue_runner.adapters.shown.shown import Shown
from clue_runner.data.card import Card, Published
from clue_runner.metrics.calibration import Calibration
from clue_runner.reports import charts
from clue_runner.reports.answers import Answered
from clue_runner.reports.baseline import baseline_score
from clue_runner.reports.diagnostics import diagnostic_charts
from clue_runner.reports.facts import environment_rows, speed_rows
from clue_runner.reports.judged import (
    Confusion,
    Judged,
    LengthGroup,
    by_length,
    calibration,
    confusion,
    judge,
    mistake_line,
    mistakes,
)
from clue_runner.reports.mistakes import Mistakes, show_mistakes
from clue_runner.reports.render import render
from clue_runner.reports.words import Language, noter, speaker
from clue_runner.runs.events import AnyEvent, Evaluate, Step, Warned, read_events
from clue_runner.runs.folder import RunFolder
from clue_runner.runs.results import RunResult

PUBLISHED_SHOWN = 6
SECTIONS = (
    *("mistakes", "confusion", "curves", "diagnostics", "lengths", "calibration"),
    *("speed", "environment", "repeat"),
)
Say = Callable[..., str]


@dataclass(frozen=True)
class PageOptions:
    """How a page is made: its language, and whether it shows texts of the data set."""

    language: Language
    texts: bool = True


@dataclass
class ConfusionTable:
    """A confusion matrix ready to be drawn; ``rows`` is empty if there are too many labels."""

    unit: str
    columns: list[str]
    rows: list[tuple[str, list[tuple[int, float, bool]]]]
    pairs: list[tuple[str, str, int, float]]


@dataclass
class RunPage:
    """Everything that the template ``run.html`` reads."""

    result: RunResult
    title: str
    command: str
    published: Sequence[Published] = ()
    baseline: float | None = None
    loud: str | None = None
    missing: str | None = None
    mistakes: Mistakes | None = None
    confusion: ConfusionTable | None = None
    curves: list[tuple[str, Markup]] = field(default_factory=list)
    diagnostics: list[tuple[str, Markup]] = field(default_factory=list)
    lengths: list[LengthGroup] = field(default_factory=list)
    limit_line: str | None = None
    notes: list[tuple[str, str, int]] = field(default_factory=list)
    calibration: Calibration | None = None
    reliability: Markup | None = None
    speed: list[tuple[str, str]] = field(default_factory=list)
    environment: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def sections(self) -> list[str]:
        """Return the sections that the page has, in order."""
        there = {
            "mistakes": self.mistakes is not None,
            "confusion": self.confusion is not None,
            "diagnostics": bool(self.diagnostics),
            "lengths": bool(self.lengths),
            "calibration": self.mistakes is not None,
        }
        return [name for name in SECTIONS if there.get(name, True)]


@dataclass(frozen=True)
class Made:
    """A finished page, and the lines of ``mistakes.jsonl``; None where the records are not available."""

    html: str
    mistakes: bytes | None


def make_run_page(
    folder: RunFolder,
    result: RunResult,
    card: Card,
    answered: Answered | None,
    options: PageOptions,
    missing: str | None = None,
) -> Made:
    """Return the page of a run.

    Args:
        folder: that of the run.
        result: its result, or the reason why it failed.
        card: that of its task.
        answered: dev with its predictions; None: not available, or there is no score.
        options: language, texts.
        missing: why there are no predictions, in words; None: there are some, or the run failed.
    """
    say, noted = speaker(options.language), noter(options.language)
    events = read_events(folder.events)
    page = RunPage(
        result=result,
        title=card.title.zh if options.language == "zh" else card.title.en,
        command=shlex.join(["clue", "train", "--config", str(folder.settings)]),
        published=card.published[:PUBLISHED_SHOWN],
        baseline=baseline_score(folder.path.absolute().parent, result.data_sha256.get("dev")),
        missing=missing,
        curves=_curves(events, result, say),
        diagnostics=diagnostic_charts(events, say),
        notes=[(split, noted(what), n) for split, notes in result.notes.items() for what, n in notes.items()],
        speed=speed_rows(result, say),
        environment=environment_rows(result, say),
        warnings=list(dict.fromkeys(one.message for one in events if isinstance(one, Warned))),
    )
    lines = _fill_in(page, answered, options, say) if answered is not None else None
    return Made(render("run.html", page, options.language), lines)


def _fill_in(page: RunPage, answered: Answered, options: PageOptions, say: Say) -> bytes:
    """Add what is derived from the predictions; return the lines of ``mistakes.jsonl``."""
    adapter, shown = answered.adapter, answered.shown
    limit = adapter.run.data.max_length
    judged = judge(shown, answered.lengths, limit)
    labels = [adapter.label_words(name) for name in adapter.card.label_names]
    wrong = mistakes(judged)
    page.loud = _loud(answered, shown, page.result, say)
    page.mistakes = show_mistakes(
        wrong, len(judged), labels, texts=options.texts, in_tokens=answered.lengths is not None
    )
    found = confusion(judged, labels)
    page.confusion = _table(found, say) if found is not None else None
    page.lengths = by_length(judged)
    page.limit_line = _limit_line(judged, limit, say)
    page.calibration = calibration(judged)
    if page.calibration is not None:
        page.reliability = charts.reliability(
            page.calibration,
            title=say("calibration"),
            x_title=say("probability"),
            y_title=say("accuracy_axis"),
        )
    known = frozenset(labels)
    entries = (mistake_line(one, texts=options.texts, labels=known) for one in wrong)
    return "".join(f"{json.dumps(entry, ensure_ascii=False)}\n" for entry in entries).encode()


def _loud(answered: Answered, shown: Sequence[Shown], result: RunResult, say: Say) -> str | None:
    """Return a prominent warning: all predictions equal, or a score no better than chance."""
    if not result.ok:
        return None
    answers = {json.dumps(one.prediction, sort_keys=True) for one in answered.predictions}
    if len(shown) > 1 and len(answers) == 1:
        return say("all_same", count=f"{len(shown):,}", answer=shown[0].answer or say("empty_answer"))
    score, _, chance, _ = result.scored
    if score <= chance:
        by_label = len(answered.adapter.card.labels) > 0
        means = say("commonest" if by_label else "random_answer")
        numbers = {"score": f"{score:.2f}", "chance": f"{chance:.2f}"}
        return say("not_above", metric=result.metric, means=means, **numbers)
    return None


def _table(found: Confusion, say: Say) -> ConfusionTable:
    """Return a matrix with the shade of each cell: its fraction of the row."""
    none = say("none")
    pairs = [(gold or none, given or none, count, share) for gold, given, count, share in found.pairs]
    if not found.fits:
        return ConfusionTable(found.unit, [], [], pairs)
    names: list[str | None] = [*found.labels, *([None] if found.unit == "spans" else [])]
    rows = []
    for gold in names:
        counts = [found.counts.get((gold, given), 0) for given in names]
        total = sum(counts) or 1
        cells = [
            (count, round(0.75 * count / total, 3), gold is not None and gold == given)
            for given, count in zip(names, counts, strict=True)
        ]
        rows.append((gold or none, cells))
    columns = [none if name is None else name.partition(" (")[0] for name in names]
    return ConfusionTable(found.unit, columns, rows, pairs)


def _limit_line(judged: Sequence[Judged], limit: int, say: Say) -> str | None:
    """Return the accuracy of records at the length limit and of the others; None if no row is full."""
    full = [one for one in judged if one.at_limit]
    rest = [one for one in judged if not one.at_limit]
    if not full:
        return None

    def share(some: Sequence[Judged]) -> str:
        return f"{100 * sum(one.shown.is_right is True for one in some) / len(some):.1f}%"

    counts = {"count": f"{len(full):,}", "total": f"{len(judged):,}", "limit": limit, "share": share(full)}
    return say("limit_line", **counts, others=share(rest)) if rest else say("limit_line_all", **counts)


def _curves(events: Sequence[AnyEvent], result: RunResult, say: Say) -> list[tuple[str, Markup]]:
    """Return the training loss and the dev score over updates, with the best evaluation marked."""
    losses = [(float(one.step), one.loss) for one in events if isinstance(one, Step)]
    scores = [(float(one.step), one.score) for one in events if isinstance(one, Evaluate)]
    found = []
    if losses:
        found.append((say("loss"), charts.curve(losses, title=say("loss"), x_title=say("update"))))
    if scores:
        best = max(scores, key=lambda point: (point[1], -point[0]))
        name = say("dev_score", metric=result.metric)
        words = say("best", score=f"{best[1]:.2f}")
        chart = charts.curve(scores, title=name, x_title=say("update"), best=best, best_words=words)
        found.append((name, chart))
    return found
