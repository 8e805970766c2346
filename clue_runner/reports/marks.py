"""A text with marked spans, as pieces that a template can write one after another.

In: a text and its spans. Out: pieces; of a long text, only the surroundings of the marks, the rest elided.
Knows nothing about HTML: escaping is the template's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clue_runner.adapters.shown.shown import ShownSpan, ShownText

LONG = 700  # most characters of a text that is shown in full
AROUND = 90  # characters kept on both sides of a mark in a longer one
OPENING = 120  # characters kept at its beginning


@dataclass(frozen=True)
class Piece:
    """A stretch of text under the same marks.

    Args:
        text: empty where something was left out (``elided``).
        role: ``gold``, ``predicted``, ``both``, ``differ`` (one place, two labels) or nothing.
        labels: (label, role) of the spans that end here, if the label adds to the text.
        elided: characters left out here.
    """

    text: str
    role: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    elided: int = 0


def pieces(shown: ShownText) -> list[Piece]:
    """Return a text in pieces, in order."""
    text = shown.text
    spans = [span for span in shown.spans if 0 <= span.start < span.end <= len(text)]
    found: list[Piece] = []
    end_of_last = 0
    for start, end in _kept(len(text), spans):
        if start > end_of_last:
            found.append(Piece("", elided=start - end_of_last))
        found += _marked(text, start, end, spans)
        end_of_last = end
    if end_of_last < len(text):
        found.append(Piece("", elided=len(text) - end_of_last))
    return found


def _kept(length: int, spans: Sequence[ShownSpan]) -> list[tuple[int, int]]:
    """Return the stretches of the text that are shown, in order and disjoint."""
    if length <= LONG:
        return [(0, length)] if length else []
    if not spans:
        return [(0, LONG)]
    wanted = [(0, OPENING), *((max(0, s.start - AROUND), min(length, s.end + AROUND)) for s in spans)]
    kept: list[tuple[int, int]] = []
    for start, end in sorted(wanted):
        if kept and start <= kept[-1][1]:
            kept[-1] = (kept[-1][0], max(kept[-1][1], end))
        else:
            kept.append((start, end))
    return kept


def _marked(text: str, start: int, end: int, spans: Sequence[ShownSpan]) -> list[Piece]:
    """Return one stretch, cut wherever a mark begins or ends."""
    inner = [span for span in spans if span.start < end and span.end > start]
    borders = {start, end, *(span.start for span in inner), *(span.end for span in inner)}
    cuts = sorted(border for border in borders if start <= border <= end)
    found = []
    for low, high in zip(cuts, cuts[1:], strict=False):
        role = _role([span for span in inner if span.start <= low and span.end >= high])
        labels = tuple(
            (span.label, span.role)
            for span in inner
            if span.end == high and span.label != text[span.start : span.end]
        )
        found.append(Piece(text[low:high], role, labels))
    return found


def _role(covering: Sequence[ShownSpan]) -> str:
    """Return what the spans over one piece say together."""
    gold, predicted = (
        {(span.start, span.end, span.label) for span in covering if span.role == role}
        for role in ("gold", "predicted")
    )
    if gold and predicted:
        places = [{span[:2] for span in side} for side in (gold, predicted)]
        return "differ" if places[0] & places[1] and not gold & predicted else "both"
    return "gold" if gold else "predicted" if predicted else ""
