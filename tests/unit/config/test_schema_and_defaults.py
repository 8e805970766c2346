"""The schema, configs/default.yaml and the shipped presets and recipes agree."""

import re
from collections import Counter

import pytest

from clue_runner.adapters.sections import load_run
from clue_runner.config.check import check_file, yaml_files
from clue_runner.config.defaults import default_layer
from clue_runner.config.describe import json_schema, setting_keys, settings
from clue_runner.config.loader import model_preset, model_presets
from clue_runner.config.recipes import recipe_names
from clue_runner.config.shipped import shipped_folder

DEFAULT = shipped_folder("configs") / "default.yaml"


def default_lines() -> list[tuple[str, str]]:
    """Return (dotted key, comment) of every line that sets a value."""
    found, section = [], ""
    for line in DEFAULT.read_text(encoding="utf-8").split("\n"):
        if match := re.fullmatch(r"([a-z_]+):", line):
            section = f"{match[1]}."
        elif match := re.fullmatch(r"( *)([a-z_0-9]+): [^#]+?\s*(?:# (.*))?", line):
            found.append(((section if match[1] else "") + match[2], match[3] or ""))
    return found


def test_default_yaml_holds_every_setting_once_with_a_comment() -> None:
    lines = default_lines()
    # A task has no default.
    assert Counter(key for key, _ in lines) == Counter(key for key in setting_keys() if key != "task")
    assert [key for key, comment in lines if len(comment) < 5] == []
    assert set(default_layer().values) == {key for key, _ in lines}


def test_every_setting_is_described() -> None:
    assert [key for key, setting in settings().items() if not setting.description] == []
    assert settings()["train.max_steps"].allowed == "a whole number above 0, or null"
    assert settings()["model.dropout"].allowed == "a number from 0 to below 1"
    assert settings()["train.precision"].allowed == "auto, float32, bfloat16"


def test_json_schema_refuses_unknown_keys_everywhere() -> None:
    schema = json_schema()
    assert [schema["additionalProperties"]] == [False]
    assert all(part["additionalProperties"] is False for part in schema["$defs"].values())


def test_all_shipped_files_are_valid() -> None:
    files = yaml_files([shipped_folder("configs")])
    assert len(files) > 10
    assert {str(path): check_file(path)[1] for path in files if check_file(path)[1]} == {}


def test_presets() -> None:
    tiny = load_run(task="afqmc", card_settings={"train": {"learning_rate": 2e-5}})
    shape = tiny.model
    assert (shape.name, shape.num_layers, shape.hidden_dim, shape.num_heads) == ("tiny", 4, 312, 12)
    assert (shape.intermediate_dim, shape.max_positions, shape.init) == (1248, 512, "random")
    assert tiny.train.learning_rate == 5e-4
    test = load_run(task="afqmc", card_settings={}, model="test")
    assert (test.model.num_layers, test.model.hidden_dim, test.train.learning_rate) == (2, 32, 1e-3)
    for name in model_presets():
        preset = model_preset(name)
        if preset.kind == "published":
            assert preset.layer.values["model.init"] == "checkpoint"
            assert preset.huggingface
            assert preset.github
            assert "/" in preset.huggingface
        run = load_run(task="afqmc", card_settings={}, model=name)
        assert run.model.hidden_dim % run.model.num_heads == 0


@pytest.mark.parametrize(
    ("name", "millions"),
    # Sizes published in the READMEs of Chinese-BERT-wwm and MiniRBT.
    [
        ("rbt3", 38.5),
        ("rbt6", 59.76),
        ("roberta-wwm-ext", 102.3),
        ("minirbt-h256", 10.4),
        ("minirbt-h288", 12.3),
        ("rbt4-h312", 11.4),
        ("roberta-wwm-ext-large", 325),
        ("rbtl3", 61),
    ],
)
def test_parameter_counts_are_the_published_ones(name: str, millions: float) -> None:
    assert model_preset(name).parameters(default_layer().values) / 1e6 == pytest.approx(millions, rel=0.006)


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_open_with_what_they_are_for_and_load(name: str) -> None:
    text = (shipped_folder("configs") / "train" / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert len(text.split("\n")[0]) > 30
    for task in ("afqmc", "iflytek", "cluewsc2020"):
        load_run(task=task, card_settings={"data": {"max_length": 128}}, configs=[name])
