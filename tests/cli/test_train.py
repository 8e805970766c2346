"""``clue train`` as a user meets it: what it refuses before any backend is loaded, and what a run leaves."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_runner.cli.main import run as run_clue

BERT = Path(__file__).parents[1] / "goldens" / "bert"

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
SAMPLE = Path(__file__).parents[2] / "tasks" / "afqmc" / "sample"
SMALL = ("--model", "test", "--backend", BACKEND)
SMALL += ("--set", "data.max_length=8", "--set", "data.limit_train=64", "--set", "data.limit_dev=32")
SMALL += ("--set", "train.max_steps=3", "--set", "train.precision=float32")
SMALL += ("--set", "model.num_layers=1")
Clue = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all runs of this file; compiled programs are kept between them."""
    cache = tmp_path_factory.mktemp("cache")
    return cache


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A copy of the sample that a test may spoil."""
    return Path(shutil.copytree(SAMPLE, tmp_path / "数据"))


def without(defaults: tuple[Any, ...], given: tuple[Any, ...]) -> list[Any]:
    """Return pairs of option and value without those that are given: none may stand twice."""

    def pairs(words: tuple[Any, ...]) -> list[tuple[str, Any]]:
        return [pair for pair in zip(words, words[1:], strict=False) if str(pair[0]).startswith("--")]

    def key(option: str, value: Any) -> str:
        return str(value).partition("=")[0] if option == "--set" else option

    known = {key(*pair) for pair in pairs(given)}
    return [word for pair in pairs(defaults) if key(*pair) not in known for word in pair]


@pytest.fixture
def train(clue: Clue, cache: Path, tmp_path: Path) -> Clue:
    def call(*arguments: str | Path, output: Path | None = None, task: str = "afqmc") -> Any:
        given = ("--task", task, "--output", output or tmp_path / "run")
        return clue("train", *without((*given, *SMALL), arguments), *arguments)

    return call


# ---------------------------------------------------------------------------- refused at once


def edit(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    lines = path.read_text(encoding="utf-8").split("\n")
    path.write_text("\n".join(change(lines)), encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "code", "texts"),
    [
        (("--task", "afqcm"), 2, ["afqcm", "afqmc"]),
        (("--model", "tinny"), 2, ["tinny", "tiny"]),
        (("--set", "train.lerning_rate=1e-5"), 2, ["train.lerning_rate", "learning_rate"]),
        (("--set", "train.batch_size=four"), 2, ["train.batch_size", "four"]),
        (("--data", "no/such/folder"), 3, ["no/such/folder", "'sample' for the records that ship"]),
        (("--config", "no/such.yaml"), 3, ["no/such.yaml"]),
        (("--model", "no/such/model"), 3, ["no/such/model"]),
        (("--model", "hf:bert-base-chinese"), 4, ["bert-base-chinese", "hf:OWNER/NAME"]),
        (("--model", "bert-base"), 4, ["bert-base", "model.init=random"]),
        (("--seed", "1", "--seeds", "2"), 2, ["--seeds"]),
        (("--fail-under", "high"), 2, ["fail-under"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_refused(
    train: Clue, tmp_path: Path, arguments: tuple[str, ...], code: int, texts: list[str]
) -> None:
    outcome = train(*without(("--data", "sample"), arguments), *arguments)
    assert outcome.exit_code == code
    for text in texts:
        assert text in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not (tmp_path / "run").exists()


def test_yaml_with_a_python_tag_is_refused_and_does_nothing(train: Clue, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    config = tmp_path / "my.yaml"
    config.write_text(f"train: !!python/object/apply:os.system ['touch {marker}']\n", encoding="utf-8")
    outcome = train("--data", "sample", "--config", config)
    assert outcome.exit_code == 2
    assert "my.yaml:1" in outcome.stderr
    assert not marker.exists()


class Marker:
    """A pickle of this class writes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_a_pickled_checkpoint_runs_nothing(train: Clue, tmp_path: Path) -> None:
    model = Path(shutil.copytree(BERT, tmp_path / "model"))
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Marker(tmp_path / "marker")))
    for name in (model, model / "pytorch_model.bin"):
        outcome = train("--data", "sample", "--model", name)
        assert outcome.exit_code == 5
        assert "pytorch_model.bin" in outcome.stderr
    assert not (tmp_path / "marker").exists()


def test_a_zip_with_other_members(train: Clue, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.md", "nothing here")
    outcome = train("--data", tmp_path / "other.zip")
    assert outcome.exit_code == 3
    assert "readme.md" in outcome.stderr
    assert "train.json" in outcome.stderr


@pytest.mark.parametrize(
    ("file", "change", "texts"),
    [
        ("train.json", lambda lines: [*lines[:4], '{"sentence1": ', *lines[5:]], ["train.json:5"]),
        (
            "dev.json",
            lambda lines: [lines[0].replace('"label": "', '"label": "9'), *lines[1:]],
            ["dev.json:1", "0, 1"],
        ),
        ("dev.json", lambda lines: [], ["dev.json", "empty"]),
    ],
    ids=["broken line", "unknown label", "empty split"],
)
def test_broken_data(
    train: Clue,
    data: Path,
    tmp_path: Path,
    file: str,
    change: Callable[[list[str]], list[str]],
    texts: list[str],
) -> None:
    edit(data / file, change)
    outcome = train("--data", data)
    assert outcome.exit_code == 3
    for text in texts:
        assert text in outcome.stderr
    assert not (tmp_path / "run").exists()


def test_output_under_a_file(train: Clue, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    outcome = train("--data", "sample", output=tmp_path / "file" / "run")
    assert outcome.exit_code == 8
    assert str(tmp_path / "file") in outcome.stderr
    assert "--output" in outcome.stderr


def test_output_that_may_not_be_written(train: Clue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, data: bytes) -> None:  # the modes of a folder do not bind root
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("clue_runner.files.atomic.write_synced", refuse)
    outcome = train("--data", "sample", output=tmp_path / "locked" / "run")
    assert outcome.exit_code == 8, outcome.stderr
    assert f"{tmp_path / 'locked' / 'run'}: cannot write: Permission denied" in outcome.stderr
    assert "choose a writable folder with --output" in outcome.stderr
    assert "step" not in outcome.stdout  # before training, not after it
    assert not [path for path in (tmp_path / "locked").rglob("*") if path.is_file()]


def test_output_that_is_somebody_elses(train: Clue, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("", encoding="utf-8")
    outcome = train("--data", "sample", output=tmp_path / "home")
    assert outcome.exit_code == 2
    assert "thesis.tex" in outcome.stderr


def test_dry_run_says_the_plan_and_writes_nothing(train: Clue, tmp_path: Path) -> None:
    outcome = train("--data", "sample", "--dry-run")
    assert outcome.exit_code == 0
    assert "random weights, not a pre-trained model" in outcome.stdout
    assert "at most 3" in outcome.stdout
    assert "nothing was run" in outcome.stdout
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------------------- a run


@pytest.fixture(scope="module")
def finished(folder: Path, cache: Path) -> tuple[Path, str]:
    """One run under a Chinese name with a space, and what it said as JSON."""
    import contextlib
    import io

    path, said = folder / "一个 运行", io.StringIO()
    os.environ["CLUE_HOME"] = str(cache / "home")
    with contextlib.redirect_stdout(said):
        code = run_clue(
            ["train", "--task", "afqmc", "--data", "sample", *SMALL, "--output", str(path), "--json"]
        )
    assert code == 0
    return path, said.getvalue()


def test_metrics(finished: tuple[Path, str]) -> None:
    path, _ = finished
    metrics = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["schema"] == 2
    assert metrics["ok"] is True
    assert (metrics["task"], metrics["model"], metrics["seed"], metrics["split"]) == (
        "afqmc",
        "test",
        42,
        "dev",
    )
    assert (metrics["metric"], metrics["steps"], metrics["examples"]) == ("accuracy", 3, 32)
    assert metrics["data_complete"] is False
    low, high = metrics["confidence_interval"]
    assert 0 <= low <= metrics["score"] == metrics["scores"]["accuracy"] <= high <= 100
    assert 0 < metrics["chance"] < 100
    parts = {"prepare", "compile", "train", "evaluate", "predict", "save", "write", "total"}
    assert set(metrics["seconds"]) == parts
    assert metrics["seconds"]["write"] > 0
    assert set(metrics["examples_per_second"]) == {"train", "evaluate", "predict"}
    assert metrics["seconds"]["total"] >= metrics["seconds"]["prepare"] > 0
    assert 0 <= metrics["padding_share"] < 1
    assert metrics["peak_memory_bytes"] > 10_000_000
    assert set(metrics["data_sha256"]) == {"train", "dev", "test"}
    assert len(metrics["config_sha256"]) == 64
    assert metrics["backend"] == BACKEND
    assert metrics["precision"] == "float32"
    assert {"python", "clue-runner", "keras", "numpy"} < set(metrics["versions"])
    assert metrics["submission"]["ok"] is True
    for field in ("card_version", "device", "epochs", "commit"):
        assert field in metrics


def test_run_folder(finished: tuple[Path, str]) -> None:
    path, _ = finished
    names = {one.relative_to(path).as_posix() for one in path.rglob("*") if one.is_file()}
    assert names == {
        "run.yaml",
        "events.jsonl",
        "metrics.json",
        "report.html",
        "mistakes.jsonl",
        "checkpoints/best",
        "checkpoints/last",
        *(f"checkpoints/step-3/{name}" for name in ("manifest.json", "state.json", "vocab.txt")),
        *(f"checkpoints/step-3/{name}.safetensors" for name in ("weights", "optimizer")),
        "predictions/dev.jsonl",
        "predictions/test.jsonl",
        "submission/afqmc_predict.json",
        "submission/NOT-FOR-UPLOAD.txt",
        "submit-sample.zip",
    }
    predictions = (path / "predictions" / "test.jsonl").read_text(encoding="utf-8").split("\n")
    assert len(predictions) == 65
    assert set(json.loads(predictions[0])) == {"id", "prediction", "probability"}
    with zipfile.ZipFile(path / "submit-sample.zip") as archive:
        assert archive.namelist() == ["afqmc_predict.json", "NOT-FOR-UPLOAD.txt"]


def test_json_is_one_event_a_line_and_the_result_last(finished: tuple[Path, str]) -> None:
    path, said = finished
    events = [json.loads(line) for line in said.split("\n")[:-1]]
    names = [event["event"] for event in events]
    assert names[:2] == ["prepare", "start"]
    assert names[-1] == "result"
    assert {"step", "evaluate", "save"} < set(names)
    assert all(event["schema"] == 2 for event in events)
    metrics = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
    assert {key: events[-1][key] for key in metrics} == metrics
    kept = (path / "events.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert [json.loads(line)["event"] for line in kept] == names[1:]


def test_the_same_command_shows_the_result(finished: tuple[Path, str], train: Clue) -> None:
    path, _ = finished
    before = {one: one.stat().st_mtime_ns for one in path.rglob("*") if one.is_file()}
    outcome = train("--data", "sample", output=path)
    assert outcome.exit_code == 0
    assert outcome.stdout.startswith("model test: random weights, not a pre-trained model\n")
    assert "already finished" in outcome.stdout
    assert "chance" in outcome.stdout
    assert "  published  " not in outcome.stdout  # never under a sample's score
    assert {one: one.stat().st_mtime_ns for one in path.rglob("*") if one.is_file()} == before


def test_json_of_a_finished_run_ends_with_its_result(finished: tuple[Path, str], train: Clue) -> None:
    outcome = train("--data", "sample", "--json", output=finished[0])
    last = json.loads(outcome.stdout.rstrip("\n").split("\n")[-1])
    assert (last["event"], last["ok"]) == ("result", True)


def test_another_setting_is_refused_with_both_values(finished: tuple[Path, str], train: Clue) -> None:
    outcome = train("--data", "sample", "--set", "train.max_steps=4", output=finished[0])
    assert outcome.exit_code == 4
    assert "train.max_steps: was 3, is now 4" in outcome.stderr
    assert "--fresh" in outcome.stderr


def test_other_data_is_refused(finished: tuple[Path, str], train: Clue, data: Path) -> None:
    edit(data / "train.json", lambda lines: [*lines[1:-1], lines[0], ""])
    outcome = train("--data", data, output=finished[0])
    assert outcome.exit_code == 4
    assert "train: the file has changed" in outcome.stderr


def test_fail_under_speaks_after_everything_is_written(finished: tuple[Path, str], train: Clue) -> None:
    outcome = train("--data", "sample", "--fail-under", "100.5", output=finished[0])
    assert outcome.exit_code == 10
    assert "100.5" in outcome.stderr
    assert train("--data", "sample", "--fail-under", "0", output=finished[0]).exit_code == 0


def test_without_a_test_file(train: Clue, data: Path, tmp_path: Path) -> None:
    """Said before training; training runs; no submission; the counts are not the card's."""
    (data / "test.json").unlink()
    outcome = train("--data", data)
    assert outcome.exit_code == 0
    assert "no file test.json" in outcome.stderr
    assert "train.json has 1,024 records, the official file has 34,334" in outcome.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["submission"] is None
    assert metrics["data_complete"] is False
    assert not (tmp_path / "run" / "submission").exists()


def test_seeds(train: Clue, tmp_path: Path) -> None:
    outcome = train("--data", "sample", "--seeds", "2", "--json")
    assert outcome.exit_code == 0
    last = json.loads(outcome.stdout.rstrip("\n").split("\n")[-1])
    assert (last["event"], last["seeds"]) == ("result", [42, 43])
    first, second = last["values"]
    assert last["mean"] == pytest.approx((first + second) / 2)
    assert last["std"] == pytest.approx(abs(first - second) / 2**0.5)
    low, high = last["confidence_interval"]
    assert min(first, second) <= low <= last["mean"] <= high <= max(first, second)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "seed-42",
        "seed-43",
        "summary.json",
    ]
    single = json.loads((tmp_path / "run" / "seed-43" / "metrics.json").read_text(encoding="utf-8"))
    assert single["seed"] == 43


def test_a_gpu_that_is_not_there(train: Clue) -> None:
    if BACKEND == "jax":
        import jax

        if any(device.platform == "gpu" for device in jax.devices()):
            pytest.skip("this machine has a GPU")
    outcome = train("--data", "sample", "--device", "gpu:7")
    assert outcome.exit_code == 2
    assert "gpu:7" in outcome.stderr


# ---------------------------------------------------------------------------- what a machine reads


def test_a_low_score_leaves_the_result_as_the_last_line(finished: tuple[Path, str], train: Clue) -> None:
    outcome = train("--data", "sample", "--json", "--fail-under", "101", output=finished[0])
    assert outcome.exit_code == 10
    assert "under --fail-under" in outcome.stderr
    last = json.loads(outcome.stdout.rstrip("\n").split("\n")[-1])
    assert (last["event"], last["ok"]) == ("result", True)


def test_events_of_several_seeds_carry_the_seed(train: Clue, tmp_path: Path) -> None:
    outcome = train("--data", "sample", "--seeds", "2", "--json", "--set", "seed=7")
    assert outcome.exit_code == 0
    first, *events, last = [json.loads(line) for line in outcome.stdout.rstrip("\n").split("\n")]
    assert first["event"] == "prepare"
    seeds = [event["seed"] for event in events]  # warnings too
    assert set(seeds) == {7, 8}
    assert seeds == sorted(seeds)
    assert last["event"] == "result"
    assert last["seeds"] == [7, 8]
    assert "seed" not in last
    schema = {"prepare", "start", "warning", "step", "evaluate", "save", "result"}
    assert {event["event"] for event in events} <= schema


FIRST_LINE = """
import json, sys
from clue_runner import console
from clue_runner.cli.main import main
put = console.put
def first(text, stream):
    if stream is sys.stdout:
        heavy = {"tensorflow", "jax", "keras", "sklearn"} & set(sys.modules)
        print(json.dumps(sorted(heavy)), file=sys.stderr)
        raise SystemExit(0)
    put(text, stream)
console.put = first
main(sys.argv[1:])
"""


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_a_line_is_out_before_the_first_slow_import(form: tuple[str, ...], tmp_path: Path) -> None:
    import subprocess
    import sys

    command = ["train", "--task", "afqmc", "--data", "sample", *SMALL, "--output", str(tmp_path / "r"), *form]
    done = subprocess.run(
        [sys.executable, "-c", FIRST_LINE, *command], capture_output=True, encoding="utf-8", check=True
    )
    assert done.stderr.split("\n")[-2] == "[]"
    assert not (tmp_path / "r").exists()


# ---------------------------------------------------------------------------- done again


def test_a_run_yaml_repeats_the_run(
    finished: tuple[Path, str], clue: Clue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = finished[0] / "run.yaml"
    assert clue("train", "--config", settings, "--output", "again").exit_code == 0
    again = tmp_path / "again"
    for name in ("run.yaml", "predictions/dev.jsonl", "predictions/test.jsonl", "submit-sample.zip"):
        assert (again / name).read_bytes() == (finished[0] / name).read_bytes(), name
    # and a repetition of the repetition is the same run: it has ended
    outcome = clue("train", "--config", again / "run.yaml", "--output", "again")
    assert "already finished" in outcome.stdout


def test_a_run_on_a_folder_of_data_is_repeated_with_it(train: Clue, clue: Clue, data: Path) -> None:
    edit(data / "train.json", lambda lines: [*lines[1:-1], lines[0], ""])
    run = data.parent / "run"
    assert train("--data", data, "--set", "train.max_steps=1").exit_code == 0
    outcome = clue("train", "--config", run / "run.yaml", "--output", run)
    assert outcome.exit_code == 0
    assert "already finished" in outcome.stdout


def test_without_a_task_it_says_where_one_can_come_from(clue: Clue, tmp_path: Path) -> None:
    outcome = clue("train", "--data", "sample", "--set", "seed=1")
    assert outcome.exit_code == 2
    assert "--config RUN/run.yaml" in outcome.stderr
    both = tmp_path / "run.yaml"
    both.write_text("task:\n  name: afqmc\n", encoding="utf-8")
    outcome = clue("train", "--task", "tnews", "--data", "sample", "--config", both, "--dry-run")
    assert outcome.exit_code == 2
    assert "contradicts --task" in outcome.stderr


def test_a_name_is_the_last_part_of_the_default_folder(
    clue: Clue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ("train", "--task", "afqmc", "--data", "sample", *SMALL, "--dry-run", "--name")
    assert f"writes       {Path('runs', 'afqmc', '第 一')}/" in clue(*given, "第 一").stdout
    for bad in ("a/b", "..", "", "nul", "x" * 300):
        outcome = clue(*given, bad)
        assert outcome.exit_code == 2, bad
        assert "--name" in outcome.stderr
