"""Training and evaluation speed beside the `transformers` Trainer, all in one run on one machine.

OCNLI, 3,200 train rows, all usable dev rows, `tiny` (4 layers of 312) with a 21,128-entry vocabulary, batch
32, at most 128 tokens, one epoch. Each side is a process of its own that reads the same files, tokenises,
trains and evaluates; the Trainer twice: with its defaults, and as fast as its options make it (bfloat16, rows
grouped by length). In: the official zip and a vocabulary. Out: a table of rates and their ratios. Not a test:
nothing fails.

    python scripts/bench_train.py --data ocnli_public.zip --vocab vocab.txt [--rounds 1] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

TRAIN_ROWS, BATCH, MAX_LENGTH, LEARNING_RATE = 3200, 32, 128, 5e-4
LABELS = ("entailment", "neutral", "contradiction")
PEERS = ("transformers defaults", "transformers best")
OURS = ("clue tensorflow", "clue jax")


def main() -> None:
    """Run every side once a round and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = Path(os.environ.get("CLUE_TEST_DATA", "."))
    parser.add_argument("--data", type=Path, default=data / "official" / "ocnli_public.zip")
    parser.add_argument("--vocab", type=Path, default=data / "vocab" / "bert_chinese_21128.txt")
    parser.add_argument("--sides", nargs="*", default=[*PEERS, *OURS], choices=[*PEERS, *OURS])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        print(json.dumps(run_trainer(arguments.data, arguments.vocab, best=arguments.peer == PEERS[1])))
        return
    figures: dict[str, list[dict[str, float]]] = {side: [] for side in arguments.sides}
    with tempfile.TemporaryDirectory() as scratch:
        folder = unpack(arguments.data, Path(scratch) / "ocnli")
        for number in range(arguments.rounds):
            for side in arguments.sides:
                run = run_peer if side in PEERS else run_clue
                figures[side].append(run(side, folder, arguments.vocab, Path(scratch) / f"{side}-{number}"))
    print(table(figures))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def unpack(archive: Path, folder: Path) -> Path:
    """Put train and dev into a folder of their own: without a test file no side predicts one."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            if Path(name).name in {"train.50k.json", "dev.json"}:
                (folder / Path(name).name).write_bytes(opened.read(name))
    return folder


def run_clue(side: str, folder: Path, vocab: Path, output: Path) -> dict[str, float]:
    """Run `clue train` and read its rates."""
    settings = {
        "data.limit_train": TRAIN_ROWS,
        "data.max_length": MAX_LENGTH,
        "data.cache": "false",
        "model.vocab": vocab,
        "train.batch_size": BATCH,
        "train.epochs": 1,
        "train.learning_rate": LEARNING_RATE,
    }
    command = [sys.executable, "-m", "clue_runner", "train", "--task", "ocnli", "--model", "tiny"]
    command += ["--data", str(folder), "--backend", side.split()[1], "--output", str(output)]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    wall = timed(command)
    metrics = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    rates = metrics["examples_per_second"]
    evaluate = rates["evaluate"] or rates["predict"]
    return {
        "train": rates["train"],
        "evaluate": evaluate,
        "command": wall,
        "compile": metrics["seconds"]["compile"],
        "accuracy": metrics["score"],
    }


def run_peer(side: str, folder: Path, vocab: Path, output: Path) -> dict[str, float]:
    """Run the Trainer in a process of its own and read its rates."""
    command = [sys.executable, __file__, "--peer", side, "--data", str(folder), "--vocab", str(vocab)]
    output.mkdir()
    with (output / "log").open("w+", encoding="utf-8") as log:
        wall = timed(command, log)
        log.seek(0)
        figures = json.loads(log.read().strip().split("\n")[-1])
    return {**figures, "command": wall, "compile": 0.0}


def timed(command: list[str], stdout: Any = subprocess.DEVNULL) -> float:
    """Run a command and return its wall-clock seconds."""
    started = time.monotonic()
    subprocess.run(command, check=True, stdout=stdout, cwd=Path(__file__).parents[1])
    return time.monotonic() - started


def run_trainer(folder: Path, vocab: Path, *, best: bool) -> dict[str, float]:
    """Train and evaluate with the Trainer; ``best``: bfloat16, rows grouped by length, larger dev batches."""
    import transformers
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    transformers.set_seed(42)
    tokenizer = BertTokenizerFast(str(vocab))
    shape = {"num_hidden_layers": 4, "hidden_size": 312, "num_attention_heads": 12, "intermediate_size": 1248}
    config = BertConfig(vocab_size=len(tokenizer), num_labels=len(LABELS), **shape)
    train = encoded(folder / "train.50k.json", tokenizer)[:TRAIN_ROWS]
    dev = encoded(folder / "dev.json", tokenizer)
    options: dict[str, Any] = {}
    if best:
        options = {"bf16": True, "per_device_eval_batch_size": 64, **grouped_by_length(transformers)}
    with tempfile.TemporaryDirectory() as scratch:
        trainer = transformers.Trainer(
            model=BertForSequenceClassification(config),
            args=transformers.TrainingArguments(
                output_dir=scratch,
                use_cpu=True,
                num_train_epochs=1,
                per_device_train_batch_size=BATCH,
                learning_rate=LEARNING_RATE,
                warmup_steps=10,
                weight_decay=0.01,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                **options,
            ),
            train_dataset=train,
            eval_dataset=dev,
            data_collator=transformers.DataCollatorWithPadding(tokenizer),
            compute_metrics=lambda given: {"accuracy": float((given[0].argmax(-1) == given[1]).mean())},
        )
        trained = trainer.train().metrics
        scored = trainer.evaluate()
    return {
        "train": trained["train_samples_per_second"],
        "evaluate": scored["eval_samples_per_second"],
        "accuracy": 100 * scored["eval_accuracy"],
    }


def grouped_by_length(transformers: Any) -> dict[str, Any]:
    """Return the Trainer's option for it, which has changed its name."""
    fields = transformers.TrainingArguments.__dataclass_fields__
    if "train_sampling_strategy" in fields:
        return {"train_sampling_strategy": "group_by_length"}
    return {"group_by_length": True}


def encoded(path: Path, tokenizer: Any) -> list[dict[str, Any]]:
    """Return the usable records of a file as the Trainer takes them."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    lines = [line for line in lines if line["label"] in LABELS]
    first, second = ([line[key] for line in lines] for key in ("sentence1", "sentence2"))
    batch = tokenizer(first, second, truncation=True, max_length=MAX_LENGTH)
    labels = [LABELS.index(line["label"]) for line in lines]
    return [{**{key: batch[key][i] for key in batch}, "labels": label} for i, label in enumerate(labels)]


def table(figures: dict[str, list[dict[str, float]]]) -> str:
    """Return medians as a Markdown table, ratios against the Trainer at its best."""
    middle = {
        side: {key: sorted(one[key] for one in runs)[len(runs) // 2] for key in runs[0]}
        for side, runs in figures.items()
    }
    lines = [
        "| | train rows/s | evaluate rows/s | command s | compile s | dev accuracy |",
        "|---|---|---|---|---|---|",
    ]
    for side, values in middle.items():
        cells = [f"{values['train']:.0f}", f"{values['evaluate']:.0f}", f"{values['command']:.1f}"]
        cells += [f"{values['compile']:.1f}", f"{values['accuracy']:.1f}"]
        lines.append(f"| {side} | {' | '.join(cells)} |")
    for peer in PEERS:
        for side in OURS:
            if peer in middle and side in middle:
                ours, theirs = middle[side], middle[peer]
                ratios = [f"{ours[key] / theirs[key]:.2f}x" for key in ("train", "evaluate")]
                ratios.append(f"{theirs['command'] / ours['command']:.2f}x")
                lines.append(f"| {side} : {peer} | {' | '.join(ratios)} | | |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
