"""Trains one checkpoint with its whole vocabulary and with less of it, and compares the answers on AFQMC dev.

    python scripts/check_keep_tokens.py [--data ZIP] [--vocab FILE] [--steps 30] [--layers 4] [--width 312]

The checkpoint is random, with a word table for the vocabulary, so that nothing is downloaded.
The runs are alike but for ``model.keep_tokens``; every dev prediction, probability included, must be equal.
Sizes are of the saved weights; speeds are examples a second within each run, and the processor's seconds of
the whole command, which other programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "configs/models/vocab/zh.txt"
VARIANTS = {"whole": None, "simplified": "simplified", "auto": "auto"}


def write_checkpoint(folder: Path, vocab: Path, layers: int, width: int) -> None:
    """Write a random checkpoint in Hugging Face's layout."""
    from safetensors.numpy import save_file

    from clue_runner.architectures.bert.names import NAMES
    from clue_runner.architectures.bert.shape import Shape

    rows = vocab.read_bytes().count(b"\n")
    shape = Shape(num_layers=layers, hidden_dim=width, num_heads=12, intermediate_dim=4 * width)
    draw = np.random.default_rng(0)
    tensors = {}
    for entry in NAMES.entries(layers):
        value = draw.normal(0, 0.02, entry.shape(shape.axes(rows))).astype(np.float32)
        value += entry.ours.endswith("norm/scale")
        tensors[entry.hugging_face] = np.ascontiguousarray(
            value.T if entry.transposed("huggingface") else value
        )
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    config = {"model_type": "bert", "vocab_size": rows, **(shape.to_config() or {})}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "vocab.txt").write_bytes(vocab.read_bytes())


def train(model: Path, output: Path, keep: str | None, steps: int, data: str) -> dict[str, object]:
    """Train one run and return its result."""
    command = [sys.executable, "-m", "clue_runner", "train", "--task", "afqmc", "--data", data, "--json"]
    command += ["--model", str(model), "--output", str(output), "--set", f"train.max_steps={steps}"]
    command += ["--set", "data.max_length=64", "--set", "train.precision=float32"]
    command += ["--set", f"model.keep_tokens={keep}"] if keep else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> int:
    """Compare the runs; 1 where an answer differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    folder = os.environ.get("CLUE_TEST_DATA")
    zip_file = str(Path(folder) / "official/afqmc_public.zip") if folder else "sample"
    parser.add_argument("--data", default=zip_file, help="as clue train takes it")
    google = Path(folder or ".") / "vocab/bert_chinese_21128.txt"
    parser.add_argument("--vocab", type=Path, default=google if google.is_file() else SHIPPED)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=312)
    wanted = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="keep-tokens-"))
    write_checkpoint(home / "model", wanted.vocab, wanted.layers, wanted.width)
    results, answers = {}, {}
    columns = f"{'weights MB':>11} {'train ex/s':>11} {'dev ex/s':>9} {'CPU s':>7}  dev answers"
    print(f"{'vocabulary':<12} {'pieces':>7} {columns}")
    for name, keep in VARIANTS.items():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        results[name] = train(home / "model", home / name, keep, wanted.steps, wanted.data)
        answers[name] = (home / name / "predictions/dev.jsonl").read_bytes()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        best = home / name / "checkpoints" / (home / name / "checkpoints/best").read_text().strip()
        pieces = (best / "vocab.txt").read_bytes().count(b"\n")
        size = (best / "weights.safetensors").stat().st_size / 1e6
        speed = results[name]["examples_per_second"]
        same = "equal" if answers[name] == answers["whole"] else "DIFFERENT"
        count = answers[name].count(b"\n")
        print(
            f"{name:<12} {pieces:>7,} {size:>11.1f} {speed['train']:>11.1f} {speed['evaluate']:>9.1f} "
            f"{seconds:>7.0f}  "
            f"{count:,} {same}",
            flush=True,
        )
    return 0 if len(set(answers.values())) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
