"""Speed of a pre-training update: tokens a second, and its share of what matrix products alone reach.

    python scripts/bench_pretrain.py [--model tiny] [--rows 64] [--length 128] [--updates 6] [--set KEY=VALUE]

Rows of random tokens, masks drawn as ``clue pretrain`` draws them; nothing is read or downloaded. Time is
processor time, so that other processes on the machine disturb little. The share is of products of
(2048 x 2048), in bfloat16 or float32, measured in the same process before and after. Counted are the
products of the blocks, of attention and of the head, forward and backward (three times the forward ones).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from clue_runner.adapters.base import load_adapter
from clue_runner.adapters.sections import load_run
from clue_runner.config.shipped import shipped_folder
from clue_runner.console import Console
from clue_runner.data.cards import find_card, recommended_settings
from clue_runner.tokens.batches import split_batch, update_arrays
from clue_runner.tokens.corpus.masks import Draw
from clue_runner.tokens.rows import Rows
from clue_runner.tokens.tokenizer import Tokenizer
from clue_runner.training.network import build_engine, choose

SIZE = 2048


def products(backend: str, precision: str, repeat: int = 6) -> float:
    """Return the operations of square matrix products in a second of processor time."""
    import keras

    ones = keras.ops.cast(np.random.default_rng(0).normal(size=(SIZE, SIZE)), precision)
    if backend == "jax":
        import jax

        multiply: Callable[[Any, Any], Any] = jax.jit(lambda a, b: (a @ b).block_until_ready)
        multiply = jax.jit(lambda a, b: a @ b)
    else:
        multiply = keras.ops.matmul
    np.asarray(keras.ops.cast(multiply(ones, ones)[0, 0], "float32"))
    began = time.process_time()
    for _ in range(repeat):
        np.asarray(keras.ops.cast(multiply(ones, ones)[0, 0], "float32"))
    return repeat * 2 * SIZE**3 / (time.process_time() - began)


def counted(model: Any, vocab: int, rows: int, length: int, masked: int) -> float:
    """Return the operations of an update's matrix products."""
    width, inner = model.hidden_dim, model.intermediate_dim
    block = 2 * (4 * width * width + 2 * width * inner) + 4 * length * width
    head = 2 * (width * model.embedding_dim + model.embedding_dim * vocab)
    return 3.0 * rows * (length * model.num_layers * block + masked * head)


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--updates", type=int, default=6)
    parser.add_argument("--backend", default="tensorflow")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    card = find_card("pretraining")
    run = load_run(
        task=card.name,
        card_settings=recommended_settings(card),
        model=options.model,
        overrides=[f"data.max_length={options.length}", f"train.batch_size={options.rows}", *options.set],
        flags={"backend": options.backend},
    )
    tokenizer = Tokenizer(shipped_folder("configs") / "models" / "vocab" / "zh.txt", lowercase=True)
    adapter: Any = load_adapter(card, run)
    choices = choose(run)
    engine = build_engine(adapter, choices, vocab_size=tokenizer.vocab_size)
    generator = np.random.default_rng(0)
    count = options.rows * options.updates
    ordinary = np.flatnonzero(adapter.masking(tokenizer).ordinary)
    ids = generator.choice(ordinary, (count, options.length)).astype(np.int32)
    ids[:, 0], ids[:, -1] = tokenizer.cls_id, tokenizer.sep_id
    starts = (generator.random(ids.shape) < 0.6).astype(np.uint8)
    numbers = np.arange(count, dtype=np.int64)
    tokens = {"token_ids": ids.ravel(), "word_starts": starts.ravel()}
    rows = Rows(np.arange(count + 1) * options.length, tokens, {}, numbers, numbers)
    rows = replace(rows, draw=Draw(adapter.masking(tokenizer), 42, 0))
    cut = {
        "batch_size": options.rows,
        "accumulate": 1,
        "token_budget": run.train.token_budget,
        "buckets": None,
    }
    peaks, seconds, drawing, walls = [products(options.backend, choices.precision.value)], [], [], []
    for update in range(options.updates):
        began = time.process_time()
        indices = numbers[update * options.rows : (update + 1) * options.rows]
        arrays, _ = split_batch(update_arrays(rows, indices, **cut), rows.host_columns)
        drawn, wall = time.process_time(), time.monotonic()
        result = engine.step(arrays, update_index=update, learning_rate=1e-4)()
        if update:  # the first one traces
            drawing.append(drawn - began)
            seconds.append(time.process_time() - drawn)
            walls.append(time.monotonic() - wall)
    peaks.append(products(options.backend, choices.precision.value))
    masked = adapter.masking(tokenizer).most(options.length)
    work = counted(run.model, tokenizer.vocab_size, options.rows, options.length, masked)
    took = float(np.median(seconds))
    console = Console()
    console.result(
        json.dumps(
            {
                "precision": choices.precision.value,
                "loss": round(result.loss, 4),
                "processor_seconds": round(took, 3),
                "wall_seconds": round(float(np.median(walls)), 3),
                "drawing_seconds": round(float(np.median(drawing)), 4),
                "tokens_per_processor_second": round(options.rows * options.length / took),
                "gigaflops_per_processor_second": round(work / took / 1e9, 1),
                "products_gigaflops_per_processor_second": [round(peak / 1e9, 1) for peak in peaks],
                "share_of_products": round(work / took / max(peaks), 3),
            }
        )
    )


if __name__ == "__main__":
    main()
