"""Every network that a task can have, as small as it can be, and random updates that all of them take.

The width is no multiple of eight on purpose: vector units leave a rest, and where an element stands in a
tensor must not decide its bits. Some rows have weight 0 and tokens that no other row has, so that vectors are
looked up whose gradient is exactly 0.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from clue_runner.adapters.sections import load_run
from clue_runner.engines import EngineSettings
from clue_runner.engines.rules import make_rule

Update = dict[str, np.ndarray[Any, Any]]

BACKEND: Any = os.environ.get("KERAS_BACKEND", "tensorflow")
VOCAB, WIDTH, LENGTH, ROWS, KINDS = 90, 20, 8, 6, 3
UNWEIGHTED = 5  # tokens 1 to 5 stand in rows of weight 0 alone


def settings(rule: str = "adamw", weight_decay: float = 0.01, **changes: Any) -> EngineSettings:
    """What shapes the step; ``beta_1`` and other settings of the rule go to it."""
    made = make_rule(rule, changes, weight_decay=weight_decay)
    plain: dict[str, Any] = {
        "precision": "float32", "jit": BACKEND == "jax", "clip_norm": 1.0, "ema": None, "seed": 42,
    }  # fmt: skip
    own = made.settings_type.model_fields
    return EngineSettings(
        rule=made, **plain | {name: value for name, value in changes.items() if name not in own}
    )


def _backbone(precision: str) -> Any:
    from clue_runner.architectures.settings import build_backbone

    shape = {"num_layers": 1, "hidden_dim": WIDTH, "num_heads": 2, "intermediate_dim": 28}
    overrides = [f"model.{name}={value}" for name, value in shape.items()]
    model = load_run(task="afqmc", card_settings={}, model="test", overrides=overrides).model
    return build_backbone(model, VOCAB, precision=precision, seed=1)


def _classification(precision: str) -> Any:
    from clue_runner.models.heads.labels import ClassificationHead

    return ClassificationHead(_backbone(precision), KINDS, seed=1)


def _choice(precision: str) -> Any:
    from clue_runner.models.heads.choice_head import ChoiceHead

    return ChoiceHead(_backbone(precision), pooling="mean", seed=1)


def _pointer(precision: str, efficient: bool) -> Any:
    from clue_runner.models.heads.entity_heads import PointerHead

    return PointerHead(_backbone(precision), KINDS, head_size=4, efficient=efficient, seed=1)


def _tags(precision: str, chain: bool) -> Any:
    from clue_runner.models.heads.entity_heads import TagHead

    return TagHead(_backbone(precision), KINDS, chain=chain, seed=1)


def _answer(precision: str, spans: bool) -> Any:
    from clue_runner.models.heads.answer_head import BorderAnswerHead, SpanAnswerHead

    backbone = _backbone(precision)
    return SpanAnswerHead(backbone, head_size=4, seed=1) if spans else BorderAnswerHead(backbone, seed=1)


def _reader(precision: str) -> Any:
    from clue_runner.architectures.base import load_architecture
    from clue_runner.architectures.settings import make_shape

    shape = make_shape("dgcnn", hidden_dim=WIDTH)
    return load_architecture("dgcnn").build(shape, VOCAB, precision=precision, seed=1)


NETWORKS: dict[str, Callable[[str], Any]] = {
    "classification": _classification,
    "choice": _choice,
    "pointer": lambda precision: _pointer(precision, efficient=False),
    "efficient pointer": lambda precision: _pointer(precision, efficient=True),
    "tags": lambda precision: _tags(precision, chain=False),
    "chain of tags": lambda precision: _tags(precision, chain=True),
    "span answer": lambda precision: _answer(precision, spans=True),
    "border answer": lambda precision: _answer(precision, spans=False),
    "reader": _reader,
}


def random_update(number: int, micro_batches: int = 1, length: int = LENGTH) -> Update:
    """The columns of all networks at once: each takes its own."""
    draw = np.random.default_rng(number)
    shape = (micro_batches, ROWS)
    lengths = draw.integers(length - 3, length + 1, shape).astype(np.int32)
    inside = np.arange(length) < lengths[..., None]
    # few tokens an update, so that most rows of the table wait long for their next gradient
    first = 1 + UNWEIGHTED + 7 * (number % 11)
    ids = np.where(inside, draw.integers(first, first + 10, (*shape, length)), 0)
    weight = np.ones(shape, np.float32)
    weight[:, -1] = 0
    # looked up without a gradient, and before the others in the table, whose order such rows may not decide
    ids[:, -1] = np.where(inside[:, -1], 1 + number % UNWEIGHTED, 0)
    start = np.minimum(draw.integers(2, 4, shape), lengths - 2).astype(np.int32)
    span = np.stack([np.broadcast_to(draw.integers(0, KINDS, shape), shape), start, start], -1)
    filler = np.broadcast_to(np.array([-1, 0, 0]), span.shape)
    return {
        "token_ids": ids.astype(np.int32),
        "segment_ids": np.where(inside, draw.integers(0, 2, ids.shape), 0).astype(np.int32),
        "lengths": lengths,
        "weight": weight,
        "label": np.broadcast_to([0, 1, 0, 1, 0, 0], shape).astype(np.int32),
        "choice": np.broadcast_to([0, 1, 0, 1, 2, 0], shape).astype(np.int32),
        "spans": np.stack([span, filler], axis=2).astype(np.int32),
        "tag": np.where(inside, draw.integers(0, KINDS, ids.shape), 0).astype(np.int32),
        "text_start": np.full(shape, 2, np.int32),
        "answer": np.stack([start, start], axis=-1).astype(np.int32),
        "question_ids": draw.integers(first, first + 10, (*shape, 5)).astype(np.int32),
        "start_tags": (ids == first).astype(np.int32),
        "end_tags": (ids == first + 1).astype(np.int32),
    }
