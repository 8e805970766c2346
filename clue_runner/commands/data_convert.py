"""What ``clue data convert`` does: files in a foreign layout become a folder that ``--data`` takes.

In: a task, a file or folder, a new folder. Out: the converted files, all or none of them.
Knows nothing about argv, tokens or models.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clue_runner.console import Console
from clue_runner.data.cards import Card, find_card
from clue_runner.data.foreign import questions
from clue_runner.data.foreign.convert import convert_data
from clue_runner.data.new_folder import require_new, write_new_folder
from clue_runner.errors import DataError, UsageError
from clue_runner.files.names import user_path

OPTION = "--output"


@dataclass(frozen=True)
class ConvertRequest:
    """The options of ``clue data convert``, named as on the command line."""

    name: str
    source: str
    output: str
    mix: str | None = None
    seed: int = 42
    dev_share: float = 0.2


def convert(request: ConvertRequest, console: Console) -> dict[str, Any]:
    """Write the converted files, report their content, and return the result event's content.

    Raises:
        UsageError: the folder is not empty, or the task's layout has no conversion.
        DataError: files that cannot be converted; nothing is written.
        StorageError: the folder cannot be written; nothing is left behind.
    """
    card = find_card(request.name)
    output, source = user_path(request.output), user_path(request.source)
    require_new(output, OPTION)  # the source's own folder among them
    if not source.exists():
        raise DataError("no such file or folder", where=request.source, next_step="name it with --from")
    if card.layout == "passages":
        files, counts, further = _questions(request, console)
    elif request.mix is not None:
        raise UsageError("--mix is for questions with passages", where="--mix", allowed="webqa, sogouqa")
    else:
        data = convert_data(card, source, seed=request.seed, dev_share=request.dev_share)
        for note in data.notes:
            console.warn(note)
        files, further = data.files, {}
        counts = {split: {"records": count} for split, count in data.counts.items()}
    write_new_folder(output, files, OPTION)
    written = {split: str(output / card.splits[split].file) for split in counts}
    _show(card, counts, written, request.output, console)
    return {"ok": True, "task": card.name, "counts": counts, "files": written, **further}


def _questions(
    request: ConvertRequest, console: Console
) -> tuple[dict[str, bytes], dict[str, dict[str, int]], dict[str, Any]]:
    """Return files, counts and further facts of questions with passages."""
    mix = user_path(request.mix) if request.mix is not None else None
    converted = questions.convert(
        user_path(request.source), seed=request.seed, dev_share=request.dev_share, mix=mix
    )
    for note in converted.notes():
        console.warn(note)
    further = {
        "left_out": {file: read.skipped for file, read in converted.read.items()},
        "noticed": {file: read.counts for file, read in converted.read.items()},
    }
    return questions.contents(converted), converted.counts(), further


def _show(
    card: Card,
    counts: Mapping[str, Mapping[str, int]],
    written: Mapping[str, str],
    output: str,
    console: Console,
) -> None:
    """Report what was written and the next step."""
    columns = list(next(iter(counts.values())))
    rows = [[split, *figures.values(), written[split]] for split, figures in counts.items()]
    console.table(["split", *columns, "file"], rows)
    console.say(f"use it: clue train --task {shlex.quote(card.argument)} --data {shlex.quote(output)}")
