"""clue pretrain: a run as train's, a checkpoint that train takes, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clue_runner
from clue_runner.checkpoints.importer import read_checkpoint
from clue_runner.errors import UsageError
from clue_runner.files.tensors import read_safetensors

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
Clue = Callable[..., Any]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some hundred small documents of a few sentences."""
    generator = np.random.default_rng(3)
    animals, places, deeds = (
        ["小猫", "白鹭", "蜻蜓", "松鼠"],
        ["公园里", "河边", "屋顶上"],
        ["睡觉", "散步", "喝水"],
    )
    documents = []
    for _ in range(240):
        animal, place, deed = (words[generator.integers(len(words))] for words in (animals, places, deeds))
        documents.append(f"{animal}在{place}{deed}。\n大家都喜欢{animal}，因为它常常到{place}来{deed}。\n")
    path = tmp_path_factory.mktemp("texts") / "own.txt"
    path.write_text("\n".join(documents), encoding="utf-8")
    return path


def arguments(text: Path, output: Path, *further: object, **settings: object) -> list[object]:
    chosen = {
        "data.max_length": 32,
        "model.num_layers": 1,
        "train.batch_size": 16,
        "train.max_steps": 6,
        "train.evaluate_steps": 3,
        "train.precision": "float32",
        **{name.replace("__", "."): value for name, value in settings.items()},
    }
    flags = [part for name, value in chosen.items() for part in ("--set", f"{name}={value}")]
    given = ["pretrain", "--texts", text, "--heldout-share", "0.1", "--output", output]
    return [*given, "--model", "test", "--backend", BACKEND, *flags, *further]


def test_a_run_that_goes_on_is_bit_equal_and_its_checkpoint_is_trained_on(
    clue: Clue, text: Path, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    licensed = ("--licence", "Apache-2.0", "--save-as", "bfloat16")
    found = clue(*arguments(text, whole, *licensed))
    assert found.exit_code == 0, found.stderr
    assert "masked_accuracy" in found.stdout and "heldout_loss" in found.stdout
    assert "tokens per second" in found.stdout and (whole / "report.html").exists()

    shutil.copytree(whole, broken, ignore=shutil.ignore_patterns("model", "metrics.json", "step-6"))
    (broken / "checkpoints" / "last").write_text("step-3\n", encoding="ascii")
    (broken / "checkpoints" / "best").unlink()
    again = clue(*arguments(text, broken, *licensed))
    assert again.exit_code == 0, again.stderr
    assert "resuming" in again.stdout
    for name in ("weights", "optimizer"):
        one, two = (folder / "checkpoints" / "step-6" / f"{name}.safetensors" for folder in (whole, broken))
        assert one.read_bytes() == two.read_bytes()
    scores = [json.loads((folder / "metrics.json").read_text())["scores"] for folder in (whole, broken)]
    assert scores[0] == scores[1] and scores[0]["heldout_loss"] > 0

    card = (whole / "model" / "README.md").read_text(encoding="utf-8")
    assert "own.txt" in card and "Apache-2.0" in card and "random weights" in card
    stored = read_safetensors(whole / "model" / "model.safetensors").tensors
    assert {str(value.dtype) for value in stored.values()} == {"bfloat16"}
    assert "cls.predictions.transform.dense.weight" in stored
    checkpoint = read_checkpoint(whole / "model", heads=["masked_words"])
    state = read_safetensors(whole / "checkpoints" / "step-6" / "weights.safetensors").tensors
    word = state["backbone/embeddings/word"]
    np.testing.assert_allclose(checkpoint.weights["backbone/embeddings/word"], word, rtol=1 / 128)

    finished = clue(*arguments(text, whole, *licensed))
    assert finished.exit_code == 0 and "already finished" in finished.stdout
    tuned = clue(
        *("train", "--task", "afqmc", "--data", "sample", "--model", whole / "model", "--config", "smoke"),
        *("--set", "train.max_steps=2", "--output", tmp_path / "tuned", "--backend", BACKEND),
    )
    assert tuned.exit_code == 0, tuned.stderr
    onwards = clue(*arguments(text, tmp_path / "onwards", "--model", whole / "model", train__max_steps=1))
    assert onwards.exit_code != 0 and "--model" in onwards.stderr  # it is given twice


def test_it_goes_on_from_a_checkpoint_on_the_texts_of_a_task_with_tokens_dropped(
    clue: Clue, tmp_path: Path
) -> None:
    golden = Path(__file__).parents[1] / "goldens" / "masked_words"
    options = {
        "task.drop_masked": "true",
        "task.mask_rate": 0.4,
        "task.longest_run": 2,
        "model.positions": "hierarchical",
        "data.max_length": 24,
        "train.max_steps": 2,
        "train.learning_rate": 1e-9,
    }
    flags = [part for name, value in options.items() for part in ("--set", f"{name}={value}")]
    found = clue(
        *("pretrain", "--task", "afqmc", "--data", "sample", "--heldout-share", "0.2"),
        *("--model", golden, "--output", tmp_path / "run", "--backend", BACKEND, "--json", *flags),
    )
    assert found.exit_code == 0, found.stderr
    result = json.loads(found.stdout.strip().splitlines()[-1])
    assert result["ok"] and result["steps"] == 2 and result["checkpoint"]["sha256"]
    before, after = (
        read_checkpoint(one, heads=["masked_words"]) for one in (golden, tmp_path / "run" / "model")
    )
    assert set(before.weights) == set(after.weights)
    for name in before.weights:  # nothing of the checkpoint was begun anew, its head included
        np.testing.assert_allclose(after.weights[name], before.weights[name], rtol=0, atol=1e-6)


def test_a_dry_run_says_what_would_be_done_and_writes_no_run(clue: Clue, text: Path, tmp_path: Path) -> None:
    found = clue(*arguments(text, tmp_path / "run", "--dry-run"))
    assert found.exit_code == 0, found.stderr
    assert "6 of 16 examples" in found.stdout and "memory" in found.stdout
    assert not (tmp_path / "run").exists()


def test_the_python_call_does_what_the_command_does(clue: Clue, text: Path, tmp_path: Path) -> None:
    words = [str(word) for word in arguments(text, tmp_path / "command", train__max_steps=2)]
    assert clue(*words).exit_code == 0
    settings = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
    options: dict[str, Any] = {"texts": str(text), "heldout_share": 0.1, "model": "test", "set": settings}
    options |= {"backend": BACKEND, "output": str(tmp_path / "call"), "checkpoint": str(tmp_path / "mini")}
    found = clue_runner.pretrain(**options, quiet=True)
    assert found["folder"] == str(tmp_path / "mini")
    model = "model.safetensors"
    assert (tmp_path / "mini" / model).read_bytes() == (tmp_path / "command" / "model" / model).read_bytes()
    assert clue_runner.pretrain(**options, quiet=True)["score"] == found["score"]
    for wrong, message in (
        ({"text": str(text)}, "text: no such option"),
        ({"texts": [3]}, "texts: not text, got 3"),
        ({"heldout_share": 2.0}, "--heldout-share: .* got 2"),
        ({"save_as": "float16"}, "--save-as: .* got float16"),
    ):
        with pytest.raises(UsageError, match=message):
            clue_runner.pretrain(**{**options, **wrong}, quiet=True)


def refused(clue: Clue, exit_code: int, *arguments: object) -> str:
    found = clue("pretrain", *arguments)
    assert found.exit_code == exit_code, found.stderr
    assert "Traceback" not in found.stderr
    return str(found.stderr)


def test_bad_texts_are_one_message(clue: Clue, tmp_path: Path) -> None:
    output = tmp_path / "run"
    wanted = ("--model", "test", "--output", output)
    assert "nothing to train on" in refused(clue, 2, *wanted)
    assert "cannot read the file" in refused(clue, 3, "--texts", tmp_path / "none.txt", *wanted)
    empty, foreign = tmp_path / "empty.txt", tmp_path / "foreign.txt"
    empty.write_text("\n \n", encoding="utf-8")
    assert "no text to train on" in refused(clue, 3, "--texts", empty, *wanted)
    foreign.write_bytes("中文".encode("gb18030"))
    assert "not UTF-8" in refused(clue, 3, "--texts", foreign, *wanted)
    assert "running text" in refused(clue, 2, "--texts", tmp_path / "x.pdf", *wanted)
    whole = tmp_path / "whole.txt"
    whole.write_text("今天天气很好。\n" * 40, encoding="utf-8")
    assert "nothing is held out" in refused(clue, 3, "--texts", whole, *wanted)
    assert not output.exists()


def test_vocabularies_networks_and_settings_that_do_not_fit_are_refused(
    clue: Clue, text: Path, tmp_path: Path
) -> None:
    def with_settings(exit_code: int, *settings: str, model: str = "test") -> str:
        flags = [part for one in settings for part in ("--set", one)]
        return refused(
            clue, exit_code, "--texts", text, "--model", model, "--output", tmp_path / "run", *flags
        )

    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n今\n天\n", encoding="utf-8")
    assert "[MASK]" in with_settings(4, f"model.vocab={vocabulary}")
    assert "drop_masked" in with_settings(2, "train.drop_tokens=0.1")
    assert "model.keep_tokens" in with_settings(2, "model.keep_tokens=auto")
    assert "family" in with_settings(2, model="dgcnn")
    assert "masked-word head" in with_settings(2, "model.init=random", model="gpt2-ml")
    assert "data.fold" in with_settings(2, "data.fold=0/5")
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine", encoding="utf-8")
    wanted = ("--texts", text, "--model", "test", "--output", tmp_path / "run")
    assert "nothing is overwritten" in refused(clue, 2, *wanted, "--checkpoint", taken)
    (taken / "pretraining.json").write_text("{}", encoding="utf-8")
    assert "another run's checkpoint" in refused(clue, 2, *wanted, "--checkpoint", taken)
    assert "a separate folder" in refused(clue, 2, *wanted, "--checkpoint", tmp_path / "run")
