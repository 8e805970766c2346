"""A run as a model card: Markdown with YAML front matter, as model hubs read it (README.md).

In: a result, the task's card, the settings. Out: Markdown. Contains no record of the data.
Source of the front matter's keys: the metadata specification of Hugging Face's model cards (model-index).
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import yaml

from clue_runner.data.card import Card
from clue_runner.data.cards import find_card
from clue_runner.errors import CheckpointError
from clue_runner.files.atomic import make_folder, write_atomic
from clue_runner.runs.folder import RunFolder
from clue_runner.runs.results import RunResult

FILE = "README.md"
SETTINGS_SHOWN = ("data.max_length", "train.batch_size", "train.epochs", "train.learning_rate", "seed")


def write_card(folder: RunFolder, result: RunResult, output: Path | None = None) -> Path:
    """Write the card of a finished run; return its path.

    Raises:
        CheckpointError: the run failed, or its files are damaged.
        StorageError: the disk refused.
    """
    if not result.ok:
        raise CheckpointError("a run that failed has no model card", where=str(folder.path))
    values = folder.values() or {}
    card = find_card(str(values.get("task.name", result.task)))
    path = output or folder.path / FILE
    make_folder(path.absolute().parent)
    write_atomic(path, model_card(folder, result, card, values).encode())
    return path


def model_card(folder: RunFolder, result: RunResult, card: Card, values: dict[str, object]) -> str:
    """Return the card's text."""
    score, (low, high), chance, examples = result.scored
    head = yaml.safe_dump(_head(result, card), allow_unicode=True, sort_keys=False)
    began = result.checkpoint
    lines = [
        f"---\n{head}---",
        f"# {result.model} on {card.title.en} ({card.name})",
        f"Fine-tuned with clue-runner from {began.path if began else 'random weights'}. {card.title.zh}",
        "## Score",
        f"| split | {result.metric} | 95 % interval | chance | examples |",
        "|---|---|---|---|---|",
        f"| {result.split} | {score:.2f} | {low:.2f} to {high:.2f} | {chance:.2f} | {examples:,} |",
        "One seed, with the epoch chosen by this same split: expect a little less elsewhere."
        if result.data_complete
        else "**Not comparable with published scores**: a sample, a part, or not the card's data.",
        "## Training",
        *(f"- `{key}`: {values[key]}" for key in SETTINGS_SHOWN if key in values),
        f"- {result.steps:,} updates, best at {result.best_step:,} ({result.ended})",
        f"- {result.backend}, {result.precision}, {result.device}",
        f"- data, SHA-256: {', '.join(f'{split} `{one[:12]}`' for split, one in result.data_sha256.items())}",
        "## Limits and licence of the data",
        card.licence or "The card of the task names no licence.",
        *([f"Paper: {card.paper}"] if card.paper else []),
        "## Repeat",
        f"```\n{shlex.join(['clue', 'train', '--config', str(folder.settings)])}\n```",
    ]
    return "\n".join(_spaced(lines)) + "\n"


def _spaced(lines: list[str]) -> list[str]:
    """Return the lines with an empty one between blocks; table rows and list items stay together."""
    found: list[str] = []
    for line in lines:
        joined = found and line[:1] in {"|", "-"} and found[-1][:1] == line[:1] and not line.startswith("---")
        if found and not joined:
            found.append("")
        found.append(line)
    return found


def _head(result: RunResult, card: Card) -> dict[str, Any]:
    """Return the front matter, which a hub indexes."""
    score = result.scored.score
    metric = {"type": result.metric, "value": round(score, 2), "name": f"{result.metric} ({result.split})"}
    dataset = {"name": f"CLUE {card.name}", "type": card.name, "split": result.split}
    task = {"type": "text-classification"} if card.labels and card.template else {"type": "other"}
    entry = {"task": task, "dataset": dataset, "metrics": [metric]}
    return {
        "language": ["zh"],
        "library_name": "keras",
        "tags": ["clue", card.name, "clue-runner"],
        "model-index": [{"name": f"{result.model}-{card.name}", "results": [entry]}],
    }
