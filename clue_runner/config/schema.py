"""The settings that every run has: type, range and meaning of each.

In: a nested mapping merged from all layers. Out: one frozen ``Run``.
Defaults of these settings are in ``configs/default.yaml``. A kind of task, a family of models, an update
rule and techniques add their own to ``task``, ``model`` and ``train`` (see ``sections``), declared beside
them with their defaults.
Knows nothing about YAML, files, kinds of tasks, families, rules or tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from clue_runner.errors import Problem

NUMBER = r"\d+(\.\d*)?([eE]-?\d+)?"
POINTS = rf"^{NUMBER}:{NUMBER}(,\s*{NUMBER}:{NUMBER})+$"
RATES = rf"^[^=,]+={NUMBER}(,\s*[^=,]+={NUMBER})*$"
Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


def position_limit(positions: str, max_positions: int) -> int:
    """Return the length of the longest row that a table of ``max_positions`` vectors covers."""
    return max_positions**2 if positions == "hierarchical" else max_positions


class IsPath:
    """Marks a setting that names a file or folder: it becomes absolute when the layers are merged."""


class Section(BaseModel):
    """Base of all sections: frozen, unknown keys refused, no silent conversions from text.

    ``FORMER`` maps a setting to its dotted key in an earlier version, which is still read.
    """

    FORMER: ClassVar[Mapping[str, str]] = {}

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def cross_checks(cls, values: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[Problem]:
        """Yield the problems with values that are valid on their own but not together.

        Args:
            values: all settings of the run by dotted key.
            origins: the layer that each came from, for messages.
        """
        yield from ()


class TaskSettings(Section):
    """Which task a run is about; the settings of its kind are added by the adapter."""

    name: str = Field(description="name of a task card, or its folder")
    adapter: str = Field(description="kind of task, as named in its card")


class DataSettings(Section):
    """Which records are used and how long a row may be."""

    max_length: Positive = Field(description="most tokens in one row, including [CLS] and [SEP]")
    limit_train: Positive | None = Field(description="use the first N usable train records; null: all")
    limit_dev: Positive | None = Field(description="use the first N usable dev records; null: all")
    fold: Annotated[str, Field(pattern=r"^\d+/[1-9]\d*$", examples=["0/5", "4/5"])] | None = Field(
        description="leave out part i of k equal parts of train, 0/5 to 4/5; null: none"
    )
    cache: bool = Field(description="keep encoded rows in $CLUE_HOME/cache/rows")


class ModelSettings(Section):
    """The backbone: where its weights come from and how it is used; its shape is added by the family."""

    name: str = Field(description="a preset in configs/models, or a checkpoint folder")
    family: str = Field(description="kind of network; the task's adapter must know it")
    checkpoint: Annotated[str | None, IsPath()] = Field(
        description="folder of a Google or Hugging Face checkpoint; null: none"
    )
    init: Literal["checkpoint", "random"] = Field(description="where the weights come from")
    vocab: Annotated[str, IsPath()] = Field(
        description="auto (the checkpoint's, else the shipped zh.txt) or a vocab.txt"
    )
    vocab_trust: bool = Field(description="accept a vocabulary that differs from the checkpoint's own")
    keep_tokens: Annotated[str | None, IsPath()] = Field(
        description="pieces of the vocabulary to keep: auto (used by the run's texts), simplified (that some "
        "text can use), or a file with one per line; null: all"
    )
    compound_tokens: Annotated[str | None, IsPath()] = Field(
        description="file of words that become one piece each, the mean of their pieces' vectors; null: none"
    )
    ignore: str | None = Field(
        description="tensors of the checkpoint to leave out, separated by commas; a name, or a prefix "
        "that ends with . or /; null: none"
    )
    mlm_correction: Share | None = Field(
        description="token embeddings become their mean under this share of masking, e.g. 0.15; null: off"
    )
    mlm_split: str = Field(
        pattern=rf"^{NUMBER}/{NUMBER}/{NUMBER}$",
        examples=["0.8/0.1/0.1", "1/0/0"],
        description="fractions of the masked tokens: [MASK], unchanged, random token",
    )
    lowercase: bool = Field(description="lower-case and strip accents before WordPiece")
    head_dropout: Share = Field(description="dropout before the task's output layer")
    pooling: Literal["pooler", "first", "mean", "max"] = Field(
        description="a text's vector; pooler: dense+tanh on [CLS]"
    )
    segments: Literal["real", "zero"] = Field(
        description="segment ids of a pair: 0/1, or all 0 as bert4keras does"
    )
    recompute: str = Field(
        pattern=r"^(none|sublayer|block|segment:[1-9]\d*)$",
        examples=["none", "sublayer", "block", "segment:2"],
        description="what the backward pass recomputes instead of keeping: none, sublayer, block "
        "or segment:k (k blocks)",
    )
    recompute_policy: Literal["nothing", "dots", "everything"] = Field(
        description="JAX: what a recomputed part keeps anyway; dots: products with weights"
    )


class TrainSettings(Section):
    """How long, how fast and by which rule to train; the update rule and techniques add their own."""

    epochs: Positive = Field(description="passes over the train split")
    max_steps: Positive | None = Field(description="stop after N updates; null: epochs decide")
    batch_size: Positive | Literal["auto"] = Field(
        description="examples in one update; auto: as many as fit into memory at once, 256 at most"
    )
    accumulate: Positive = Field(description="micro-batches per update, at least")
    token_budget: Positive = Field(
        description="padded tokens in one micro-batch at most; more micro-batches if exceeded"
    )
    evaluate_tokens: Positive = Field(description="padded tokens in one evaluation or prediction batch")
    evaluate_steps: Positive | None = Field(
        description="evaluate on dev every N updates; null: at the end of each epoch"
    )
    learning_rate: Annotated[float, Field(gt=0)] = Field(description="peak learning rate")
    optimizer: str = Field(description="update rule: adamw, radam, ...")
    schedule: Literal["linear", "cosine", "constant", "inverse_sqrt", "piecewise"] = Field(
        description="learning rate after warm-up; inverse_sqrt: peak times the root of warm-up over update"
    )
    schedule_points: str = Field(
        pattern=POINTS,
        examples=["0:1,1:0", "0:1,0.5:0.3,1:0.1"],
        description="piecewise: fraction of the run after warm-up:factor of the rate, linear in between",
    )
    warmup_ratio: Share = Field(description="fraction of all updates spent raising the learning rate from 0")
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        description="decoupled weight decay; none on biases and norms"
    )
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = Field(
        description="factor of the learning rate from one level of the network to the one below; null: off"
    )
    rates: (
        Annotated[str, Field(pattern=RATES, examples=["head/*=10", "*/embeddings/*=0.1,head/*=10"])] | None
    ) = Field(
        description="learning-rate factors by weight name, pattern=factor, separated by commas; null: none",
    )
    clip_norm: Annotated[float, Field(gt=0)] | None = Field(
        description="clip gradients to this global norm; null: off"
    )
    ema: Share | None = Field(description="decay of averaged weights, used for evaluation; null: off")
    ema_warmup: bool = Field(
        description="start the average with a short memory: decay (1 + step) / (10 + step) at most"
    )
    lookahead: Annotated[int, Field(ge=2)] | None = Field(
        description="every N updates, pull weights back towards those of N updates before; null: off"
    )
    lookahead_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="lookahead: fraction of the change since then that is kept"
    )
    drop_learning_rate: Annotated[float, Field(gt=0)] | None = Field(
        description="return to the best weights once and continue with this rate; null: never"
    )
    drop_epoch: Positive = Field(description="drop after this epoch at the latest")
    drop_after: Positive = Field(
        description="from this epoch on, drop when the score stalls or falls below drop_below"
    )
    drop_patience: Positive = Field(description="evaluations without a better score before the drop")
    drop_below: Annotated[float, Field(ge=0, le=100)] = Field(
        description="drop when the score in percent is below this"
    )
    drop_tokens: Share = Field(
        description="DropToken: fraction of tokens left out of a training row; others keep their positions"
    )
    patience: Positive | None = Field(
        description="stop after N evaluations without a better score; null: never"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        description="auto: bfloat16 where the hardware supports it"
    )
    jit: Literal["auto", "on", "off"] = Field(
        description="XLA; auto: on with JAX and on a GPU, off for TensorFlow on a CPU"
    )
    lengths: Literal["auto", "exact", "buckets"] = Field(
        description="padded length of a batch; auto: buckets when XLA compiles"
    )
    save_minutes: Annotated[float, Field(gt=0)] = Field(description="save the state every N minutes")
    save_steps: Positive | None = Field(description="also save the state every N updates; null: off")

    @property
    def examples(self) -> int:
        """Return ``batch_size`` as a number.

        Raises:
            ValueError: it is still ``auto``; a run resolves it before anything reads it.
        """
        if self.batch_size == "auto":
            raise ValueError("train.batch_size is auto and not resolved yet")
        return self.batch_size


class OutputSettings(Section):
    """What is written beside metrics and submission."""

    probabilities: bool = Field(description="write each prediction's probability")
    keep_checkpoints: Annotated[int, Field(ge=2)] = Field(description="saved states to keep")


class Run(Section):
    """One run, fully resolved; what ``run.yaml`` holds and what decides whether a run may resume."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(description="seed of weights, data order and dropout")
    backend: Literal["tensorflow", "jax"] = Field(description="library that computes")
    device: str = Field(
        pattern=r"^(auto|cpu|gpu|gpu:\d+)$",
        examples=["auto", "cpu", "gpu", "gpu:0"],
        description="auto, cpu, gpu or gpu:N",
    )
    task: TaskSettings
    data: DataSettings
    model: ModelSettings
    train: TrainSettings
    output: OutputSettings
