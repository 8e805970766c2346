"""What ``clue models`` says of a preset: its shape, its size, and where its weights are to be had.

In: a preset. Out: facts in types that JSON has. Knows nothing about argv, and loads no backend: the size
follows from the shape and the family's table of names.
"""

from __future__ import annotations

from typing import Any

from clue_runner.architectures.base import load_architecture, parameter_count
from clue_runner.config.defaults import default_layer
from clue_runner.config.presets import Preset, default_vocab_size


def preset_facts(preset: Preset) -> dict[str, Any]:
    """Return what is known of a preset; ``parameters`` without the word table where the data decides it."""
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
        "local": preset.local_folder.is_dir(),
        "ways_to_get": list(preset.ways_to_get()),
    }
