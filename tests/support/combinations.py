"""One technique or two on the smallest network, in one way of computing: what comes of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from clue_runner.adapters.sections import load_run
from clue_runner.engines import EngineSettings, create_engine
from clue_runner.engines.rules import make_rule
from clue_runner.engines.techniques import make_techniques
from clue_runner.errors import UsageError

# What each is set to. The last ones are no files of techniques, and are combined with them all the same.
TECHNIQUES: dict[str, Mapping[str, Any]] = {
    "fgm": {"fgm": 0.5},
    "gradient_penalty": {"gradient_penalty": 0.5},
    "r_drop": {"r_drop": 4.0},
    "label_smoothing": {"label_smoothing": 0.1},
    "focal": {"focal": 2.0},
    "multi_sample_dropout": {"multi_sample_dropout": 3},
    "drop_tokens": {"drop_tokens": 0.3},
    "lookahead": {"lookahead": 2},
    "ema": {"ema": 0.9},
}
MODES = ("accumulation", "recomputation", "bf16")
ROWS, LENGTH, VOCABULARY, LABELS = 4, 8, 40, 3


class Outcome(NamedTuple):
    """``same``: the third update has the same bits after a stop; ``refused``, ``failed``; and the reason."""

    kind: str
    text: str


def engine_settings(values: Mapping[str, Any], precision: str, jit: bool | None) -> EngineSettings:
    """AdamW with techniques."""
    return EngineSettings(
        precision=precision,
        jit=os.environ.get("KERAS_BACKEND") == "jax" if jit is None else jit,
        rule=make_rule("adamw", {}, weight_decay=0.01),
        clip_norm=1.0,
        ema=values.get("ema"),
        seed=42,
        techniques=make_techniques(values),
        lookahead=values.get("lookahead"),
    )


def engine_of(values: Mapping[str, Any], mode: str, jit: bool | None = None) -> Any:
    """An engine of a classifier with dropout."""
    from clue_runner.architectures.settings import build_backbone
    from clue_runner.models.heads.labels import ClassificationHead

    precision = "bfloat16" if mode == "bf16" else "float32"
    shape = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 12}
    shape["recompute"] = "sublayer" if mode == "recomputation" else "none"  # type: ignore[assignment]
    overrides = [f"model.{name}={value}" for name, value in shape.items()]
    model = load_run(task="afqmc", card_settings={}, model="test", overrides=overrides).model

    def build() -> Any:
        backbone = build_backbone(model, VOCABULARY, precision=precision, seed=1)
        return ClassificationHead(backbone, LABELS, drop_share=values.get("drop_tokens", 0.0), seed=1)

    engine = create_engine(os.environ.get("KERAS_BACKEND", "tensorflow"))
    engine.init(build, engine_settings(values, precision, jit))
    return engine


def update(number: int, micro_batches: int) -> dict[str, Any]:
    """Random rows, the last of each micro-batch padding."""
    draw = np.random.default_rng(number)
    shape = (micro_batches, ROWS // micro_batches + 1)
    lengths = draw.integers(4, LENGTH + 1, shape).astype(np.int32)
    inside = np.arange(LENGTH) < lengths[..., None]
    weight = np.ones(shape, np.float32)
    weight[:, -1] = 0
    return {
        "token_ids": np.where(inside, draw.integers(1, VOCABULARY, inside.shape), 0).astype(np.int32),
        "segment_ids": np.zeros(inside.shape, np.int32),
        "lengths": lengths,
        "label": draw.integers(0, LABELS, shape).astype(np.int32),
        "weight": weight,
    }


def outcome_of(names: Sequence[str], mode: str, jit: bool | None = None) -> Outcome:
    """Take three updates, go back to the state after the second, and take the third again."""
    values = {key: value for name in names for key, value in TECHNIQUES[name].items()}
    micro_batches = 2 if mode == "accumulation" else 1
    try:
        engine = engine_of(values, mode, jit)
        losses, states = [], []
        for number in range(3):
            read = engine.step(update(number, micro_batches), update_index=number, learning_rate=1e-2)
            result = read()
            losses.append(result.loss)
            states.append(engine.get_state())
            if not result.finite:
                return Outcome("failed", f"loss {result.loss}, norm {result.gradient_norm}")
        engine.set_state(states[1])
        engine.step(update(2, micro_batches), update_index=2, learning_rate=1e-2)()
    except UsageError as refused:
        return Outcome("refused", str(refused).split("\n")[0])
    except Exception as error:  # what a combination may raise is what is looked for
        return Outcome("failed", f"{type(error).__name__}: {str(error)[:200]}")
    again = engine.get_state()
    wrong = [name for name, value in states[2].items() if value.tobytes() != again[name].tobytes()]
    if wrong:
        return Outcome("failed", f"other bits after a stop: {', '.join(wrong[:3])}")
    moved = np.abs(states[2]["head/output/kernel"] - states[0]["head/output/kernel"]).max()
    return Outcome("same", f"losses {', '.join(f'{loss:.4f}' for loss in losses)}, moved {moved:.4f}")
