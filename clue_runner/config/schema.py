"""The shape of one run's configuration: every setting, its type, its range, its meaning.

In: a nested mapping merged from all layers. Out: one frozen ``Run``.
Knows nothing about YAML, files, tasks or tensors. Defaults stand in ``configs/default.yaml`` alone.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
HALF_MARGIN = 1e-3  # nearer to 0.5 than this, two places differ by less than bfloat16 can hold


def _not_half(value: float) -> float:
    """Refuse 0.5, at which two places share one vector."""
    if abs(value - 0.5) < HALF_MARGIN:
        raise ValueError("at 0.5 the positions (i, j) and (j, i) are the same")
    return value


def position_limit(positions: str, max_positions: int) -> int:
    """Return the longest row that a table of ``max_positions`` vectors reaches."""
    return max_positions**2 if positions == "hierarchical" else max_positions


class Section(BaseModel):
    """Base of all sections: frozen, unknown keys refused, no silent conversions from text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataSettings(Section):
    """Which records are used and how long a row may be."""

    max_length: Positive = Field(description="tokens in a row, [CLS] and [SEP] counted")
    limit_train: Positive | None = Field(description="use the first N usable train records; null: all")
    limit_dev: Positive | None = Field(description="use the first N usable dev records; null: all")
    window_stride: Positive = Field(
        description="reading: tokens from one window's begin to the next one's; at most half a window"
    )
    max_question_length: Positive = Field(description="reading: tokens of a question, the rest is cut")
    max_answer_length: Positive | None = Field(
        description="reading: tokens in a predicted answer at most; null: any"
    )
    simplify: bool = Field(
        description="map traditional characters to simplified ones where the card's texts are traditional"
    )
    passage_crop: Positive | None = Field(
        description="DGCNN: characters of a passage in training at most, cut anew each epoch; null: the whole"
    )
    negative_share: Share = Field(
        description="DGCNN: share of training draws that are a passage of another question"
    )
    min_count: Positive = Field(description="DGCNN: characters that train holds less often are unknown")
    cache: bool = Field(description="keep encoded rows in $CLUE_HOME/cache/rows")


class ModelSettings(Section):
    """The backbone: its shape, where its weights come from, and its options."""

    name: str = Field(description="a preset in configs/models, or a checkpoint folder")
    family: Literal["bert", "dgcnn"] = Field(description="kind of network; the task's adapter must know it")
    checkpoint: str | None = Field(description="folder of a Google or Hugging Face checkpoint; null: none")
    init: Literal["checkpoint", "random"] = Field(description="where the weights come from")
    vocab: str = Field(description="auto (the checkpoint's, else the shipped zh.txt) or a vocab.txt")
    vocab_trust: bool = Field(description="take a vocabulary that differs from the checkpoint's own")
    lowercase: bool = Field(description="lower-case and strip accents before WordPiece")
    num_layers: Positive = Field(description="transformer blocks")
    hidden_dim: Positive = Field(description="width of a token's vector")
    num_heads: Positive = Field(description="attention heads; must divide hidden_dim")
    intermediate_dim: Positive = Field(description="width of the feed-forward layer")
    max_positions: Positive = Field(description="rows of the learned position table")
    num_segments: Positive = Field(description="rows of the segment table")
    activation: Literal["gelu", "gelu_tanh", "relu"] = Field(
        description="feed-forward activation; gelu is the erf form"
    )
    layer_norm_epsilon: Annotated[float, Field(gt=0)] = Field(
        description="added to the variance in layer norm"
    )
    dropout: Share = Field(description="dropout after embeddings, attention and feed-forward")
    attention_dropout: Share = Field(description="dropout on attention probabilities")
    head_dropout: Share = Field(description="dropout before the task's output layer")
    pooling: Literal["pooler", "first", "mean", "max"] = Field(
        description="what a text's vector is; pooler: dense+tanh on [CLS]"
    )
    entity_head: Literal["globalpointer", "efficient", "crf", "softmax"] = Field(
        description="entities: pointers to all spans, their efficient form, a chain of tags, or single tags"
    )
    head_size: Annotated[int, Field(gt=0, multiple_of=2)] = Field(
        description="width of the vectors whose products score spans"
    )
    answer_head: Literal["globalpointer", "start_end"] = Field(
        description="reading: one score a span, or one for its first and one for its last token"
    )
    choice_decoding: Literal["assignment", "greedy", "independent"] = Field(
        description="ChID: candidates of all blanks of a record together, best first, or each blank alone"
    )
    word_vectors: str | None = Field(
        description="DGCNN: word2vec file, text or binary, joined to the characters; null: characters alone"
    )
    answer_threshold: Share = Field(
        description="DGCNN: begin and end of an answer must both be more probable"
    )
    answer_vote: Literal["squares", "sum", "max"] = Field(
        description="DGCNN: how passages vote for an answer; squares: sum(s^2) / (1 + sum(s))"
    )
    segments: Literal["real", "zero"] = Field(
        description="segment ids of a pair: 0/1, or all 0 as bert4keras does"
    )
    recompute: str = Field(
        pattern=r"^(none|sublayer|block|segment:[1-9]\d*)$",
        examples=["none", "sublayer", "block", "segment:2"],
        description="what the backward pass computes again instead of keeping: none, sublayer, block "
        "or segment:k (k blocks)",
    )
    recompute_policy: Literal["nothing", "dots", "everything"] = Field(
        description="JAX: what a recomputed part keeps all the same; dots: products with weights"
    )
    positions: Literal["learned", "hierarchical"] = Field(
        description="learned: one vector a position; hierarchical: n vectors make n*n positions"
    )
    positions_alpha: Annotated[float, Field(gt=0, lt=1), AfterValidator(_not_half)] = Field(
        description="hierarchical positions: share of the part that counts blocks; not 0.5",
        json_schema_extra={"not": {"const": 0.5}},
    )
    attention: Literal["auto", "einsum", "chunked", "fused"] = Field(
        description="how attention is computed: whole scores, a few queries at a time, or one GPU kernel"
    )

    @property
    def position_limit(self) -> int:
        """Return the longest row that the positions reach."""
        return position_limit(self.positions, self.max_positions)


class TrainSettings(Section):
    """How long, how fast and with what the weights move."""

    epochs: Positive = Field(description="passes over the train split")
    max_steps: Positive | None = Field(description="stop after N updates; null: epochs decide")
    batch_size: Positive | Literal["auto"] = Field(
        description="examples in one update; auto: as many as memory holds at once, 256 at most"
    )
    accumulate: Positive = Field(description="micro-batches in one update, at least")
    token_budget: Positive = Field(
        description="padded tokens in one micro-batch at most; more micro-batches if exceeded"
    )
    evaluate_tokens: Positive = Field(description="padded tokens in one evaluation or prediction batch")
    evaluate_steps: Positive | None = Field(
        description="evaluate on dev every N updates; null: at each epoch's end"
    )
    learning_rate: Annotated[float, Field(gt=0)] = Field(description="peak learning rate")
    optimizer: Literal["adamw", "radam"] = Field(
        description="update rule; radam: Adam without warm-up, its early steps rectified"
    )
    schedule: Literal["linear", "cosine", "constant"] = Field(description="decay after warm-up")
    warmup_ratio: Share = Field(description="share of all updates spent raising the learning rate from 0")
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        description="decoupled decay; none on biases and norms"
    )
    beta_1: Share = Field(description="AdamW: decay of the first moment")
    beta_2: Share = Field(description="AdamW: decay of the second moment")
    epsilon: Annotated[float, Field(gt=0)] = Field(
        description="AdamW: added to the root of the second moment"
    )
    clip_norm: Annotated[float, Field(gt=0)] | None = Field(
        description="global gradient norm at most; null: off"
    )
    ema: Share | None = Field(description="decay of averaged weights, used for evaluation; null: off")
    ema_warmup: bool = Field(
        description="start the average with a short memory: decay (1 + step) / (10 + step) at most"
    )
    focal_alpha: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="DGCNN: weight of the positions where an answer begins or ends"
    )
    focal_gamma: Annotated[float, Field(ge=0)] = Field(
        description="DGCNN: how little easy positions count; 0: plain cross-entropy"
    )
    drop_learning_rate: Annotated[float, Field(gt=0)] | None = Field(
        description="go back to the best weights once and go on with this rate; null: never"
    )
    drop_epoch: Positive = Field(description="drop after this epoch at the latest")
    drop_after: Positive = Field(
        description="from this epoch on, drop when the score stalls or falls under drop_below"
    )
    drop_patience: Positive = Field(description="evaluations without a better score that make a drop")
    drop_below: Annotated[float, Field(ge=0, le=100)] = Field(
        description="score in percent under which to drop"
    )
    drop_tokens: Share = Field(
        description="DropToken: share of tokens left out of a training row, the others keep their positions"
    )
    patience: Positive | None = Field(
        description="stop after N evaluations without a better score; null: never"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        description="auto: bfloat16 where the processor has it"
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
    keep_checkpoints: Annotated[int, Field(ge=2)] = Field(description="saved states that are kept")


class Run(Section):
    """One run, fully resolved; what ``run.yaml`` holds and what decides whether a run may resume."""

    task: str = Field(description="name of a task card, or its folder")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(description="source of weights, order and dropout")
    backend: Literal["tensorflow", "jax"] = Field(description="engine that runs the tensors")
    device: str = Field(
        pattern=r"^(auto|cpu|gpu|gpu:\d+)$",
        examples=["auto", "cpu", "gpu", "gpu:0"],
        description="auto, cpu, gpu or gpu:N",
    )
    data: DataSettings
    model: ModelSettings
    train: TrainSettings
    output: OutputSettings
