"""A small engine: BERT with a classification head, and updates of random rows of uneven lengths.

Imported by tests and by the processes that they start; Keras is loaded when an engine is made, not before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from clue_runner.adapters.sections import load_run
from clue_runner.engines import EngineSettings, create_engine
from clue_runner.engines.rules import make_rule

Update = dict[str, np.ndarray[Any, Any]]
BACKEND: Any = os.environ.get("KERAS_BACKEND", "tensorflow")
RATE = 1e-3  # of learning
ROWS = 32
VOCABULARY, LABELS = 200, 3
USED = 150  # token ids from 1 to this one occur


def settings(optimizer: str = "adamw", weight_decay: float = 0.01, **changes: Any) -> EngineSettings:
    """AdamW as BERT is fine-tuned with it, in float32; ``beta_1`` and other settings of the rule go to it."""
    rule = make_rule(optimizer, changes, weight_decay=weight_decay)
    plain: dict[str, Any] = {
        "precision": "float32",
        "jit": BACKEND == "jax",
        "clip_norm": 1.0,
        "ema": None,
        "seed": 42,
    }
    own = rule.settings_type.model_fields
    return EngineSettings(
        rule=rule, **plain | {name: value for name, value in changes.items() if name not in own}
    )


def start(build: Callable[[], Any], wanted: EngineSettings, backend: Any = BACKEND) -> Any:
    """An engine that trains what ``build`` gives."""
    engine = create_engine(backend)
    engine.init(build, wanted)
    return engine


def make_engine(
    dropout: float = 0.0,
    *,
    backend: Any = BACKEND,
    preset: str = "test",
    vocab_size: int = VOCABULARY,
    model: Mapping[str, object] | None = None,
    **changes: Any,
) -> Any:
    """An engine of a preset.

    Args:
        dropout: rate at all three places.
        backend: tensorflow or jax.
        preset: a name in configs/models.
        vocab_size: rows of the word table.
        model: other settings of its section, such as ``{"recompute": "block"}``; of a tests' preset's two
            layers one is there where none is said, which is half the time to compile. It computes its first
            token alone: what is about attention among all tokens says ``{"num_layers": 2}``.
        changes: as in ``settings``.
    """
    from clue_runner.architectures.settings import build_backbone
    from clue_runner.models.heads.labels import ClassificationHead

    wanted = settings(**changes)
    rates = dict.fromkeys(("dropout", "attention_dropout", "head_dropout"), dropout)
    layers = {"num_layers": 1} if preset == "test" else {}
    overrides = [f"model.{name}={value}" for name, value in {**rates, **layers, **(model or {})}.items()]
    chosen = load_run(
        task="afqmc", card_settings={}, model=preset, overrides=overrides, flags={"backend": backend}
    ).model

    def build() -> Any:
        backbone = build_backbone(chosen, vocab_size, precision=wanted.precision, seed=1)
        return ClassificationHead(backbone, LABELS, dropout_rate=dropout, seed=1)

    return start(build, wanted, backend)


def updates(count: int, lengths: tuple[int, ...] = (16,), micro_batches: int = 1) -> list[Update]:
    """Updates of 32 rows, the longest possible row taken from ``lengths`` in turn."""
    generator = np.random.default_rng(0)
    shape = (micro_batches, ROWS // micro_batches)
    batches = []
    for index in range(count):
        longest = lengths[index % len(lengths)]
        length = generator.integers(2, longest + 1, shape).astype(np.int32)
        inside = np.arange(longest) < length[..., None]
        batches.append(
            {
                "token_ids": np.where(inside, generator.integers(1, USED, inside.shape), 0).astype(np.int32),
                "segment_ids": np.where(inside, generator.integers(0, 2, inside.shape), 0).astype(np.int32),
                "lengths": length,
                "label": generator.integers(0, LABELS, shape).astype(np.int32),
                "weight": np.ones(shape, np.float32),
            }
        )
    return batches


def split(update: Update, micro_batches: int, rows: int) -> Update:
    """The same examples as ``micro_batches`` of ``rows``, filled up with rows of weight 0."""
    result = {}
    for name, values in update.items():
        missing = micro_batches * rows - values.shape[1]
        padding = np.full((missing, *values.shape[2:]), 1 if name == "lengths" else 0, values.dtype)
        result[name] = np.concatenate([values[0], padding]).reshape(micro_batches, rows, *values.shape[2:])
    return result


def run(engine: Any, batches: list[Update], first: int = 0) -> list[float]:
    """Take a step with each update and return the losses."""
    reads = [
        engine.step(batch, update_index=index, learning_rate=RATE)
        for index, batch in enumerate(batches, first)
    ]
    return [read().loss for read in reads]


def largest_difference(before: dict[str, Any], after: dict[str, Any]) -> float:
    """The largest absolute difference between tensors of the same names."""
    assert before.keys() == after.keys()
    return max(float(np.abs(value.astype(np.float64) - after[name]).max()) for name, value in before.items())


def same_bits(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether two states hold the same names and numbers."""
    return before.keys() == after.keys() and all(
        np.array_equal(value, after[name]) for name, value in before.items()
    )
