"""From settings and rows to an engine that is ready to step.

In: a setup. Out: where it computes, and a started engine. This is the first place that loads a backend; every
cheaper check has been made before. Knows nothing about steps, epochs or run folders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_runner.adapters.base import Adapter, load_adapter
from clue_runner.architectures.settings import build_backbone, header, shape_of
from clue_runner.checkpoints.checkpoint import Checkpoint
from clue_runner.checkpoints.vocabularies import refuse_other_vocabulary
from clue_runner.config.scalars import rates_of
from clue_runner.config.schema import Run
from clue_runner.config.shipped import clue_home
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
from clue_runner.engines.techniques import make_techniques
from clue_runner.models.shape import BlockShape
from clue_runner.tokens.tokenizer import Tokenizer
from clue_runner.training.prepare import find_vocabulary


@dataclass(frozen=True)
class Choices:
    """Where and how a run computes; ``attention`` is None if the family has no forms of it."""

    device: Device
    precision: Choice
    jit: Choice
    attention: Choice | None = None

    def described(self) -> dict[str, str]:
        """Return device, precision and compiler as a saved state records them."""
        return {"device": self.device.text, "precision": self.precision.value, "jit": self.jit.value}


def open_tokenizer(run: Run, checkpoint: Checkpoint | None) -> Tokenizer:
    """Return the tokenizer of a run.

    Raises:
        CheckpointError: the vocabulary is missing or not the one that the checkpoint was trained with.
    """
    vocab: Path | None = None
    if checkpoint is not None and run.model.vocab == "auto":
        vocab = checkpoint.require_vocab()
    tokenizer = Tokenizer(find_vocabulary(run, vocab), run.model.lowercase)
    if checkpoint is not None:
        refuse_other_vocabulary(
            tokenizer.vocab_path,
            tokenizer.vocabulary,
            checkpoint.folder,
            checkpoint.vocab_size,
            trusted=run.model.vocab_trust,
        )
    return tokenizer


def choose(run: Run) -> Choices:
    """Return device, precision and compiler; the backend is loaded here.

    Raises:
        UsageError: the device or the attention kernel is not available, or Keras runs on another backend.
    """
    set_backend(run.backend)
    with chatter_to(clue_home() / "logs" / f"{run.backend}-start.log"):
        device = choose_device(run.backend, run.device, shared=True)
    precision = choose_precision(run.train.precision, device)
    jit = choose_jit(run.train.jit, run.backend, device)
    gpu = device.kind == "gpu"
    return Choices(device, precision, jit, attention_choice(run, gpu=gpu, precision=precision.value))


def attention_choice(run: Run, *, gpu: bool, precision: str) -> Choice | None:
    """Return the form of attention; None where the family has no such setting."""
    if not isinstance(run.model, BlockShape):
        return None
    return choose_attention(run.model, run.data.max_length, run.backend, gpu=gpu, precision=precision)


def as_chosen(run: Run, choices: Choices) -> Run:
    """Return the run with precision, compiler and form of attention as chosen, in place of ``auto``."""
    attention = {} if choices.attention is None else {"attention": choices.attention.value}
    train = run.train.model_copy(update={"precision": choices.precision.value, "jit": choices.jit.value})
    return run.model_copy(update={"model": run.model.model_copy(update=attention), "train": train})


def without_kernel(run: Run) -> Run:
    """Return the run with its form of attention chosen again.

    The kernel of the machine that trained may be missing here; other forms give the same answers.
    """
    if not isinstance(run.model, BlockShape):
        return run
    return run.model_copy(update={"model": run.model.model_copy(update={"attention": "auto"})})


def build_engine(
    adapter: Adapter, choices: Choices, *, vocab_size: int, engine: Engine | None = None
) -> Engine:
    """Return an engine with a network of random weights.

    Args:
        adapter: bound to the card and the run.
        choices: the result of ``choose``.
        vocab_size: rows of the token embeddings.
        engine: one to reuse; None: a new one.
    """
    engine = engine or create_engine(adapter.run.backend)
    build = network_builder(adapter, choices, vocab_size=vocab_size)
    engine.init(build, engine_settings(adapter.run, choices))
    return engine


def network_builder(adapter: Adapter, choices: Choices, *, vocab_size: int) -> Callable[[], Any]:
    """Return a builder of the task's network with random weights."""
    run = as_chosen(adapter.run, choices)
    bound = rebound(adapter, run)
    precision = choices.precision.value

    def build() -> Any:
        own = bound.own_network(vocab_size=vocab_size, precision=precision)
        if own is not None:
            return own
        backbone = build_backbone(
            run.model,
            vocab_size,
            precision=precision,
            seed=run.seed,
            pooler=run.model.pooling == "pooler",
        )
        return bound.build(backbone)

    return build


def rebound(adapter: Adapter, run: Run) -> Adapter:
    """Return the adapter bound to other settings, with the same tokenizer."""
    other = load_adapter(adapter.card, run)
    other.tokenizer = adapter.tokenizer
    return other


def weights_header(run: Run, vocab_size: int) -> dict[str, Any]:
    """Return a saved weight file's description of its network."""
    return header(shape_of(run.model), vocab_size, lowercase=run.model.lowercase)


def engine_settings(run: Run, choices: Choices) -> EngineSettings:
    """Return the settings that shape the compiled step."""
    train = run.train
    return EngineSettings(
        precision=choices.precision.value,
        jit=choices.jit.value == "on",
        rule=make_rule(train.optimizer, train.model_dump(), weight_decay=train.weight_decay),
        clip_norm=train.clip_norm,
        ema=train.ema,
        seed=run.seed,
        ema_warmup=train.ema_warmup,
        techniques=make_techniques(train.model_dump()),
        layer_decay=train.layer_decay,
        rates=rates_of(train.rates),
        lookahead=train.lookahead,
        lookahead_share=train.lookahead_share,
        devices=choices.device.count,
    )
