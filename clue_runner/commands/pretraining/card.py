"""The card of a pre-trained checkpoint: its texts, training time, masked-word accuracy and licence.

In: facts as plain values. Out: Markdown. Knows nothing about files or networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clue_runner.config.schema import Run
from clue_runner.runs.results import RunResult

README = "README.md"


@dataclass(frozen=True)
class Licence:
    """What the user says of the checkpoint's licence; None: nothing."""

    text: str | None

    @property
    def words(self) -> str:
        """Return it for the card; a checkpoint without one says so."""
        return self.text or "not stated: ask this checkpoint's author, and mind the licences of the texts"


def facts_of(
    run: Run, result: RunResult, texts: Sequence[tuple[str, str]], licence: Licence
) -> dict[str, Any]:
    """Return what the card is written from, as JSON has it.

    Args:
        run: the settings.
        result: of the run.
        texts: (name, sha256) of each file.
        licence: of the checkpoint.
    """
    task = run.task.model_dump(exclude={"name", "adapter"})
    return {
        "texts": [{"name": name, "sha256": digest} for name, digest in texts],
        "began_from": "random weights" if result.checkpoint is None else result.checkpoint.model_dump(),
        "steps": result.best_step,
        "rows_per_step": run.train.examples,
        "tokens_per_row": run.data.max_length,
        "masking": {**task, "split": run.model.mlm_split},
        "heldout": {"masked_accuracy": result.score, **result.scores},
        "history": [{"step": one.step, "train_loss": one.loss, **one.scores} for one in result.history],
        "seed": run.seed,
        "seconds": result.seconds,
        "precision": result.precision,
        "backend": run.backend,
        "licence": licence.words,
        "run_sha256": result.config_sha256,
        "versions": result.versions,
    }


def card_text(name: str, facts: Mapping[str, Any]) -> str:
    """Return the card."""
    began = facts["began_from"]
    origin = began if isinstance(began, str) else f"`{began['path']}` (sha256 {began['sha256']})"
    texts = _listed(facts["texts"])
    held_out = facts.get("held_out_texts", ())
    measured = f"It was measured on these, which it never saw:\n\n{_listed(held_out)}\n\n" if held_out else ""
    masking = ", ".join(f"{key} {value}" for key, value in facts["masking"].items())
    found = facts["heldout"]
    rows = "\n".join(
        f"| {one['step']:,} | {one['train_loss']:.3f} | {one['heldout_loss']:.3f} "
        f"| {one['masked_accuracy']:.2f} |"
        for one in facts["history"]
        if one["train_loss"] is not None
    )
    shape = f"{facts['rows_per_step']} rows of {facts['tokens_per_row']} tokens"
    tokens = facts["steps"] * facts["rows_per_step"] * facts["tokens_per_row"]
    guessed = f"{found['masked_accuracy']:.2f} % of the masked tokens guessed"
    return f"""# {name}

A Chinese encoder, pre-trained by guessing masked words (`clue pretrain`). Use it by

    clue train --task TASK --model FOLDER

| | |
|---|---|
| began from | {origin} |
| updates | {facts["steps"]:,} of {shape} ({tokens:,} tokens) |
| masking | {masking} |
| held-out text | {guessed}, loss {found["heldout_loss"]:.3f} |
| time | {facts["seconds"].get("train", 0.0):,.0f} s, {facts["backend"]}, {facts["precision"]} |
| seed | {facts["seed"]} |
| licence | {facts["licence"]} |

It was trained on these texts, and knows what they say and how they say it, no more:

{texts}

{measured}| updates | train loss | held-out loss | guessed, % |
|---|---|---|---|
{rows}

`pretraining.json` holds the same and more for programs.
"""


def _listed(texts: Sequence[Mapping[str, str]]) -> str:
    """Return files as a list, each with its hash."""
    return "\n".join(f"- `{one['name']}`, sha256 `{one['sha256']}`" for one in texts)
