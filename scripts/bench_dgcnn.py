"""Measures the reader against a plain ``tf_keras`` restatement of the same network, and its decoding.

In: batch and lengths. Out: training examples per second of both (same batch, same machine, in turns in one
process, the best of some repeats each) and their ratio; or, with --decode, the seconds that 1,000 questions
over 10 passages take, network, candidates and vote apart. About a minute each on two cores.
The peer needs ``tf_keras``; kept apart from what is installed:

    pip install --no-deps --target build/peer tf_keras
    PYTHONPATH=build/peer python scripts/bench_dgcnn.py --batch 128 --passage 128 --question 24
    python scripts/bench_dgcnn.py --decode
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import numpy as np

WIDTH, VOCAB = 128, 4000
QUESTIONS, PASSAGES = 1000, 10
PEER = "tf_keras float32"


def batch(rows: int, question: int, passage: int) -> dict[str, np.ndarray]:
    """Return one batch of random characters, a tenth of the rows' ends padded."""
    draw = np.random.default_rng(0)
    ids = draw.integers(1, VOCAB, (rows, passage)).astype(np.int32)
    ids[::10, passage // 2 :] = 0
    tags = draw.random((rows, passage)) < 0.01
    return {
        "token_ids": ids,
        "question_ids": draw.integers(1, VOCAB, (rows, question)).astype(np.int32),
        "start_tags": tags.astype(np.int16),
        "end_tags": np.roll(tags, 3, axis=1).astype(np.int16),
        "lengths": (ids != 0).sum(1).astype(np.int32),
        "weight": np.ones(rows, np.float32),
    }


def our_engine(precision: str) -> Any:
    """Return the engine with our network."""
    from clue_runner.architectures.base import load_architecture
    from clue_runner.architectures.settings import make_shape
    from clue_runner.engines import create_engine
    from clue_runner.engines.base import EngineSettings
    from clue_runner.engines.rules import make_rule

    settings = EngineSettings(
        precision=precision, jit=False, rule=make_rule("radam", {"epsilon": 1e-7}),
        clip_norm=None, ema=0.9999, seed=0,
    )  # fmt: skip
    engine = create_engine("tensorflow")
    build, shape = load_architecture("dgcnn").build, make_shape("dgcnn")
    engine.init(lambda: build(shape, VOCAB, precision=precision, seed=0), settings)
    return engine


def our_step(data: dict[str, np.ndarray], precision: str) -> Any:
    """Return a function that trains our network on the batch once."""
    engine = our_engine(precision)
    update = {name: values[None] for name, values in data.items()}
    count = [0]

    def run() -> float:
        count[0] += 1
        return engine.step(update, update_index=count[0], learning_rate=1e-3)().loss

    return run


def peer_step(data: dict[str, np.ndarray]) -> Any:
    """Return a function that trains a straightforward tf_keras network of the same form on the batch once."""
    import tensorflow as tf
    import tf_keras as keras

    layers, backend = keras.layers, keras.backend

    def block(values: Any, mask: Any, rate: int) -> Any:
        both = layers.Conv1D(2 * WIDTH, 3, dilation_rate=rate, padding="same")(values * mask)
        content, gate = both[..., :WIDTH], both[..., WIDTH:]
        gate = tf.sigmoid(layers.Dropout(0.1)(gate))
        return (values * (1 - gate) + content * gate) * mask

    def pool(values: Any, mask: Any) -> Any:
        scores = layers.Dense(values.shape[-1], use_bias=False, activation="tanh")(values)
        scores = layers.Dense(1, use_bias=False)(scores) - (1 - mask) * 1e12
        return tf.reduce_sum(tf.nn.softmax(scores, 1) * values, 1)

    def join(values: Any, vector: Any) -> Any:
        return tf.concat([values, tf.tile(vector[:, None], [1, tf.shape(values)[1], 1])], 2)

    question_ids = layers.Input((None,), dtype="int32")
    passage_ids = layers.Input((None,), dtype="int32")
    table = layers.Embedding(VOCAB, WIDTH)
    question_mask = tf.cast(question_ids[..., None] > 0, "float32")
    mask = tf.cast(passage_ids[..., None] > 0, "float32")
    question = layers.Dropout(0.1)(table(question_ids))
    for rate in (1, 2, 1):
        question = block(question, question_mask, rate)
    vector = pool(question, question_mask)
    passage = layers.Dropout(0.1)(table(passage_ids))
    passage = layers.Dense(WIDTH, use_bias=False)(join(passage, vector))
    for rate in (1, 2, 4, 8, 16, 1):
        passage = block(passage, mask, rate)
    passage = join(passage, vector)
    gate = layers.Dense(1, activation="sigmoid")(pool(passage, mask))
    tags = [gate * layers.Dense(1, activation="sigmoid")(passage)[..., 0] for _ in range(2)]
    model = keras.Model([question_ids, passage_ids], tags)
    optimizer = keras.optimizers.Adam(1e-3)

    def focal(label: Any, chance: Any) -> Any:
        chance = backend.clip(chance, 1e-7, 1 - 1e-7)
        hit = -0.25 * label * backend.log(chance) * (1 - chance) ** 2
        return hit - 0.75 * (1 - label) * backend.log(1 - chance) * chance**2

    averages = [tf.Variable(weight) for weight in model.trainable_weights]

    @tf.function
    def train(question: Any, passage: Any, start: Any, end: Any) -> Any:
        with tf.GradientTape() as tape:
            found = model([question, passage], training=True)
            real = tf.cast(passage > 0, "float32")
            losses = [tf.reduce_sum(focal(y, p) * real) for y, p in zip((start, end), found, strict=True)]
            loss = 100 * tf.add_n(losses) / tf.reduce_sum(real)
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_weights), model.trainable_weights, strict=True)
        )
        for average, weight in zip(averages, model.trainable_weights, strict=True):
            average.assign(average * 0.9999 + weight * 0.0001)
        return loss

    arrays = [tf.constant(data[name]) for name in ("question_ids", "token_ids")]
    arrays += [tf.constant(data[name].astype(np.float32)) for name in ("start_tags", "end_tags")]
    return lambda: float(train(*arrays))


def compare(options: argparse.Namespace) -> None:
    """Train both in turns on one batch and print the best of each."""
    data = batch(options.batch, options.question, options.passage)
    steps = {f"clue {one}": our_step(data, one) for one in options.precisions.split(",")}
    steps[PEER] = peer_step(data)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
        step()
    for _ in range(options.repeats):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - started)
    peer = min(seconds[PEER])
    for name, taken in seconds.items():
        best, median = min(taken), float(np.median(taken))
        rate = f"{options.batch / best:8.1f} examples/s   {peer / best:5.2f} x"
        print(f"{name:<18} {rate}   best {best:.3f} s   median {median:.3f} s")


def decode(options: argparse.Namespace) -> None:
    """Answer 1,000 questions over 10 passages each and print where the time goes."""
    from clue_runner.metrics.votes import candidate_spans, gated_probabilities, vote

    data = batch(options.batch, options.question, options.passage)
    draw = np.random.default_rng(1)
    texts = ["".join(chr(0x4E00 + code) for code in draw.integers(0, 500, options.passage))] * PASSAGES
    # tags of a trained reader are far apart; an untrained one's are all alike, so they are drawn
    tags = draw.random((PASSAGES, 2, options.passage)) ** 12  # about 17 in 100 above the threshold
    for precision in options.precisions.split(","):
        engine = our_engine(precision)
        engine.evaluate(data, averaged=True)
        started = time.perf_counter()
        for _ in range(QUESTIONS * PASSAGES // options.batch + 1):
            gated_probabilities(**engine.evaluate(data, averaged=True))
        network = time.perf_counter() - started
        started = time.perf_counter()
        for _ in range(QUESTIONS):
            spans = {
                number: candidate_spans(*pair, threshold=0.1, longest=12) for number, pair in enumerate(tags)
            }
            vote(texts, spans)
        votes = time.perf_counter() - started
        print(
            f"{QUESTIONS:,} questions x {PASSAGES} passages of {options.passage} characters, {precision}: "
            f"network {network:.1f} s, candidates and votes {votes:.1f} s"
        )


def main() -> None:
    """Measure what the options say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--question", type=int, default=24)
    parser.add_argument("--passage", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--precisions", default="float32,bfloat16")
    parser.add_argument("--decode", action="store_true", help="measure decoding; needs no peer")
    options = parser.parse_args()
    os.environ["KERAS_BACKEND"] = "tensorflow"
    (decode if options.decode else compare)(options)


if __name__ == "__main__":
    main()
