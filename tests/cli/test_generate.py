"""clue generate: seeded, streamed, ended by this vocabulary's own stop; and what it refuses."""

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
from clue_runner.console import Console
from clue_runner.errors import UsageError
from clue_runner.tokens.layouts.joining import Joiner, joined
from clue_runner.tokens.tokenizer import Tokenizer

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
GOLDENS = Path(__file__).parents[1] / "goldens"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [*SPECIAL, *"今天气很好我们去公园吧。，看花开了又落下雨", "hello", "world", "##s", "2"]
CONFIG = {
    "vocab_size": len(PIECES), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 24, "max_position_embeddings": 12, "hidden_act": "gelu",
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden's decoder with a small vocabulary, as a release lies on a disk."""
    tf = pytest.importorskip("tensorflow")
    folder = tmp_path_factory.mktemp("decoder")
    golden = np.load(GOLDENS / "gpt2_ml.npz")
    stored = {name.removeprefix("weights/"): golden[name] for name in golden if name.startswith("weights/")}
    tf.raw_ops.SaveV2(
        prefix=str(folder / "model.ckpt-1"),
        tensor_names=list(stored),
        shape_and_slices=[""] * len(stored),
        tensors=list(stored.values()),
    )
    (folder / "gpt2_ml_config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in PIECES), encoding="utf-8")
    return folder


@pytest.fixture
def generate(clue: Callable[..., Any], model: Path) -> Callable[..., Any]:
    def call(*arguments: object, **options: object) -> Any:
        given = {
            "model": model,
            "prompt": "今天",
            "max-length": 8,
            "backend": BACKEND,
            "precision": "float32",
        }
        flags = [part for name, value in (given | options).items() for part in (f"--{name}", str(value))]
        return clue("generate", *flags, *arguments)

    return call


def test_a_seed_gives_a_text_and_more_samples_leave_the_first_as_it_is(generate: Any) -> None:
    one, again, three = (generate(samples=count) for count in (1, 1, 3))
    assert one.exit_code == 0 and one.stdout.startswith("今天") and one.stdout == again.stdout
    assert three.stdout.startswith(one.stdout)
    texts = three.stdout.split("\n\n")
    assert len(texts) == 3 and len(set(texts)) == 3
    assert generate(seed=7).stdout != one.stdout
    assert BACKEND in one.stderr and BACKEND not in one.stdout


def test_the_text_is_shown_while_it_is_written(generate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(Console, "rows", lambda self, text: shown.append(text))
    generate(**{"min-length": 6})
    assert shown[0] == "今天" and len(shown) >= 6 and shown[-1] == "\n"


def test_lengths_and_stops_are_kept(generate: Any) -> None:
    flat = {"temperature": 9, "stop": "。", "min-length": 3, "samples": 24}  # nearly even probabilities
    found = json.loads(generate("--json", **flat).stdout)
    assert 24 * 3 <= found["tokens"] < 24 * 8
    assert all("。" not in text[:-1] and len(text) >= 3 for text in found["samples"])
    assert any(text.endswith("。") for text in found["samples"])


@pytest.mark.real_data
def test_the_full_stop_is_looked_up_in_each_vocabulary(real_data: Path) -> None:
    from clue_runner.commands.generation.decoder import Loaded

    ends = {}
    for name in ("bert_chinese_21128", "clue_8021"):
        tokenizer = Tokenizer(real_data / "vocab" / f"{name}.txt", lowercase=True)
        loaded = Loaded(None, tokenizer, BACKEND, 1024, "")
        ends[name] = (loaded.end_id("。"), loaded.end_id(None))
    assert ends == {"bert_chinese_21128": (511, 102), "clue_8021": (545, 102)}


def test_greedy_is_a_beam_of_one(generate: Any) -> None:
    greedy = json.loads(generate("--json", temperature=0).stdout)["samples"]
    beam = json.loads(generate("--json", beam=1).stdout)["samples"]
    assert greedy == beam
    wide = json.loads(generate("--json", beam=4, samples=3).stdout)["samples"]
    assert len(set(wide)) == 3


def test_an_answer_s_score_is_the_mean_of_its_own_tokens(model: Path) -> None:
    from clue_runner import load_backbone
    from clue_runner.commands.generation.decoder import find_checkpoint, load
    from clue_runner.commands.generation.zero_shot import Scorer

    checkpoint = find_checkpoint(str(model), BACKEND)  # type: ignore[arg-type]
    loaded = load(checkpoint, backend=BACKEND, device="cpu", precision="float32")  # type: ignore[arg-type]
    answers = ["气", "很好吗", ""]
    found = Scorer(loaded).scores("今天", answers)
    table = checkpoint.weights["backbone/embeddings/word"]
    backbone = load_backbone(model, backend=BACKEND)  # type: ignore[arg-type]
    for answer, score in zip(answers, found, strict=True):
        ids = [PIECES.index(one) if one in PIECES else 1 for one in f"今天{answer}"]
        logits = backbone(np.array([ids]))[0][0].astype(np.float64) @ table.T
        chances = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        means = [chances[place, ids[place + 1]] for place in range(1, len(ids) - 1)]
        assert score == (pytest.approx(np.mean(means), abs=1e-4) if means else -np.inf)


def test_a_task_is_scored_without_training(clue: Any, model: Path) -> None:
    chosen = ("--zero-shot", "--model", model, "--backend", BACKEND, "--data", "sample", "--limit", 3)
    found = clue("evaluate", "--task", "afqmc", *chosen, "--shots", 1, "--json")
    assert found.exit_code == 0
    result = json.loads(found.stdout.splitlines()[-1])
    assert result["examples"] == 3 and result["metric"] == "accuracy"
    assert clue("evaluate", "--task", "c3", *chosen).exit_code == 0
    assert clue("evaluate", "--task", "cluener", *chosen).exit_code == 2
    assert clue("evaluate", "--task", "afqmc", "--zero-shot").exit_code == 2
    assert clue("evaluate", "--task", "afqmc").exit_code == 2


def test_no_run_is_repeated(generate: Any) -> None:
    text = json.loads(generate("--json", temperature=0, **{"no-repeat": 1}).stdout)["samples"][0]
    assert len(set("今天" + text)) == len("今天" + text)


def test_what_cannot_be_is_refused(generate: Any, clue: Any, model: Path) -> None:
    assert generate(**{"max-length": 11}).exit_code == 2
    assert "--max-length 10" in generate(**{"max-length": 11}).stderr
    assert generate(beam=2, **{"top-k": 3}).exit_code == 2
    assert generate(prompt=" ").exit_code == 2
    assert generate(stop="今天").exit_code == 2
    reader = clue("generate", "--model", GOLDENS / "bert", "--prompt", "今", "--backend", BACKEND)
    assert reader.exit_code == 4 and "gpt2_ml" in reader.stderr
    assert clue("generate", "--model", "gpt2-ml", "--prompt", "今").exit_code == 4


def test_pieces_are_joined_as_chinese_is_written() -> None:
    assert joined(["hello", "world", "##s", "，", "今", "天", "2020", "年"]) == "hello worlds，今天2020年"
    assert joined(["3", ".", "5"]) == "3.5" and joined(["yes", ",", "no"]) == "yes, no"
    joiner = Joiner("python")
    assert (joiner.add("##s"), joiner.add("are"), joiner.add("好")) == ("s", " are", "好")


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", "nan"), ("temperature", "inf"), ("temperature", -1), ("top-p", "nan"), ("top-p", 0),
     ("top-p", 2), ("top-k", 0), ("samples", 0), ("repetition-penalty", "nan"), ("length-penalty", "inf"),
     ("prompt", "\t\n"), ("prompt", "鑫鑫")],
)  # fmt: skip
def test_numbers_and_prompts_that_cannot_be_are_named(generate: Any, name: str, value: object) -> None:
    found = generate(**{name: value, **({"beam": 2} if name == "length-penalty" else {})})
    assert found.exit_code == 2 and f"--{name}" in found.stderr and not found.stdout


def test_edges_of_what_can_be(generate: Any) -> None:
    assert generate(**{"top-p": 1}).stdout == generate().stdout  # everything is kept
    least = json.loads(generate("--json", **{"top-p": 1e-9}).stdout)["samples"]
    assert least == json.loads(generate("--json", temperature=0).stdout)["samples"]
    found = generate(prompt="鑫今𠮷")
    assert found.exit_code == 0 and "鑫, 𠮷" in found.stderr and found.stdout.startswith("鑫今𠮷")


def test_the_calls_of_python_write_what_the_command_writes(generate: Any, model: Path) -> None:
    told = json.loads(generate("--json", samples=2).stdout)["samples"]
    chosen = {"backend": BACKEND, "precision": "float32"}
    result = clue_runner.generate(model=model, prompt="今天", samples=2, max_length=8, **chosen)
    assert result["samples"] == told
    decoder = clue_runner.load_decoder(model, **chosen)
    first, second = (decoder.stream("今天", max_length=8) for _ in range(2))
    parts = [(next(first), next(second)) for _ in range(2)]  # two texts at once do not disturb one another
    assert (
        "".join([one for one, _ in parts] + list(first))
        == told[0]
        == "".join([one for _, one in parts] + list(second))
    )
    assert decoder.write("今天", samples=2, max_length=8) == told
    beams = json.loads(generate("--json", beam=3, samples=2).stdout)["samples"]
    assert decoder.write("今天", beam=3, samples=2, max_length=8) == beams
    for wrong in ({"top_p": 2.0}, {"samples": 2}, {"beam": 2}, {"topp": 1}, {"temperature": float("nan")}):
        with pytest.raises(UsageError):
            decoder.stream("今天", **wrong)
    with pytest.raises(UsageError, match="prompt"):
        clue_runner.generate(model=model)


def test_a_vocabulary_shorter_than_the_table_writes_its_own_pieces_alone(
    generate: Any, model: Path, tmp_path: Path
) -> None:
    shorter = shutil.copytree(model, tmp_path / "shorter")
    (shorter / "vocab.txt").write_text("".join(f"{piece}\n" for piece in PIECES[:-9]), encoding="utf-8")
    found = generate(model=shorter, temperature=9, samples=20)
    assert found.exit_code == 0
