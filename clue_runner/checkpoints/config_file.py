"""A checkpoint's config: which family it is of, and that family's shape.

In: a config.json or a bert_config.json. Out: an ``Architecture``, its shape, the size of the vocabulary.
Knows nothing about tensors; names no family: it is the one that the file, or its name, says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from clue_runner.architectures.base import (
    Architecture,
    BaseShape,
    family_of,
    load_architecture,
    published_types,
)
from clue_runner.architectures.raw_config import RawConfig, shown
from clue_runner.checkpoints.files import read_json
from clue_runner.errors import CheckpointError

NAMED = re.compile(r"([a-z0-9]+(?:_v\d)?)_config")


@dataclass(frozen=True)
class Described:
    """What a config describes."""

    architecture: Architecture
    shape: BaseShape
    vocab_size: int


def read_config(path: Path) -> Described:
    """Return what a config file describes.

    Raises:
        CheckpointError: an unknown family, an option that it does not have, or impossible values.
        StorageError: it cannot be read now.
    """
    raw = read_json(path)
    named = NAMED.match(path.name)
    own = (name for name in published_types() if path.name.startswith(f"{name}_config"))
    said = next(own, named.group(1) if named else None)
    family = family_of(raw, said)
    if family is None:
        raise CheckpointError(
            "this family of models is not supported",
            where=str(path),
            received=f"model_type {shown(raw.get('model_type', said))}",
            allowed=", ".join(published_types()),
            next_step="use a checkpoint of a supported family, which its config names as model_type",
        )
    architecture = load_architecture(family)
    if said in architecture.model_types:  # a file that is named after its family need not say it again
        raw = {"model_type": said, **raw}
    config = RawConfig(raw, str(path))
    shape = architecture.shape.from_config(config)
    return Described(architecture.table_of(shape), shape, config.vocab_size)
