"""Speed of a whole fine-tuning job beside ``transformers`` Trainer, each in a process of its own.

    CLUE_TEST_DATA=... python scripts/bench_train.py [--repeat 2] [--rows 3200] [--jax] [--output bench.json]

OCNLI, 1 epoch on the first rows, batch 32, at most 128 tokens, the ``tiny`` shape with a 21,128-entry
vocabulary, dev scored (2,950 rows) and test predicted (3,000). The peer runs with its defaults (float32,
batches padded to their longest row) and at its best on a CPU (bfloat16, grouped by length). The order of
the contestants turns around in every repetition. Only ratios within one run of this script mean anything.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

BATCH, LENGTH, RATE = 32, 128, 5e-4
LABELS = {"entailment": 0, "neutral": 1, "contradiction": 2}


def records(data: Path, member: str, limit: int | None = None) -> list[dict[str, Any]]:
    """Read one file of the zip; labelled files lose the records without a label."""
    with zipfile.ZipFile(data) as archive:
        text = io.TextIOWrapper(archive.open(member), encoding="utf-8", newline="\n").read()
    found = [json.loads(line) for line in text.split("\n") if line.strip()]
    return [one for one in found if "label" not in one or one["label"] in LABELS][:limit]


class _Items(list):  # type: ignore[type-arg]
    """A list that Trainer takes for a dataset."""


def peer(setting: str, data: Path, vocabulary: Path, rows: int) -> dict[str, Any]:
    """Run the peer in this process and return its figures."""
    began = time.perf_counter()
    import torch
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        BertTokenizerFast,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    tokenizer = BertTokenizerFast(vocab=str(vocabulary), do_lower_case=True)

    def encoded(member: str, limit: int | None = None) -> _Items:
        found = records(data, member, limit)
        pairs = [one["sentence1"] for one in found], [one["sentence2"] for one in found]
        rows = tokenizer(*pairs, truncation=True, max_length=LENGTH)
        return _Items(
            {**{key: rows[key][index] for key in rows}, "labels": LABELS.get(one.get("label"), 0)}
            for index, one in enumerate(found)
        )

    train, dev = encoded("train.50k.json", rows), encoded("dev.json")
    test = encoded("test.json")
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=312,
            num_hidden_layers=4,
            num_attention_heads=12,
            intermediate_size=1248,
            num_labels=3,
        )
    )
    best = {"bf16": True, "train_sampling_strategy": "group_by_length"} if setting == "best" else {}
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=BATCH,
            per_device_eval_batch_size=64 if setting == "best" else BATCH,
            learning_rate=RATE,
            warmup_steps=0.1,
            weight_decay=0.01,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **best,
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=train,
            eval_dataset=dev,
            data_collator=DataCollatorWithPadding(tokenizer),
            compute_metrics=lambda found: {"accuracy": float((found[0].argmax(-1) == found[1]).mean())},
        )
        started = time.perf_counter()
        trainer.train()
        trained = time.perf_counter()
        scores = trainer.evaluate()
        evaluated = time.perf_counter()
        trainer.predict(test)
        predicted = time.perf_counter()
    return {
        "train": rows / (trained - started),
        "evaluate": len(dev) / (evaluated - trained),
        "predict": len(test) / (predicted - evaluated),
        "seconds_without_test": evaluated - began,
        "score": 100 * scores["eval_accuracy"],
    }


def ours(backend: str, data: Path, vocabulary: Path, rows: int, folder: Path) -> list[str]:
    """Return the command of this project."""
    changes = {
        "data.limit_train": rows,
        "data.max_length": LENGTH,
        "data.cache": "false",
        "model.vocab": vocabulary,
        "train.epochs": 1,
        "train.batch_size": BATCH,
        "train.learning_rate": RATE,
    }
    command = [sys.executable, "-m", "clue_runner", "--quiet", "train", "--task", "ocnli", "--model", "tiny"]
    command += ["--data", str(data), "--backend", backend, "--device", "cpu", "--output", str(folder)]
    return command + [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run one contestant in a process of its own."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        figures = Path(temporary) / "figures.json"
        if name.startswith("ours"):
            command = ours(name.partition(" ")[2], options.data, options.vocabulary, options.rows, folder)
        else:
            command = [sys.executable, __file__, "--worker", name.partition(" ")[2], "--output", str(figures)]
            command += ["--data", str(options.data), "--vocabulary", str(options.vocabulary)]
            command += ["--rows", str(options.rows)]
        environment = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
        environment["CLUE_HOME"] = str(Path(temporary) / "home")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if not name.startswith("ours"):
            return {
                **json.loads(figures.read_text(encoding="utf-8")),
                "seconds": wall,
                "processor_seconds": used,
            }
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        return {
            **metrics["examples_per_second"],
            "seconds": wall,
            "processor_seconds": used,
            "compile": metrics["seconds"]["compile"],
            "score": metrics["score"],
        }


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Return the medians and their ratios to this project's TensorFlow run, in Markdown."""
    keys = ("train", "evaluate", "predict", "seconds", "processor_seconds", "compile", "score")
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in keys if key in runs[0]}
        for name, runs in results.items()
    }
    lines = ["| | " + " | ".join(keys) + " |", "|---" * (len(keys) + 1) + "|"]
    for name, found in medians.items():
        cells = [f"{found[key]:.1f}" if key in found else "" for key in keys]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    own = medians["ours tensorflow"]
    for name, found in medians.items():
        if name.startswith("ours"):
            continue
        rates = [f"{key} {own[key] / found[key]:.2f}x" for key in ("train", "evaluate", "predict")]
        rates += [f"whole command {found['seconds'] / own['seconds']:.2f}x"]
        rates += [f"processor time {found['processor_seconds'] / own['processor_seconds']:.2f}x"]
        lines.append(f"\nours against {name}: " + ", ".join(rates))
    return "\n".join(lines)


def main() -> None:
    """Run all contestants and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    given = os.environ.get("CLUE_TEST_DATA")
    base = Path(given) if given else None
    parser.add_argument("--data", type=Path, default=base and base / "official" / "ocnli_public.zip")
    parser.add_argument("--vocabulary", type=Path, default=base and base / "vocab" / "bert_chinese_21128.txt")
    parser.add_argument("--rows", type=int, default=3200, help="train records")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--jax", action="store_true", help="this project's JAX backend too")
    parser.add_argument("--only", nargs="*", help="contestants, e.g. 'ours tensorflow' 'transformers best'")
    parser.add_argument("--output", type=Path, help="all figures as JSON")
    parser.add_argument("--worker", choices=["defaults", "best"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.data is None or options.vocabulary is None:
        parser.error("set CLUE_TEST_DATA, or give --data (the OCNLI zip) and --vocabulary (a vocab.txt)")
    options.data, options.vocabulary = options.data.resolve(), options.vocabulary.resolve()
    if options.worker:
        figures = peer(options.worker, options.data, options.vocabulary, options.rows)
        options.output.write_text(json.dumps(figures), encoding="utf-8")
        return
    names = options.only or ["ours tensorflow", "transformers best", "transformers defaults"]
    names += ["ours jax"] if options.jax and "ours jax" not in names else []
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for repetition in range(options.repeat):
        for name in names if repetition % 2 == 0 else reversed(names):
            results[name].append(measure(name, options))
            print(
                f"{name}: {json.dumps({key: round(value, 2) for key, value in results[name][-1].items()})}",
                flush=True,
            )
    if options.output:
        options.output.write_text(json.dumps(results, indent=1), encoding="utf-8")
    if "ours tensorflow" in results:
        print(table(results))


if __name__ == "__main__":
    main()
