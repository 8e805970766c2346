"""TeaForN: several passes over a target, each reading the outputs of the previous one, not the true tokens.

The first pass is ordinary training. Each later one reads the outputs of the pass before it, one place later;
the source stays as it is embedded, and positions are added in every pass. All predict the same target by the
same layers, gradients flow through all passes, and the loss is the weighted sum of theirs, not divided by the
weights. An output is the vector that the token embeddings are multiplied by: as wide as one of them.

Source: Goodman, Ding and Soricut 2020, "TeaForN"; kexue.fm/archives/7818, whose form this is: inputs are
shifted, and every pass predicts the whole target.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import Field

from clue_runner.config.schema import NUMBER, Section
from clue_runner.engines.techniques.base import Extra, Loss, Technique, refuse
from clue_runner.errors import Problem, UsageError

Tensors = Mapping[str, Any]
WEIGHTS = rf"^{NUMBER}(,\s*{NUMBER})*$"


class TeaForNSettings(Section):
    """How many passes, what each counts, and what they read."""

    teaforn: Annotated[int, Field(ge=1)] | None = Field(
        None, description="TeaForN: passes, each but the first reading the previous outputs; null: off"
    )
    teaforn_weights: Annotated[str, Field(pattern=WEIGHTS, examples=["1,0.5,0.25", "1,1"])] | None = Field(
        None, description="TeaForN: weight of each pass's loss; null: 1, then half of the previous one"
    )
    teaforn_input: str = Field(
        "hidden",
        pattern=r"^(hidden|softmax|topk:[1-9]\d*)$",
        examples=["hidden", "topk:4", "softmax"],
        description="TeaForN: input of a pass: outputs (hidden), or the mean vector of the k most likely "
        "tokens (topk:k) or of all (softmax), weighted by their probabilities",
    )


class TeaForN(Technique):
    """Passes through one network, one after another."""

    settings: TeaForNSettings
    settings_type = TeaForNSettings
    changes_loss = True
    calls_network = True

    def __init__(self, settings: TeaForNSettings) -> None:
        super().__init__(settings)
        self.weights = _weights(settings)

    def extra(self, *, recomputed: bool) -> Extra:
        """Return the passes, of which a recomputed one keeps what it reads alone, and what each reads."""
        count = len(self.weights)
        alive = 1.0 if recomputed else float(count)
        return Extra(passes=alive, noises=2 * (count - 1), scores=alive)

    def prepare(self, network: Any) -> None:
        """Refuse heads that write nothing, and vocabularies with fewer words than are to be averaged."""
        refuse("teaforn", None if network.writes else "its head generates no text to feed back")
        likeliest, words = _likeliest(self.settings), int(network.scores.word.shape[0])
        if likeliest is not None and likeliest > words:
            raise UsageError(
                "topk exceeds the size of the vocabulary",
                where="train.teaforn_input",
                received=self.settings.teaforn_input,
                allowed=f"topk:1 to topk:{words}",
                next_step="use fewer, or softmax for all",
            )

    def loss(self, inner: Loss, batch: Tensors, key: Any) -> tuple[Any, Any]:
        """Return the weighted sum of the passes' losses, and the number of tokens that one pass predicts."""
        if self.weights == (1.0,):
            return inner(batch, key)  # not even a multiplication: plain training, bit for bit
        from keras import ops

        from clue_runner.models.dropout import fold

        network, last = inner.network, len(self.weights) - 1
        # Recomputed blocks still keep their inputs, and scores would be kept too, once for each pass: so a
        # pass is recomputed whole. It waits for the first number of its gradient, which the next one gives.
        run = _called if network.backbone.options.recompute == "none" else _recomputed
        shape = (ops.shape(batch["token_ids"])[0], network.longest, network.scores.word.shape[1])

        def one_pass(share: float, feeds: bool, given: Tensors, key: Any) -> Any:
            """Return what the next pass reads, if it is wanted, loss and weight, in one flat tensor."""
            outputs = network.outputs(given, key)
            figures = ops.stack(network.loss_of(outputs, given)) if share else ops.zeros(2, "float32")
            words = [ops.reshape(ops.cast(self._read(network, outputs), "float32"), (-1,))] if feeds else []
            return ops.concatenate([*words, figures])

        given, totals = batch, []
        for number, share in enumerate(self.weights):
            own_key = fold(key, f"teaforn/{number}") if number else key
            found = run(functools.partial(one_pass, share, number < last), given, own_key)
            if share:
                totals.append(share * found[-2])
                weight = found[-1]
            if number < last:
                given = network.fed(batch, ops.reshape(found[:-2], shape))
        return sum(totals[1:], start=totals[0]), weight

    def _read(self, network: Any, outputs: Any) -> Any:
        """Return what the next pass reads in place of words' vectors, in the shape of outputs."""
        from keras import ops

        if self.settings.teaforn_input == "hidden":
            return outputs
        logits, likeliest = network.logits(outputs), _likeliest(self.settings)
        table = ops.convert_to_tensor(network.scores.word)
        if likeliest is None:
            mean = ops.matmul(ops.softmax(logits), table)
        else:
            scores, words = ops.top_k(logits, likeliest)
            mean = ops.sum(ops.softmax(scores)[..., None] * ops.take(table, words, axis=0), axis=1)
        return ops.reshape(mean, ops.shape(outputs))


def _called(function: Callable[[Tensors, Any], Any], batch: Tensors, key: Any) -> Any:
    return function(batch, key)


def _recomputed(function: Callable[[Tensors, Any], Any], batch: Tensors, key: Any) -> Any:
    """Return what the function gives, of which the backward pass keeps what went in alone."""
    from clue_runner.models.recompute import recomputed

    names = tuple(batch)
    return recomputed(
        lambda one, *entries: function(dict(zip(names, entries, strict=True)), one),
        key,
        *(batch[name] for name in names),
    )


def _likeliest(settings: TeaForNSettings) -> int | None:
    """Return how many words are averaged; None: all, or none."""
    kind, _, number = settings.teaforn_input.partition(":")
    return int(number) if kind == "topk" else None


def _weights(settings: TeaForNSettings) -> tuple[float, ...]:
    """Return what each pass counts, up to the last that counts.

    Raises:
        UsageError: there are more or fewer weights than passes, or all are 0.
    """
    passes = settings.teaforn or 1
    if settings.teaforn_weights is None:
        return tuple(0.5**number for number in range(passes))
    weights = [float(part) for part in settings.teaforn_weights.split(",")]
    if len(weights) != passes or not any(weights) or not all(map(math.isfinite, weights)):
        raise UsageError(
            "each pass needs a numeric weight, and not all may be 0",
            where="train.teaforn_weights",
            received=settings.teaforn_weights,
            problems=[Problem(f"there are {passes} passes and {len(weights)} weights", "train.teaforn")],
            next_step="give one per pass, e.g. --set train.teaforn=2 --set train.teaforn_weights=1,0.5",
        )
    while not weights[-1]:
        weights.pop()  # nothing reads what these passes would write
    return tuple(weights)
