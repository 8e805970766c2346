"""The card of a user's own texts and labels: name, length in tokens, and the content of ``task.yaml``.

In: fields, labels, splits. Out: the card's text. Knows nothing about where the examples came from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from clue_runner.data.statistics import percentile
from clue_runner.files.names import name_fault

SHORTEST, LONGEST, STEP = 16, 512, 16  # tokens


def tokens_of(texts: Sequence[str]) -> int:
    """Return roughly how many tokens each record has: one per character, one after each text, one before."""
    return sum(map(len, texts)) + len(texts) + 1


def max_length(texts: Sequence[Sequence[str]]) -> int:
    """Return a length in tokens that 99 of 100 records fit in, as far as networks have positions."""
    lengths = sorted(map(tokens_of, texts))
    needed = -(-percentile(lengths, 99) // STEP) * STEP
    return max(SHORTEST, min(needed, LONGEST))


def task_name(folder: Path) -> str:
    """Return a valid card name, taken from the folder's as far as possible."""
    name = re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower()).strip("-_")[:60]
    return name if name and name_fault(name) is None else "task"


def card_text(
    name: str,
    title: str,
    fields: Sequence[str],
    labels: Sequence[str],
    splits: Mapping[str, bool],
    max_length: int,
) -> str:
    """Return the text of ``task.yaml``."""
    lines = [
        "# A task of your own. Everything about it is in this file; `clue config check` finds mistakes.",
        f"name: {name}",
        f"title: {{zh: {_quoted(title)}, en: {_quoted(title)}}}",
        "adapter: classification           # one label for a text or a pair of texts",
        "metric: accuracy",
        f"max_length: {max_length}                    # in tokens; longer texts are cut",
        "",
        "fields:                           # required in every record",
        *(f"  {field}: string" for field in fields),
        "label_field: label",
        "",
        "labels:                           # in index order; add `description:` to explain one",
        *(f"  - {{name: {_quoted(label)}}}" for label in labels),
        "",
        "splits:                           # JSON lines in this folder",
        *(
            f"  {split}: {{file: {split}.json{'' if labelled else ', labelled: false'}}}"
            for split, labelled in splits.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Return a text as a quoted YAML scalar on one line."""
    printable = text.encode("utf-8", "replace").decode("utf-8")
    return str(yaml.safe_dump(printable, default_style='"', allow_unicode=True, width=1 << 20)).strip()
