"""A new kind of task is one module in the adapters' room; no adapter forgets what its rows follow from."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from clue_runner import adapters
from clue_runner.adapters.base import (
    Adapter,
    AdapterSettings,
    adapter_class,
    adapter_names,
    load_adapter,
)
from clue_runner.adapters.sections import SECTIONS, load_run
from clue_runner.adapters.settings import own_settings
from clue_runner.config.loader import resolve_run
from clue_runner.config.schema import Run
from clue_runner.config.shipped import shipped_folder
from clue_runner.data.cards import all_cards, find_card, recommended_settings
from clue_runner.data.locate import open_sample
from clue_runner.errors import UsageError
from clue_runner.files.litter import entries
from clue_runner.tokens.tokenizer import Tokenizer

GOLDENS = Path(__file__).parents[1] / "goldens"

MADE_UP = '''
"""The length of a text's name: made up for a test."""

from typing import ClassVar

from pydantic import Field

from clue_runner.adapters.base import AdapterSettings
from clue_runner.adapters.classification import Classification


class Settings(AdapterSettings):
    FORMER: ClassVar = {"size": "model.head_size"}

    size: int = Field(default=3, description="made up")


class Lengths(Classification):
    settings_type = Settings
    drops_tokens = False
'''


@pytest.fixture
def extended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which adapters are looked for too."""
    monkeypatch.setattr(adapters, "__path__", [*adapters.__path__, str(tmp_path)])
    yield tmp_path


def run_of(task: str, *overrides: str) -> Run:
    card = find_card(task)
    return load_run(task=task, card_settings=recommended_settings(card), overrides=list(overrides))


def made_up_run(*overrides: str) -> Run:
    return resolve_run(task="tnews", adapter="made_up_lengths", sections=SECTIONS, overrides=overrides).run


def test_a_made_up_adapter_is_found_without_touching_another_file(extended: Path) -> None:
    (extended / "made_up_lengths.py").write_text(MADE_UP, encoding="utf-8")
    card = find_card("tnews").model_copy(update={"adapter": "made_up_lengths"})
    assert "made_up_lengths" in adapter_names()
    adapter = load_adapter(card)
    assert type(adapter).__name__ == "Lengths" and adapter.settings.model_dump() == {"size": 3}
    for key in ("task.size", "model.head_size"):
        run = made_up_run(f"{key}=8")
        assert load_adapter(card, run).settings.model_dump(include={"size"}) == {"size": 8}
    adapter = load_adapter(card, made_up_run("data.max_length=48"))
    records = adapter.read(open_sample(card), "dev")
    vocabulary = shipped_folder("configs") / "models" / "vocab" / "zh.txt"
    rows = adapter.encode(records, Tokenizer(vocabulary, lowercase=True))
    adapter.check_rows(rows, records)
    logits = np.eye(len(card.labels), dtype=np.float32)[np.asarray(rows.columns["label"])]
    answers = adapter.merge(dict(enumerate(adapter.decode_batch({"logits": logits}, {}))), rows, records)
    assert adapter.score(answers, records).score == 100.0
    assert adapter.show(records.items[0], answers[0]).is_right
    assert adapter.submit(answers, card.submissions[0]).count(b"\n") == len(records)


def test_a_folder_is_an_adapter_too(extended: Path) -> None:
    (extended / "made_up_folder").mkdir()
    (extended / "made_up_folder" / "__init__.py").write_text(
        "from clue_runner.adapters.made_up_folder.task import Lengths\n", encoding="utf-8"
    )
    (extended / "made_up_folder" / "task.py").write_text(MADE_UP, encoding="utf-8")
    assert adapter_class("made_up_folder").__name__ == "Lengths"


@pytest.mark.parametrize("name", ["clasification", "base", "checks", "../base", "", "entities.rows", "os"])
def test_an_unknown_adapter_is_refused_with_those_there_are(name: str) -> None:
    card = find_card("afqmc").model_copy(update={"adapter": name})
    with pytest.raises(UsageError, match="no adapter called") as caught:
        load_adapter(card)
    assert caught.value.exit_code == 2
    assert "choice, classification, cloze, dgcnn_reading, entities, generation, masked_texts" in str(
        caught.value
    )
    assert "task.yaml" in str(caught.value)


def test_every_card_names_an_adapter_there_is() -> None:
    # a command that trains without a task has a card of its own
    own = [find_card(path.name) for path in entries(shipped_folder("configs") / "cards")]
    assert {card.adapter for card in [*all_cards().values(), *own]} == set(adapter_names())


# ---------------------------------------------------------------------------- own settings


@pytest.mark.parametrize("name", adapter_names())
def test_own_settings_have_defaults_and_meanings_and_former_names(name: str) -> None:
    kind = adapter_class(name).settings_type
    kind()
    assert all(field.description for field in kind.model_fields.values())
    sections = yaml.safe_load((GOLDENS / "runs" / "v1" / "finished" / "run.yaml").read_text(encoding="utf-8"))
    for own, former in kind.FORMER.items():
        section, key = former.split(".")
        assert own in kind.model_fields and key in sections[section]


@pytest.mark.parametrize("task", ["cluener", "cmrc2018", "chid"])
def test_without_a_run_an_adapter_has_the_defaults_of_the_earlier_version(task: str) -> None:
    card = find_card(task)
    defaults = load_adapter(card).settings.model_dump()
    assert load_adapter(card, run_of(task)).settings.model_dump(include=set(defaults)) == defaults


@pytest.mark.parametrize(
    ("task", "former", "own", "value"),
    [
        ("cluener", "model.entity_head=crf", "head", "crf"),
        ("cluener", "model.head_size=32", "head_size", 32),
        ("cmrc2018", "model.answer_head=start_end", "head", "start_end"),
        ("cmrc2018", "data.window_stride=64", "window_stride", 64),
        ("cmrc2018", "data.max_answer_length=9", "max_answer_length", 9),
        ("drcd", "data.simplify=false", "simplify", False),
        ("chid", "model.choice_decoding=greedy", "decoding", "greedy"),
        ("webqa", "data.passage_crop=null", "passage_crop", None),
        ("webqa", "train.focal_gamma=1.5", "focal_gamma", 1.5),
        ("sogouqa", "model.answer_vote=sum", "answer_vote", "sum"),
    ],
)
def test_the_keys_of_the_earlier_version_reach_the_adapter(
    task: str, former: str, own: str, value: object
) -> None:
    adapter = load_adapter(find_card(task), run_of(task, former))
    assert adapter.settings.model_dump()[own] == value


def test_a_section_of_the_run_itself_is_taken_as_it_is() -> None:
    class Own(AdapterSettings):
        size: int = 3

    section = Own(size=5)
    run = run_of("afqmc").model_copy(update={"task": section})
    assert own_settings(Own, run) is section


# ---------------------------------------------------------------------------- what rows follow from


class Watched:
    """A run that notes what is read of it."""

    def __init__(self, section: Any, name: str, seen: set[str]) -> None:
        self._section, self._name, self._seen = section, name, seen

    def __getattr__(self, key: str) -> Any:
        value = getattr(self._section, key)
        name = f"{self._name}.{key}".lstrip(".")
        if key in {"data", "model", "train", "output"}:
            return Watched(value, name, self._seen)
        self._seen.add(name)
        return value


@pytest.mark.parametrize("task", ["afqmc", "cluener", "cmrc2018", "drcd", "c3", "chid", "webqa"])
def test_encoding_reads_nothing_of_the_run_that_the_key_does_not_hold(task: str) -> None:
    card, run = find_card(task), run_of(task, "data.max_length=48")
    adapter = load_adapter(card, run)
    records = adapter.read(open_sample(card), "dev")
    tokenizer = adapter.own_tokenizer({"train": adapter.read(open_sample(card), "train")})
    tokenizer = tokenizer or Tokenizer(shipped_folder("configs") / "models" / "vocab" / "zh.txt", True)
    key = adapter.row_settings(tokenizer)
    seen: set[str] = set()
    adapter._run = Watched(run, "", seen)  # type: ignore[assignment]
    adapter.encode(records, tokenizer)
    assert "data.max_length" in seen and seen <= key.keys()


@pytest.mark.parametrize(
    ("task", "override"),
    [
        ("afqmc", "data.max_length=40"),
        ("afqmc", "model.segments=zero"),
        ("cmrc2018", "data.window_stride=8"),
        ("cmrc2018", "data.max_question_length=4"),
        ("drcd", "data.simplify=false"),
        ("webqa", "data.max_question_length=4"),
    ],
)
def test_a_setting_that_changes_rows_changes_their_key(task: str, override: str) -> None:
    found = []
    for overrides in ((), (override,)):
        adapter: Adapter = load_adapter(find_card(task), run_of(task, "data.max_length=48", *overrides))
        records = adapter.read(open_sample(adapter.card), "train")
        tokenizer = adapter.own_tokenizer({"train": records})
        tokenizer = tokenizer or Tokenizer(shipped_folder("configs") / "models" / "vocab" / "zh.txt", True)
        found.append((adapter.row_settings(tokenizer), adapter.encode(records, tokenizer)))
    (one_key, one), (other_key, other) = found
    columns = [{**rows.tokens, **rows.columns} for rows in (one, other)]
    assert any(not np.array_equal(columns[0][name], columns[1][name]) for name in columns[0])
    assert one_key != other_key


@pytest.mark.parametrize("task", ["cluener", "cmrc2018", "webqa"])
def test_what_the_host_alone_reads_is_declared(task: str) -> None:
    adapter = load_adapter(find_card(task), run_of(task, "data.max_length=48"))
    records = adapter.read(open_sample(adapter.card), "train")
    tokenizer = adapter.own_tokenizer({"train": records})
    tokenizer = tokenizer or Tokenizer(shipped_folder("configs") / "models" / "vocab" / "zh.txt", True)
    host = adapter.epoch_rows(adapter.encode(records, tokenizer), 1, 0).host_columns - {"row"}
    wanted = {"cluener": {"starts", "ends", "owned"}, "cmrc2018": {"starts", "ends"}, "webqa": {"repeat"}}
    assert host == wanted[task]


# ---------------------------------------------------------------------------- the map

ORDER = [
    "read",
    "encode",
    "epoch_rows",
    "build",
    "memory_facts",
    "decode_batch",
    "merge",
    "ensemble",
    "score",
    "submit",
    "show",
]


@pytest.mark.parametrize("name", adapter_names())
def test_every_adapter_has_its_sections_in_the_same_order(name: str) -> None:
    source = inspect.getsource(adapter_class(name))
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    methods = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    own = [method for method in methods if method in ORDER]
    assert own == [method for method in ORDER if method in own]
    assert set(ORDER) - set(own) <= {"epoch_rows"}


def test_nothing_guesses_what_an_adapter_can() -> None:
    package = Path(adapters.__file__).parents[1]
    guesses = []
    for path in (
        path for room in ("adapters", "training", "commands") for path in (package / room).rglob("*.py")
    ):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                call = ast.get_source_segment(text, node) or ""
                if node.func.id in {"hasattr", "getattr", "cast"} and "adapter" in call.lower():
                    guesses.append(f"{path.name}:{node.lineno} {call}")
    assert not guesses
