"""Tokens a second of a random GPT2-ML, with the cache of keys and values and without it, in one process.

In: sizes and a precision. Out: a table on stdout: tokens a second, their ratio, the peak of this process's
memory. Without a cache each token costs a forward over the whole text, padded to its final length, so that
one graph serves all steps.

    python scripts/bench_generate.py                                  24 x 1,024
    python scripts/bench_generate.py --layers 48 --width 1536 --precision bfloat16
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from functools import partial
from typing import Any

import numpy as np


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--vocabulary", type=int, default=8021)
    parser.add_argument("--prompt", type=int, default=16, help="tokens")
    parser.add_argument("--tokens", type=int, default=112, help="to write with the cache")
    parser.add_argument("--without", type=int, default=8, help="to write without it")
    parser.add_argument("--rows", type=int, default=1, help="continuations side by side")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--backend", choices=["tensorflow", "jax"], default="tensorflow")
    args = parser.parse_args()
    os.environ.update(KERAS_BACKEND=args.backend, TF_CPP_MIN_LOG_LEVEL="3")

    from keras import ops

    from clue_runner.architectures.base import load_architecture, parameter_count
    from clue_runner.architectures.settings import make_shape
    from clue_runner.engines import compiled
    from clue_runner.models.decoding.network import empty_cache, longer, tensors_of, word_logits
    from clue_runner.models.part import STORED

    shape = make_shape(
        "gpt2_ml",
        num_layers=args.layers,
        hidden_dim=args.width,
        num_heads=args.width // 64,
        intermediate_dim=4 * args.width,
    )
    started = time.monotonic()
    precision = STORED if args.precision == "bfloat16" else args.precision
    backbone = load_architecture("gpt2_ml").build(shape, args.vocabulary, precision=precision, seed=1)
    print(
        f"{parameter_count(shape, args.vocabulary):,} parameters, built in {time.monotonic() - started:.0f} s"
    )
    length = args.prompt + args.tokens
    prompt = np.random.default_rng(0).integers(5, args.vocabulary, (args.rows, args.prompt)).astype(np.int32)

    cached = compiled(args.backend, backbone, partial(longer, backbone), donate=(1,))

    def write(count: int) -> tuple[np.ndarray, float]:
        """Return the greedy tokens and the seconds that all but the first took."""
        state = tensors_of(empty_cache(backbone, args.rows, length))
        logits, state = cached(ops.convert_to_tensor(prompt), state, ops.zeros((), "int32"))
        found = [np.asarray(logits).argmax(axis=1).astype(np.int32)]
        begin = time.monotonic()
        for place in range(args.prompt, args.prompt + count - 1):
            column = ops.convert_to_tensor(found[-1][:, None])
            logits, state = cached(column, state, ops.convert_to_tensor(np.int32(place)))
            found.append(np.asarray(logits).argmax(axis=1).astype(np.int32))
        return np.stack(found, axis=1), time.monotonic() - begin

    def whole(token_ids: Any, last: Any) -> Any:
        """Return the logits after token ``last`` from a forward over all tokens."""
        seen = ops.ones(ops.shape(token_ids), "bool")
        vectors = backbone({"token_ids": token_ids}, mask=seen).sequence
        return word_logits(backbone, ops.take(vectors, last, axis=1))

    forward = compiled(args.backend, backbone, whole)

    def write_whole(count: int) -> tuple[np.ndarray, float]:
        """Return the same without a cache."""
        text = np.zeros((args.rows, length), np.int32)
        text[:, : args.prompt] = prompt
        begin = 0.0
        for place in range(args.prompt, args.prompt + count):
            logits = forward(ops.convert_to_tensor(text), ops.convert_to_tensor(np.int32(place - 1)))
            text[:, place] = np.asarray(logits).argmax(axis=1)
            begin = begin or time.monotonic()
        return text[:, args.prompt : args.prompt + count], time.monotonic() - begin

    write(2)  # compiled here
    tokens, seconds = write(args.tokens)
    with_cache = args.rows * (args.tokens - 1) / seconds
    plain, seconds = write_whole(args.without)
    without = args.rows * (args.without - 1) / seconds
    same = int((tokens[:, : args.without] == plain).sum())
    print(f"{args.backend}, {args.precision}, {os.cpu_count()} cores, text of {length} tokens")
    print(f"with cache     {with_cache:8.2f} tokens/s")
    print(f"without cache  {without:8.2f} tokens/s")
    print(f"ratio          {with_cache / without:8.1f}")
    print(f"equal tokens   {same} of {plain.size}")
    print(f"peak memory    {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:8.2f} GiB")


if __name__ == "__main__":
    main()
