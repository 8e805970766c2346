"""The schema, configs/default.yaml and the shipped presets and recipes agree."""

import re
from collections import Counter

import pytest

from clue_runner.adapters.sections import SECTIONS, load_run
from clue_runner.commands.models import preset_facts
from clue_runner.config.check import check_file, yaml_files
from clue_runner.config.defaults import default_layer
from clue_runner.config.describe import settings
from clue_runner.config.loader import model_preset, model_presets
from clue_runner.config.recipes import recipe_names
from clue_runner.config.sections import common_schema
from clue_runner.config.shipped import shipped_folder
from clue_runner.errors import UsageError

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
    common = [key for key in common_schema().keys if not key.startswith("task.")]
    assert Counter(key for key, _ in lines) == Counter(common)
    assert [key for key, comment in lines if len(comment) < 5] == []
    assert set(default_layer().values) == {key for key, _ in lines}


def test_every_setting_is_described_and_has_a_default() -> None:
    common = default_layer().values
    for schema in SECTIONS.all():
        described = settings(schema)
        assert [key for key, setting in described.items() if not setting.description] == []
        assert set(schema.keys) - {"task.name", "task.adapter"} <= {*common, *schema.defaults}
    described = settings(SECTIONS.schema("classification", "bert"))
    assert described["train.max_steps"].allowed == "a whole number above 0, or null"
    assert described["model.dropout"].allowed == "a number from 0 to below 1"
    assert described["train.precision"].allowed == "auto, float32, bfloat16"


def test_json_schema_refuses_unknown_keys_everywhere() -> None:
    schema = SECTIONS.json_schema()
    assert [schema["additionalProperties"]] == [False]
    assert all(part["additionalProperties"] is False for part in schema["$defs"].values())


def test_settings_of_a_kind_and_a_family_are_read_under_their_earlier_names_too() -> None:
    run = load_run(task="cluener", overrides=["model.entity_head=crf"])
    assert run == load_run(task="cluener", overrides=["task.head=crf"])
    with pytest.raises(UsageError, match=r"task.head.* not a setting of this run"):
        load_run(task="afqmc", overrides=["task.head=crf"])
    with pytest.raises(UsageError, match="earlier name of task.head"):
        load_run(task="cluener", overrides=["task.head=crf", "model.entity_head=crf"])


def test_all_shipped_files_are_valid() -> None:
    files = yaml_files([shipped_folder("configs")])
    assert len(files) > 10
    assert {str(path): check_file(path, SECTIONS)[1] for path in files if check_file(path, SECTIONS)[1]} == {}


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
            assert preset.github
            assert preset.huggingface is None or "/" in preset.huggingface  # some exist in one layout alone
        load_run(task="afqmc", card_settings={}, model=name)


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
    assert preset_facts(model_preset(name))["parameters"] / 1e6 == pytest.approx(millions, rel=0.006)


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_open_with_what_they_are_for_and_load(name: str) -> None:
    text = (shipped_folder("configs") / "train" / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert len(text.split("\n")[0]) > 30
    for task in ("webqa",) if name.startswith("reader") else ("afqmc", "iflytek", "cluewsc2020"):
        load_run(task=task, card_settings={"data": {"max_length": 128}}, configs=[name])
