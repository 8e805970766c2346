"""``clue config``: resolved settings with their origin, checks of files, the schema."""

import json
from pathlib import Path

import pytest

from clue_runner.config.shipped import shipped_folder
from clue_runner.config.yaml_reader import read_yaml


def test_show_prints_yaml_with_origins(clue) -> None:
    outcome = clue("config", "show", "--task", "afqmc", "--model", "tiny", "--set", "train.epochs=9")
    assert outcome.exit_code == 0
    values = read_yaml(outcome.stdout).values
    assert (values["task"]["name"], values["train"]["epochs"], values["train"]["learning_rate"]) == (
        "afqmc",
        9,
        5e-4,
    )
    lines = {line.split(":")[0].strip(): line for line in outcome.stdout.split("\n")}
    assert lines["epochs"].endswith("# --set")
    assert lines["learning_rate"].endswith("# model tiny")
    assert lines["max_length"].endswith("# card of afqmc")
    assert lines["weight_decay"].endswith("# default")


def test_show_explains(clue) -> None:
    text = clue("config", "show", "--explain").stdout
    assert "# passes over the train split [a whole number above 0]" in text


def test_show_as_json(clue) -> None:
    outcome = clue("config", "show", "--json", "--config", "smoke")
    settings = json.loads(outcome.stdout)["settings"]
    assert settings["train.max_steps"] == {"value": 8, "from": "configs/train/smoke.yaml"}


@pytest.mark.parametrize(
    ("arguments", "exit_code", "expected"),
    [
        (("--task", "afqcm"), 2, "did you mean afqmc?"),
        (("--model", "tny"), 2, "did you mean tiny?"),
        (("--set", "train.lerning_rate=1e-5"), 2, "did you mean train.learning_rate?"),
        (("--set", "train.epochs=many"), 2, "got text 'many' (allowed: a whole number above 0)"),
        (("--config", "none.yaml"), 3, "no config file at none.yaml"),
        (("--model", "hf:a"), 4, "hf:"),
    ],
)
def test_show_refuses(clue, arguments: tuple[str, ...], exit_code: int, expected: str) -> None:
    outcome = clue("config", "show", *arguments)
    assert outcome.exit_code == exit_code
    assert expected in outcome.stderr
    assert outcome.stdout == ""


def test_show_does_not_need_the_weights_of_a_published_model(clue) -> None:
    assert clue("config", "show", "--model", "roberta-wwm-ext").exit_code == 0


def test_check_accepts_all_that_ships(clue) -> None:
    outcome = clue("config", "check", shipped_folder("configs"), shipped_folder("tasks"))
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.stdout.count(": card, ok") >= 7
    assert outcome.stdout.count(": model preset, ok") > 10


def test_check_names_every_problem_of_every_file(clue, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("train:\n  epoch: 3\n  batch_size: x\n", encoding="utf-8")
    (tmp_path / "model.yaml").write_text("title: t\nkind: random\nmodel:\n  hiden_dim: 3\n", encoding="utf-8")
    (tmp_path / "task.yaml").write_text("name: a\nname: b\n", encoding="utf-8")
    (tmp_path / "good.yaml").write_text("seed: 1\n", encoding="utf-8")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "foreign.yaml").write_text("cluster: 1\n", encoding="utf-8")  # a tool's own
    outcome = clue("config", "check", tmp_path, "--json")
    assert outcome.exit_code == 2
    for expected in (
        f"{tmp_path}/recipe.yaml:2: train.epoch: no such setting, did you mean train.epochs?",
        f"{tmp_path}/recipe.yaml:3: train.batch_size has an invalid value",
        f"{tmp_path}/model.yaml:4: model.hiden_dim",
        f"{tmp_path}/task.yaml:2: name is given twice",
        "4 problems in 4 files",
    ):
        assert expected in outcome.stderr
    events = [json.loads(line) for line in outcome.stdout.split("\n")[:-1]]
    assert [event["ok"] for event in events] == [True, False, False, False, False]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: {batch_size: 4, accumulate: 8}", "train.batch_size"),
        ("data: {max_length: 600}\nmodel: {max_positions: 512}", "model.max_positions"),
        ("data: {max_length: 600}\ntrain: {token_budget: 500}", "train.token_budget"),
        ("backend: tensorflow\nmodel: {recompute: block, recompute_policy: dots}", "model.recompute_policy"),
        ("train: {batch_size: 4}\ntasks:\n  afqmc: {train: {accumulate: 8}}", "train.accumulate"),
        # what only another layer could make wrong, or right
        ("train: {accumulate: 64}", None),
        ("data: {max_length: 600}", None),
        ("tasks:\n  afqmc: {train: {batch_size: 4}}\n  tnews: {train: {accumulate: 8}}", None),
    ],
)
def test_check_finds_settings_that_contradict_each_other(
    clue, tmp_path: Path, text: str, said: str | None
) -> None:
    (tmp_path / "own.yaml").write_text(f"{text}\n", encoding="utf-8")
    outcome = clue("config", "check", tmp_path / "own.yaml")
    assert outcome.exit_code == (2 if said else 0), outcome.stderr
    assert not said or (said in outcome.stderr and "own.yaml:" in outcome.stderr)


def test_check_of_a_missing_file(clue) -> None:
    assert clue("config", "check", "nowhere").exit_code == 3


def test_schema_is_json_schema(clue) -> None:
    schema = json.loads(clue("config", "schema").stdout)
    train = [part for name, part in schema["$defs"].items() if "TrainSettings" in name]
    assert train and all(part["properties"]["epochs"]["description"] for part in train)


def test_schema_of_results(clue) -> None:
    schema = json.loads(clue("config", "schema", "--result").stdout)
    assert schema["properties"]["schema"]["const"] == 2
    assert {"ok", "score", "confidence_interval", "chance", "seconds"} <= schema["properties"].keys()
    assert clue("config", "schema", "--result", "--events").exit_code == 2


def test_schema_of_events(clue) -> None:
    schema = json.loads(clue("config", "schema", "--events").stdout)
    assert schema["$defs"]["Step"]["properties"]["learning_rate"]["description"]


def test_recipes_are_explained_where_they_are_listed(clue) -> None:
    from clue_runner.config.recipes import recipe_names

    text = clue("config", "recipes").stdout
    recipes = json.loads(clue("config", "recipes", "--json").stdout)["recipes"]
    assert tuple(entry["name"] for entry in recipes) == recipe_names()
    for entry in recipes:
        assert len(entry["words"]) > 60, entry["name"]
        assert entry["settings"]
        assert entry["words"][:40] in text
        assert "sets " in text.partition(f"{entry['name']}\n")[2].partition("\n\n")[0]
    assert "data.max_length (iflytek)=128" in text
    outcome = clue("config", "show", "--config", "no-such-recipe")
    assert "clue config recipes" in outcome.stderr


def test_show_prints_the_checkpoints_own_shape(clue, tmp_path: Path) -> None:
    """What the run will use, and not the sizes of a preset."""
    from clue_runner.adapters.sections import load_run

    folder = tmp_path / "other"
    folder.mkdir()
    shape = load_run(task="afqmc", model="test").model
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": 5,
        "hidden_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "intermediate_size": 96,
        "max_position_embeddings": 200,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}', encoding="utf-8")
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", encoding="utf-8")
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    outcome = clue("config", "show", "--task", "afqmc", "--model", folder, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    settings = json.loads(outcome.stdout)["settings"]
    shown = {key: settings[f"model.{key}"]["value"] for key in ("hidden_dim", "num_layers", "max_positions")}
    assert shown == {"hidden_dim": 48, "num_layers": 3, "max_positions": 200}
    assert shape.hidden_dim != 48
    assert settings["model.lowercase"] == {"value": False, "from": "checkpoint"}
    assert settings["model.name"]["value"] == "other"
