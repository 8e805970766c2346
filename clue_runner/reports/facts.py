"""The cost and the environment of a run, as rows of names and values.

In: a result, the words of a language. Out: rows of text. Knows nothing about HTML.
"""

from __future__ import annotations

from collections.abc import Callable

from clue_runner.console.text import file_size
from clue_runner.runs.results import SECONDS, RunResult

Row = tuple[str, str]


def speed_rows(result: RunResult, say: Callable[..., str]) -> list[Row]:
    """Return seconds, rates, padding and memory, as far as they were measured."""
    seconds = [f"{say(name)} {result.seconds[name]:,.1f}" for name in SECONDS if name in result.seconds]
    rates = [
        f"{say(name)} {rate:,.1f}"
        for name in ("train", "evaluate", "predict")
        if (rate := result.examples_per_second.get(name)) is not None
    ]
    rows = [(say("seconds"), " · ".join(seconds)), (say("per_second"), " · ".join(rates))]
    if result.padding_share is not None:
        rows.append((say("padding"), f"{100 * result.padding_share:.1f}%"))
    if result.peak_memory_bytes is not None:
        rows.append((say("memory"), file_size(result.peak_memory_bytes)))
    return [row for row in rows if row[1]]


def environment_rows(result: RunResult, say: Callable[..., str]) -> list[Row]:
    """Return machine, precision, sizes, hashes and versions."""
    began = result.checkpoint
    best = None
    if result.best_step is not None:
        best = say("best_at_value", epoch=result.best_epoch, step=f"{result.best_step:,}")
    rows: list[tuple[str, object]] = [
        (say("backend"), result.backend),
        (say("device"), result.device),
        (say("precision"), result.precision),
        (say("batch_size"), result.batch_size),
        (say("epochs"), result.epochs),
        (say("steps"), None if result.steps is None else f"{result.steps:,}"),
        (say("best_at"), best),
        (say("ended"), result.ended),
        (say("checkpoint"), began.path if began is not None else say("random_weights")),
    ]
    rows += [(f"{say('data_hash')} {split}", digest) for split, digest in result.data_sha256.items()]
    rows += [(say("config_hash"), result.config_sha256), (say("commit"), result.commit)]
    rows.append((say("versions"), ", ".join(f"{name} {text}" for name, text in result.versions.items())))
    for file in result.submission.files if result.submission is not None else ():
        words = (
            say("submission_ok", lines=f"{file.lines:,}")
            if file.ok
            else say("submission_bad", problem=next(iter(file.problems), ""))
        )
        rows.append((f"{say('submission')} {file.file}", words))
    return [(name, str(value)) for name, value in rows if value not in {None, ""}]
