"""What ``clue models`` reports about a preset, and how ``clue models get`` downloads it.

In: a preset, or a name on the hub. Out: facts as JSON types. Knows nothing about argv, and loads no
backend: the size follows from the shape and the family's table of names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clue_runner.architectures.base import load_architecture, parameter_count
from clue_runner.checkpoints.hub.fetch import fetch
from clue_runner.checkpoints.hub.pins import SCHEME, parse_name
from clue_runner.config.defaults import default_layer
from clue_runner.config.presets import Preset, default_vocab_size, model_preset
from clue_runner.console import Console
from clue_runner.data.cards import all_cards
from clue_runner.errors import CheckpointError, Problem, UsageError
from clue_runner.files.atomic import disk_faults


def preset_facts(preset: Preset) -> dict[str, Any]:
    """Return a preset's facts; ``parameters`` excludes the token embeddings where the data sizes them."""
    family = preset.family or str(default_layer().values["model.family"])
    architecture = load_architecture(family)
    own = {key: value for key, value in preset.shape().items() if key in architecture.shape.model_fields}
    shape = architecture.shape.model_validate(own)
    vocab_size = preset.vocab_size or (default_vocab_size() if architecture.shape.NAMELESS else 0)
    return {
        "name": preset.name,
        "title": preset.title,
        "family": family,
        "kind": preset.kind,
        "parameters": parameter_count(shape, vocab_size),
        "vocab_size": vocab_size or None,
        **{key: value for key, value in shape.model_dump().items() if isinstance(value, int)},
        "learning_rate": preset.layer.values.get("train.learning_rate"),
        "huggingface": preset.huggingface,
        "github": preset.github,
        "licence": preset.licence,
        "scores": published_scores(preset),
        "local": preset.local_folder.is_dir(),
        "ways_to_get": list(preset.ways_to_get()),
    }


def published_scores(preset: Preset) -> list[dict[str, Any]]:
    """Return a preset's published scores from the task cards: task, split, score, source."""
    return [
        {"task": card.name, **score.model_dump(exclude={"model"})}
        for card in all_cards().values()
        for score in card.published
        if preset.published_as is not None and score.model == preset.published_as
    ]


def get_model(text: str, console: Console, *, update: bool) -> dict[str, Any]:
    """Download a model from the hub, link a preset's place to it, and return the result event's content.

    Args:
        text: a preset's name, or ``hf:OWNER/NAME[@REVISION]``.
        console: where to print the files' place.
        update: use the hub's current version in place of the pinned one.

    Raises:
        UsageError: no such preset, or one that is not published on the hub.
        CheckpointError: as ``fetch``; or something else occupies the place of the preset's checkpoint.
        StorageError: the disk refused.
    """
    preset = None if text.startswith(SCHEME) else model_preset(text)
    if preset is not None and preset.huggingface is None:
        raise UsageError(
            f"{text} is not published on the hub",
            problems=[Problem(way) for way in preset.ways_to_get()],
            next_step=f"use it as it is: clue train --task afqmc --model {text}",
        )
    name = parse_name(f"{SCHEME}{preset.huggingface}" if preset is not None else text)
    pin = fetch(name, update=update)
    if preset is not None:
        _put_in_place(preset.local_folder, pin.folder)
    size = sum((pin.folder / file).stat().st_size for file in pin.files)
    console.say(f"{name} is commit {pin.commit[:12]}: {len(pin.files)} files, {size / 1e6:,.1f} MB")
    console.say(f"  in {pin.folder}")
    console.say(f"  pinned in {name.pin_path}")
    console.say(f"use it: clue train --task afqmc --model {text}")
    return {
        "ok": True,
        "model": str(name),
        "commit": pin.commit,
        "folder": str(pin.folder),
        "files": dict(pin.files),
    }


def _put_in_place(link: Path, folder: Path) -> None:
    """Link a preset's place to the files, unless the user has put something else there."""
    if link.is_symlink() or not link.exists():
        with disk_faults(link):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(folder, target_is_directory=True)
    elif link.resolve() != folder.resolve():
        raise CheckpointError(
            "a checkpoint of your own occupies the place of the preset's",
            where=str(link),
            next_step="move it away and run the same command again, or keep using it",
        )
