"""The largest decoder is loaded and writes within its limits: 1.4 billion parameters, each weight held once.

In: sizes, a folder with room. Out: a table on stdout: for each layout, backend and precision the peak of
``clue generate``'s memory; exit 1 where one is above its limit or the text did not come.

A random GPT2-ML of 48 x 1,536 is written to the disk shard by shard, in Hugging Face's layout in bfloat16
(2.7 GB) and as a TensorFlow checkpoint in float32 (5.5 GB), as the release is. The peak is the kernel's own
of the whole process; what of it is mapped from files (programs' code, weights being read) is sampled.

    python scripts/check_large_decoder.py                                 8 cells, 6 GB on the disk
    python scripts/check_large_decoder.py --layouts huggingface --backends jax --precisions bfloat16
    python scripts/check_large_decoder.py --layers 2 --width 64           the same, small: no limit is held
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

from clue_runner.architectures.base import load_architecture, parameter_count
from clue_runner.architectures.settings import make_shape

FAMILY = "gpt2_ml"
GB = 10**9
LIMITS = {"bfloat16": 4 * GB, "float32": 7 * GB}  # of the whole process, for the release's size
RELEASE = (48, 1536)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PROMPT = "今天天气"
GROUP = 100  # tensors in one shard: six blocks


class Peak(NamedTuple):
    """Bytes of a process at its largest: all, and the largest samples of its own and of mapped memory."""

    all: int
    own: int
    mapped: int


def main() -> int:
    """Write, generate, print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--layers", type=int, default=RELEASE[0])
    parser.add_argument("--width", type=int, default=RELEASE[1])
    parser.add_argument("--vocabulary", type=int, default=8021)
    parser.add_argument("--tokens", type=int, default=8, help="to write")
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS))
    parser.add_argument("--backends", nargs="+", choices=["tensorflow", "jax"], default=["tensorflow", "jax"])
    parser.add_argument("--precisions", nargs="+", choices=LIMITS, default=list(LIMITS))
    parser.add_argument("--folder", type=Path, help="where there is room; default: the system's own")
    args = parser.parse_args()
    held = (args.layers, args.width) == RELEASE
    failed = 0
    for layout in args.layouts:
        with tempfile.TemporaryDirectory(dir=args.folder, prefix="large-decoder-") as name:
            count, size = write(Path(name), layout, args.layers, args.width, args.vocabulary)
            print(f"{layout}: {count:,} parameters, {size / GB:.2f} GB on the disk", flush=True)
            for backend in args.backends:
                for precision in args.precisions:
                    failed += not cell(Path(name), backend, precision, args.tokens, held=held)
    return int(failed > 0)


def cell(folder: Path, backend: str, precision: str, tokens: int, *, held: bool) -> bool:
    """Generate once, print a line, and return whether all was as it must be."""
    started = time.monotonic()
    result, peak = generate(folder, backend, precision, tokens)
    limit = LIMITS[precision]
    fits = peak.all <= limit or not held
    rate = result["tokens"] / result["seconds"] if result else 0.0
    print(
        f"  {backend:10} {precision:9} peak {peak.all / GB:5.2f} GB (own {peak.own / GB:5.2f}, "
        f"mapped {peak.mapped / GB:5.2f}), limit {limit / GB:.0f} GB, {time.monotonic() - started:4.0f} s, "
        f"{rate:5.2f} tokens/s{'' if fits else '  ABOVE ITS LIMIT'}{'' if result else '  NO TEXT'}",
        flush=True,
    )
    return bool(result) and fits


def generate(folder: Path, backend: str, precision: str, tokens: int) -> tuple[dict[str, Any], Peak]:
    """Return the result of ``clue generate`` in a process of its own, {} where it failed, and its peak."""
    command = [
        *(sys.executable, "-m", "clue_runner", "generate", "--json", "--model", str(folder)),
        *("--prompt", PROMPT, "--max-length", str(tokens), "--min-length", str(tokens)),
        *("--backend", backend, "--precision", precision, "--device", "cpu"),
    ]
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        peak = own = mapped = 0
        while process.poll() is None:
            now = status(process.pid)
            own, mapped = max(own, now.get("RssAnon", 0)), max(mapped, now.get("RssFile", 0))
            peak = max(peak, now.get("VmHWM", 0))
            time.sleep(0.02)
        printed = (process.stdout.read() if process.stdout else "").strip()
        if process.returncode:
            said.seek(0)
            sys.stderr.write(said.read().decode("utf-8", "replace"))
    result = json.loads(printed.rpartition("\n")[2]) if process.returncode == 0 else {}
    return result, Peak(peak, own, mapped)


def status(pid: int) -> dict[str, int]:
    """Return the bytes in a process's status file; {} once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    parts = [line.split() for line in lines if line.endswith(" kB")]
    return {part[0].rstrip(":"): 1024 * int(part[1]) for part in parts}


def write(folder: Path, layout: str, layers: int, width: int, vocabulary: int) -> tuple[int, int]:
    """Write a random checkpoint with vocabulary and config; return its parameters and bytes."""
    heads = max(1, width // 64)
    shape = make_shape(
        FAMILY, num_layers=layers, hidden_dim=width, num_heads=heads, intermediate_dim=4 * width
    )
    config = {
        "model_type": FAMILY,
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "max_position_embeddings": shape.position_limit,
        "hidden_act": "gelu",
    }
    name = "config.json" if layout == "huggingface" else f"{FAMILY}_config.json"
    (folder / name).write_text(json.dumps(config), encoding="utf-8")
    pieces = [*SPECIAL, *(chr(0x4E00 + number) for number in range(vocabulary - len(SPECIAL)))]
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    LAYOUTS[layout](folder, shape, vocabulary)
    return parameter_count(shape, vocabulary), sum(path.stat().st_size for path in folder.iterdir())


def groups(shape: Any, vocabulary: int, layout: Any) -> Iterator[dict[str, np.ndarray]]:
    """Yield random tensors by their names in a layout, float32, some blocks at a time.

    Each is cut out of one store of numbers at a place of its own: billions of draws take minutes.
    """
    axes, random = shape.axes(vocabulary), np.random.default_rng(1)
    largest = max(math.prod(entry.shape(axes)) for entry in load_architecture(FAMILY).names.entries(1))
    store = random.standard_normal(2 * largest, np.float32) * np.float32(0.02)
    entries = load_architecture(FAMILY).names.entries(shape.num_layers)
    for start in range(0, len(entries), GROUP):
        found = {}
        for entry in entries[start : start + GROUP]:
            place, size = int(random.integers(largest)), entry.shape(axes)
            value = store[place : place + math.prod(size)].reshape(size)
            if entry.ours.endswith("norm/scale"):
                value = value + 1
            stored = value.T if entry.transposed(layout) else value
            found[entry.spellings(layout)[0]] = np.ascontiguousarray(stored)
        yield found


def write_face(folder: Path, shape: Any, vocabulary: int) -> None:
    """Write safetensors in bfloat16, in shards with an index."""
    home: dict[str, str] = {}
    for number, tensors in enumerate(groups(shape, vocabulary, "huggingface"), start=1):
        name = f"model-{number:05}.safetensors"
        halves = {one: value.astype(ml_dtypes.bfloat16) for one, value in tensors.items()}
        save_file(halves, folder / name, metadata={"format": "pt"})
        home |= dict.fromkeys(tensors, name)
    index = {"metadata": {}, "weight_map": home}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def write_google(folder: Path, shape: Any, vocabulary: int) -> None:
    """Write a TensorFlow checkpoint in float32, in parts that are then merged."""
    from clue_runner.checkpoints.formats.google import write_google as write_part

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    parts = []
    for number, tensors in enumerate(groups(shape, vocabulary, "google")):
        parts.append(folder / f"part-{number}")
        write_part(parts[-1], tensors)
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(part) for part in parts],
        destination_prefix=str(folder / "model.ckpt"),
        delete_old_dirs=False,
    )


LAYOUTS: Mapping[str, Any] = {"huggingface": write_face, "tensorflow": write_google}


if __name__ == "__main__":
    sys.exit(main())
