"""The probe page and its chart sheet.

In: the content of ``probe.json``, the curves. Out: HTML, SVG. Knows nothing about files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from clue_runner.probe.findings import Findings
from clue_runner.reports.log_chart import Pair, log_chart, sheet, value_range
from clue_runner.reports.render import render
from clue_runner.reports.words import Language, speaker


@dataclass(frozen=True)
class ProbePage:
    """What the template shows.

    Args:
        result: the content of ``probe.json``.
        charts: (name, chart) of each schedule.
    """

    result: Mapping[str, Any]
    charts: Sequence[tuple[str, Markup]]


def probe_page(result: Mapping[str, Any], findings: Sequence[Findings], language: Language) -> str:
    """Return the page."""
    say, pairs = speaker(language), _pairs(findings, language)
    limits = value_range(pairs)
    charts = [
        (
            pair.name,
            log_chart(pair, limits, title=f"{say('regret_chart')}: {pair.name}", x_title=say("probe_axis")),
        )
        for pair in pairs
    ]
    return render("probe.html", ProbePage(result, charts), language)


def probe_sheet(result: Mapping[str, Any], findings: Sequence[Findings], language: Language) -> str:
    """Return all charts as one SVG file."""
    say = speaker(language)
    return sheet(
        _pairs(findings, language),
        title=say("title_probe", task=result["task"]),
        note=say("probe_lines"),
        x_title=say("probe_axis"),
    )


def _pairs(findings: Sequence[Findings], language: Language) -> list[Pair]:
    """Return regret and bound of each schedule; a vacuous bound is labelled as such."""
    say = speaker(language)
    return [
        Pair(
            f"{one.schedule.text} ({say('vacuous')})" if one.vacuous else one.schedule.text,
            one.regret.tolist(),
            one.bound.tolist(),
        )
        for one in findings
    ]
