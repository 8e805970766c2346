"""From settings and rows to an engine that is ready to step.

In: a run, its material, a pretrained checkpoint where there is one. Out: a started engine, and on what it
runs. The first line here that loads a backend; every cheaper check has been made before.
Knows nothing about steps, epochs or run folders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clue_runner.adapters.base import BERT, Adapter, own_network
from clue_runner.checkpoints.checkpoint import Checkpoint
from clue_runner.checkpoints.importer import load_into, read_checkpoint
from clue_runner.config.schema import Run
from clue_runner.config.shipped import clue_home
from clue_runner.data.cards import Card
from clue_runner.engines import Engine, EngineSettings, create_engine
from clue_runner.engines.attention import choose_attention
from clue_runner.engines.devices import (
    Choice,
    Device,
    choose_device,
    choose_jit,
    choose_precision,
    set_backend,
)
from clue_runner.engines.quiet import chatter_to
from clue_runner.engines.rules import make_rule
from clue_runner.errors import CheckpointError
from clue_runner.tokens.tokenizer import Tokenizer
from clue_runner.training.prepare import find_vocabulary

# What a saved backbone must say about itself so that another run can begin from it.
SHAPE_FIELDS = (
    "num_layers",
    "hidden_dim",
    "num_heads",
    "intermediate_dim",
    "max_positions",
    "num_segments",
    "activation",
    "layer_norm_epsilon",
    "dropout",
    "attention_dropout",
    "lowercase",
    "positions",
    "positions_alpha",
)


@dataclass(frozen=True)
class Choices:
    """On what a run computes, and how."""

    device: Device
    precision: Choice
    jit: Choice
    attention: Choice = Choice("auto", "by the length of each batch")

    def described(self) -> dict[str, str]:
        """Return device, precision and compiler as a saved state records them."""
        return {"device": self.device.text, "precision": self.precision.value, "jit": self.jit.value}


@dataclass
class _Slot:
    """A weight that a checkpoint may assign."""

    value: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the weight's shape."""
        return self.value.shape

    def assign(self, value: NDArray[Any]) -> None:
        """Take the checkpoint's values in the weight's own type."""
        self.value = np.asarray(value, dtype=self.value.dtype)


def open_checkpoint(run: Run) -> Checkpoint | None:
    """Return the pretrained checkpoint of a run, every tensor accounted for; None for random weights.

    Raises:
        CheckpointError: it cannot be used.
    """
    if run.model.init == "random" or run.model.checkpoint is None:
        return None
    return read_checkpoint(run.model.checkpoint)


def open_tokenizer(run: Run, checkpoint: Checkpoint | None) -> Tokenizer:
    """Return the tokenizer of a run.

    Raises:
        CheckpointError: the vocabulary is missing or longer than the checkpoint's word table.
    """
    vocab: Path | None = None
    if checkpoint is not None and run.model.vocab == "auto":
        vocab = checkpoint.require_vocab()
    tokenizer = Tokenizer(find_vocabulary(run, vocab), run.model.lowercase)
    if checkpoint is not None and tokenizer.vocab_size > checkpoint.vocab_size:
        raise CheckpointError(
            "the vocabulary is longer than the checkpoint's word table",
            where=str(tokenizer.vocab_path),
            received=f"{tokenizer.vocab_size} lines",
            allowed=f"up to {checkpoint.vocab_size}",
            next_step="use the vocab.txt that belongs to the checkpoint",
        )
    return tokenizer


def choose(run: Run) -> Choices:
    """Return device, precision and compiler; the backend is loaded here.

    Raises:
        UsageError: the device or the attention kernel is not there, or Keras runs on another backend.
    """
    set_backend(run.backend)
    with chatter_to(clue_home() / "logs" / f"{run.backend}-start.log"):
        device = choose_device(run.backend, run.device)
    precision = choose_precision(run.train.precision, device)
    found = Choices(device, precision, choose_jit(run.train.jit, run.backend, device))
    if run.model.family != BERT:
        return found
    attention = choose_attention(
        run.model,
        run.data.max_length,
        run.backend,
        gpu=device.kind == "gpu",
        precision=precision.value,
    )
    return replace(found, attention=attention)


def start_engine(
    run: Run,
    card: Card,
    adapter: Adapter,
    choices: Choices,
    *,
    vocab_size: int,
    engine: Engine | None = None,
) -> Engine:
    """Return an engine with a network of random weights.

    Args:
        run: the settings.
        card: the task.
        adapter: the task's adapter.
        choices: what ``choose`` said.
        vocab_size: rows of the word table.
        engine: one to start again; None: a new one.
    """
    model = run.model.model_copy(update={"attention": choices.attention.value})
    chosen = run.model_copy(update={"model": model})
    build = network_builder(chosen, card, adapter, choices.precision.value, vocab_size=vocab_size)
    engine = engine or create_engine(run.backend)
    engine.init(build, engine_settings(run, choices))
    return engine


def network_builder(
    run: Run, card: Card, adapter: Adapter, precision: str, *, vocab_size: int
) -> Callable[[], Any]:
    """Return what builds the task's network with random weights."""

    def build() -> Any:
        """Return the network."""
        own = own_network(adapter)
        if own is not None:
            return own.build(None, card, run, vocab_size=vocab_size, precision=precision)
        from clue_runner.models.build import build_backbone

        backbone = build_backbone(
            run.model,
            vocab_size,
            dtype_policy=precision,
            seed=run.seed,
            pooler=run.model.pooling == "pooler",
        )
        return adapter.build(backbone, card, run)

    return build


def load_pretrained(engine: Engine, checkpoint: Checkpoint) -> list[str]:
    """Put a checkpoint's weights into a network; return the names that keep their random values."""
    slots = {name: _Slot(value) for name, value in engine.get_weights(averaged=False).items()}
    kept = load_into(slots, checkpoint)
    engine.set_weights({name: slot.value for name, slot in slots.items()})
    return kept


def weights_header(run: Run, vocab_size: int) -> dict[str, Any]:
    """Return what a saved weight file says about the backbone in it."""
    settings = run.model.model_dump(mode="json")
    return {"model": {name: settings[name] for name in SHAPE_FIELDS}, "vocab_size": vocab_size}


def engine_settings(run: Run, choices: Choices) -> EngineSettings:
    """Return what shapes the compiled step."""
    train = run.train
    return EngineSettings(
        precision=choices.precision.value,
        jit=choices.jit.value == "on",
        rule=make_rule(train.optimizer, train.model_dump(), weight_decay=train.weight_decay),
        clip_norm=train.clip_norm,
        ema=train.ema,
        seed=run.seed,
        ema_warmup=train.ema_warmup,
    )
