"""``clue bench run``: stages, numbers and exit codes, with a stand-in for the process that trains."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_runner.adapters.sections import SECTIONS
from clue_runner.commands.bench import run as module
from clue_runner.commands.bench.planning import Planner
from clue_runner.config.resolved import config_hash
from clue_runner.config.shipped import shipped_folder
from clue_runner.runs.folder import RunFolder, write_settings
from clue_runner.runs.results import write_result
from clue_runner.suites.executors import local
from clue_runner.suites.items import Item, Work
from clue_runner.suites.records import Attempt, ItemPlace, Record

GRID = """\
title: a grid
models: [test]
tasks: [afqmc, csl]
seeds: [1, 2]
fresh_seeds: [7]
grid: {train.learning_rate: [1e-3, 1e-4]}
config: [smoke]
data: sample
"""


@pytest.fixture
def trained(
    monkeypatch: pytest.MonkeyPatch, make_result: Callable[..., Any], tmp_path: Path
) -> Callable[[Callable[[str, int, float], float | None]], list[Work]]:
    """Let a function of task, seed and rate say each item's score; None: it ends with exit code 6."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)  # the suite says it

    known: dict[str, Item] = {}
    planned = Planner.items

    def items(self: Planner, wishes: Any) -> list[Item]:
        made = planned(self, wishes)
        known.update({item.id: item for item in made})
        return made

    monkeypatch.setattr(Planner, "items", items)

    def leave(item: Item, score: float) -> None:
        item.folder.mkdir(parents=True)
        write_settings(RunFolder(item.folder), item.run, SECTIONS)
        facts = {name: item.facts[name] for name in ("identity", "code", "precision", "backend")}
        own = {"task": item.task, "seed": item.run.seed, "config_sha256": config_hash(item.run)}
        write_result(item.folder / "metrics.json", make_result(score=score, **facts, **own))

    def use(score_of: Callable[[str, int, float], float | None]) -> list[Work]:
        begun: list[Work] = []

        def attempt(work: Work, **options: Any) -> int:
            begun.append(work)
            words = dict(zip(work.arguments, work.arguments[1:], strict=False))
            rates = [word.partition("=")[2] for word in work.arguments if "learning_rate" in word]
            score = score_of(words["--task"], int(words["--seed"]), float(rates[0]) if rates else 0.0)
            if score is not None:
                leave(known[work.id], score)
                return 0
            work.place.mkdir(parents=True, exist_ok=True)
            failed = Attempt(host="h", started="t", exit_code=6, reason="the loss is not a number")
            ItemPlace(work.place).write(Record(id=work.id, words=work.words, command=[], attempts=[failed]))
            return 6

        monkeypatch.setattr(local, "attempt", attempt)
        monkeypatch.setattr(module, "attempt", attempt)
        return begun

    return use


def table(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "collected.json").read_text(encoding="utf-8"))
    return found


def test_a_grid_chooses_and_runs_again(clue: Callable[..., Any], trained: Any, tmp_path: Path) -> None:
    begun = trained(lambda task, seed, rate: 60.0 + seed if rate == 1e-3 else 50.0 + seed)
    path = tmp_path / "g.yaml"
    path.write_text(GRID, encoding="utf-8")
    outcome = clue("bench", "run", path)
    assert outcome.exit_code == 0, outcome.stderr
    assert len(begun) == 8 + 2
    assert all("--seed 7" in " ".join(work.arguments) for work in begun[8:])
    assert all("train.learning_rate=0.001" in work.arguments for work in begun[8:])
    cells = table(tmp_path / "runs" / "bench" / "g")["cells"]
    assert [(cell["mean"], cell["seeds"], cell["best_of_grid"]) for cell in cells] == [
        (67.0, [7], 61.5),
        (67.0, [7], 61.5),
    ]
    assert clue("bench", "run", path).exit_code == 0
    assert len(begun) == 10  # a second call did nothing


def test_items_by_number(clue: Callable[..., Any], trained: Any, tmp_path: Path) -> None:
    begun = trained(lambda task, seed, rate: 60.0 if rate == 1e-4 else 50.0)
    path = tmp_path / "g.yaml"
    path.write_text(GRID, encoding="utf-8")
    early = clue("bench", "run", path, "--index", "9")
    assert (early.exit_code, "the grid has not ended" in early.stderr) == (9, True)
    for number in (4, 5, 6, 7, 9):  # all of csl, which does not wait for afqmc
        assert clue("bench", "run", path, "--index", number).exit_code == 0
    assert "train.learning_rate=0.0001" in begun[-1].arguments
    plan = json.loads(clue("bench", "plan", path, "--json").stdout.splitlines()[-1])
    assert [item["index"] for item in plan["items"]] == [*range(8), 9]
    assert [item["index"] for item in plan["items"] if item["state"] == "ok"] == [4, 5, 6, 7, 9]
    cells = json.loads(clue("bench", "collect", path, "--json").stdout.splitlines()[-1])["cells"]
    assert [cell["mean"] for cell in cells] == [None, 60.0]


def test_one_that_fails_stops_no_other_and_tells(
    clue: Callable[..., Any], trained: Any, tmp_path: Path
) -> None:
    begun = trained(lambda task, seed, rate: None if (task, seed) == ("afqmc", 2) else 70.0)
    path = tmp_path / "f.yaml"
    text = GRID.replace("fresh_seeds: [7]\n", "").replace("grid: {train.learning_rate: [1e-3, 1e-4]}\n", "")
    path.write_text(text, encoding="utf-8")
    outcome = clue("bench", "run", path, "--junit", "a.xml")
    assert (outcome.exit_code, len(begun)) == (6, 4)
    assert "1 of 4 items have no result" in outcome.stderr
    assert "the loss is not a number" in outcome.stderr
    assert '<failure message="the loss is not a number" type="exit 6">' in Path("a.xml").read_text("utf-8")
    clue("bench", "run", path)
    assert len(begun) == 5  # the next call tries it again, and nothing else
    one = clue("bench", "run", path, "--index", "1")
    assert (one.exit_code, "the loss is not a number" in one.stderr) == (6, True)


def test_missing_data_concerns_its_own_items(
    clue: Callable[..., Any], trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = trained(lambda task, seed, rate: 70.0)
    path = tmp_path / "f.yaml"
    text = GRID.replace("data: sample", "data: {afqmc: sample, csl: ./nowhere}")
    text = text.replace("fresh_seeds: [7]\n", "").replace("grid: {train.learning_rate: [1e-3, 1e-4]}\n", "")
    path.write_text(text, encoding="utf-8")
    outcome = clue("bench", "run", path)
    assert (outcome.exit_code, len(begun)) == (3, 2)
    assert "no such file or folder" in outcome.stderr
    nothing = clue("bench", "run", path, "--data", "./nowhere", "--output", "none")
    assert (nothing.exit_code, Path("none").exists()) == (3, False)


def test_a_table_that_cannot_be_written_is_said_before_anything_runs(
    clue: Callable[..., Any], trained: Any, tmp_path: Path
) -> None:
    begun = trained(lambda task, seed, rate: 70.0)
    (tmp_path / "g.yaml").write_text(GRID, encoding="utf-8")
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for option in ("--junit", "--markdown"):
        outcome = clue("bench", "run", "g.yaml", option, "file/table")
        assert (outcome.exit_code, "cannot write" in outcome.stderr, begun) == (
            8,
            True,
            [],
        )


def test_folds_are_items_of_their_own(clue: Callable[..., Any], trained: Any, tmp_path: Path) -> None:
    begun = trained(lambda task, seed, rate: 70.0)
    path = tmp_path / "k.yaml"
    text = GRID.replace("fresh_seeds: [7]\n", "").replace("grid: {train.learning_rate: [1e-3, 1e-4]}\n", "")
    path.write_text(text.replace("[1, 2]", "[1]").replace("[afqmc, csl]", "[afqmc]") + "folds: 3\n", "utf-8")
    assert clue("bench", "run", path).exit_code == 0
    assert [word for work in begun for word in work.arguments if "data.fold" in word] == [
        "data.fold=0/3",
        "data.fold=1/3",
        "data.fold=2/3",
    ]
    cell = table(tmp_path / "runs" / "bench" / "k")["cells"][0]
    assert (cell["planned"], cell["seeds"]) == (3, [1, 1, 1])


TWO = """\
title: two of everything
models: [./one, {name: ./two, label: other}]
tasks: [afqmc, csl]
seeds: [1, 2]
grid: {train.learning_rate: [1e-3, 1e-4]}
config: [./settings.yaml]
data: ./data/{task}
device: cpu
"""
SETTINGS = "data:\n  max_length: 16\ntasks:\n  csl:\n    train:\n      epochs: 2\n"


def add_a_byte(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def change_the_last_byte(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))


def replace_text(old: str, new: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(path.read_text("utf-8").replace(old, new), "utf-8") and None


def write_models(folder: Path) -> None:
    """Two small checkpoints with weights of their own."""
    place = Path(__file__).parents[1] / "checkpoints" / "conftest.py"
    spec = importlib.util.spec_from_file_location("small_checkpoints", place)
    assert spec is not None and spec.loader is not None
    small = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(small)
    small.write_face(folder / "one")
    small.write_face(folder / "two", {name: -value for name, value in small.face_weights().items()})


def test_one_byte_runs_what_depends_on_it_and_nothing_else(
    clue: Callable[..., Any], trained: Any, tmp_path: Path
) -> None:
    """Two models, tasks, seeds, settings: 16 runs of the grid, 8 of what it chose; none shares a result."""
    begun = trained(lambda task, seed, rate: 60.0 + seed if rate == 1e-3 else 50.0 + seed)
    for task in ("afqmc", "csl"):
        shutil.copytree(shipped_folder("tasks") / task / "sample", tmp_path / "data" / task)
    write_models(tmp_path)
    path = tmp_path / "two.yaml"
    path.write_text(TWO, encoding="utf-8")
    (tmp_path / "settings.yaml").write_text(SETTINGS, encoding="utf-8")

    def run_again() -> Counter[tuple[str, str]]:
        done = len(begun)
        outcome = clue("bench", "run", path)
        assert outcome.exit_code == 0, outcome.stderr
        return Counter(tuple(work.words.split(", ")[:2]) for work in begun[done:])  # type: ignore[misc]

    each = {(task, model): 6 for task in ("afqmc", "csl") for model in ("one", "other")}
    assert run_again() == each
    assert len({work.id for work in begun}) == len({work.folder for work in begun}) == 24
    assert run_again() == {}
    of_csl = {pair: 6 for pair in each if pair[0] == "csl"}
    of_other = {pair: 6 for pair in each if pair[1] == "other"}
    edits = [
        ("data/csl/dev.json", add_a_byte, of_csl),
        ("data/csl/test.json", add_a_byte, {}),  # no score follows from it
        ("two/model.safetensors", change_the_last_byte, of_other),
        ("two/vocab.txt", replace_text("\u4e00", "\u9fa5"), of_other),
        ("settings.yaml", replace_text("epochs: 2", "epochs: 3"), of_csl),
        ("settings.yaml", replace_text("epochs: 3", "epochs: 3  # a word"), {}),
        ("two.yaml", replace_text("1e-4", "2e-4"), dict.fromkeys(each, 2)),  # 1e-3 is chosen still
    ]
    for name, edit, expected in edits:
        edit(tmp_path / name)
        assert run_again() == expected, name
    assert len({work.id for work in begun}) == len({work.folder for work in begun}) == len(begun)
    add_a_byte(tmp_path / "data" / "csl" / "dev.json")
    (tmp_path / "data" / "csl" / "dev.json").write_bytes(
        (tmp_path / "data" / "csl" / "dev.json").read_bytes()[:-1]
    )
    assert run_again() == {}  # the same bytes again are the same runs again
