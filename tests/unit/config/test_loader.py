"""Layering: who wins, and what is said about every mistake of every layer."""

from pathlib import Path

import pytest

from clue_runner.adapters.sections import SECTIONS, load_run
from clue_runner.config.check import check_file
from clue_runner.config.loader import (
    config_hash,
    difference,
    dump_run,
    find_model,
    load_resolved,
    require_checkpoint,
    resolve_run,
)
from clue_runner.config.resolved import BEFORE
from clue_runner.errors import CheckpointError, DataError, UsageError

CARD = {"data": {"max_length": 64}, "train": {"epochs": 7}}


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def mistakes(**arguments: object) -> str:
    with pytest.raises(UsageError) as caught:
        load_run(**{"task": "afqmc", "card_settings": {}, **arguments})  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_later_layers_win(tmp_path: Path) -> None:
    first = write(tmp_path / "a.yaml", "train: {epochs: 8, batch_size: 4, learning_rate: 1e-4}\n")
    second = write(
        tmp_path / "b.yaml",
        "train: {batch_size: 6}\ntasks: {afqmc: {train: {patience: 9}}, tnews: {seed: 5}}\n",
    )
    resolved = resolve_run(
        task="afqmc",
        sections=SECTIONS,
        card_settings={**CARD, "train": {"epochs": 7, "learning_rate": 3e-5}},
        configs=[first, second],
        overrides=["train.learning_rate=2e-4", "model.dropout=0"],
        flags={"seed": 3, "backend": None, "device": "cpu"},
    )
    run = resolved.run
    assert (run.data.max_length, run.train.epochs, run.train.batch_size) == (64, 8, 6)
    assert (run.train.learning_rate, run.train.patience, run.model.dropout) == (2e-4, 9, 0.0)
    assert (run.seed, run.backend, run.device) == (3, "tensorflow", "cpu")
    assert resolved.origins["data.max_length"] == "card of afqmc"
    assert resolved.origins["train.batch_size"] == second
    assert resolved.origins["train.patience"] == f"{second} (tasks.afqmc)"
    assert resolved.origins["train.learning_rate"] == "--set"
    assert resolved.origins["model.num_layers"] == "model tiny"
    assert resolved.origins["train.weight_decay"] == "default"


def test_the_preset_stands_over_the_card_and_under_the_recipe(tmp_path: Path) -> None:
    card = {"train": {"learning_rate": 2e-5}}
    assert load_run(task="afqmc", card_settings=card).train.learning_rate == 5e-4
    config = write(tmp_path / "a.yaml", "train: {learning_rate: 1e-3}\n")
    assert load_run(task="afqmc", card_settings=card, configs=[config]).train.learning_rate == 1e-3


def test_the_model_named_by_a_file_brings_its_preset(tmp_path: Path) -> None:
    config = write(tmp_path / "a.yaml", "model: {name: test}\n")
    assert load_run(task="afqmc", card_settings={}, configs=[config]).model.hidden_dim == 32
    assert load_run(task="afqmc", card_settings={}, configs=[config], model="tiny").model.hidden_dim == 312
    assert load_run(task="afqmc", card_settings={}, overrides=["model.name=test"]).model.name == "test"


def test_a_misspelt_key_in_each_layer_is_found(tmp_path: Path) -> None:
    config = write(
        tmp_path / "my.yaml",
        "train:\n  lerning_rate: 1e-5\nmodle:\n  x: 1\nlearning_rate: 3\ntasks:\n  afqcm:\n    seed: 1\n"
        "  tnews:\n    train:\n      batchsize: 8\n",
    )
    text = mistakes(
        card_settings={"trian": {}}, configs=[config], overrides=["train.epoch=3", "output.keep=1"]
    )
    for expected in (
        "card of afqmc: trian: no such setting, did you mean train?",
        "my.yaml:2: train.lerning_rate: no such setting, did you mean train.learning_rate?",
        "my.yaml:3: modle: no such setting, did you mean model?",
        "my.yaml:5: learning_rate: no such setting, did you mean train.learning_rate?",
        "my.yaml:7: tasks.afqcm: no such task, did you mean afqmc?",
        "my.yaml:11: train.batchsize: no such setting, did you mean train.batch_size?",
        "--set: train.epoch: no such setting, did you mean train.epochs?",
        "--set: output.keep: no such setting",
        "the settings have 8 problems",
    ):
        assert expected in text


def test_a_misspelt_key_in_a_preset_is_found(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    write(path, "titel: x\ntitle: x\nkind: randm\nmodel:\n  num_layer: 2\ntrain:\n  epoch: 1\ndata: {}\n")
    kind, problems = check_file(path, SECTIONS)
    assert kind == "model preset"
    text = "\n".join(map(str, problems))
    for expected in (
        "did you mean title?",
        "kind must be given",
        "model.num_layers?",
        "train.epochs?",
        "m.yaml:8: data",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("train.batch_size=four", "got text 'four' (allowed: a whole number above 0, or auto)"),
        ("train.batch_size='4'", "got text '4'"),
        ("train.batch_size=1e3", "got 1000.0 (allowed: a whole number"),
        ("train.batch_size=0", "got 0 (allowed: a whole number above 0, or auto)"),
        ("train.batch_size=true", "got true"),
        ("train.batch_size=null", "got null"),
        ("train.learning_rate=true", "got true (allowed: a number above 0)"),
        ("train.learning_rate=.nan", "got nan"),
        ("train.learning_rate=.inf", "got inf"),
        ("train.learning_rate=-1", "got -1"),
        ("train.jit=true", "got true (allowed: auto, on, off)"),
        ("train.precision=float16", "got text 'float16' (allowed: auto, float32, bfloat16)"),
        ("data.cache=no", "got text 'no' (allowed: true or false)"),
        ("model.name=5", "model.name"),
        ("device=tpu", "got text 'tpu' (allowed: text like auto, cpu, gpu or gpu:0)"),
        ("seed=-1", "a whole number from 0 to below 2,147,483,648"),
        ("train", "needs key.path=value"),
        ("train=5", "train is a group"),
        ("train.epochs=", "needs key.path=value"),
        ("=5", "needs key.path=value"),
        ("task=tnews", "task.name contradicts --task, got tnews"),
        ("model.num_heads=5", "heads must divide the width, got 312 and 5"),
        ("data.max_length=513", "rows are longer than the position table"),
        ("data.max_length=4", "too short"),
        ("train.accumulate=33", "more micro-batches than examples"),
        ("train.token_budget=100", "the budget must hold one row"),
        ("model.checkpoint=/somewhere", "a checkpoint is named but the weights are random"),
    ],
)
def test_values_that_are_refused(setting: str, expected: str) -> None:
    assert expected in mistakes(overrides=[setting])


def test_values_that_are_allowed() -> None:
    run = load_run(
        task="afqmc",
        card_settings={},
        overrides=[
            "train.learning_rate=1e-5",
            "train.clip_norm=null",
            "train.save_minutes=3",
            "train.jit=on",
        ],
    )
    assert (run.train.learning_rate, run.train.clip_norm, run.train.save_minutes) == (1e-5, None, 3.0)
    assert run.train.jit == "on"


def test_wrong_values_are_found_even_where_a_later_layer_hides_them(tmp_path: Path) -> None:
    config = write(tmp_path / "my.yaml", "train:\n  batch_size: four\n  epochs: [1]\nmodel: 3\ndata:\n")
    text = mistakes(configs=[config], overrides=["train.batch_size=4", "train.epochs=1"])
    assert "my.yaml:2: train.batch_size has an invalid value, got text 'four'" in text
    assert "my.yaml:3: train.epochs has an invalid value, got a list" in text
    assert "my.yaml:4: model must contain settings, got 3" in text


def test_a_broken_file_is_one_problem_among_others(tmp_path: Path) -> None:
    bad = write(tmp_path / "bad.yaml", "seed: !!python/object/apply:os.getcwd []\n")
    twice = write(tmp_path / "twice.yaml", "seed: 1\nseed: 2\n")
    text = mistakes(configs=[bad, twice], overrides=["sed=1"], model="tny")
    for expected in (
        "bad.yaml:1:7: tag",
        "twice.yaml:2: seed is given twice",
        "did you mean seed?",
        "did you mean tiny?",
    ):
        assert expected in text


def test_recipes_that_do_not_exist(tmp_path: Path) -> None:
    assert "no recipe called 'labtop'; did you mean laptop?" in mistakes(configs=["labtop"])
    with pytest.raises(DataError) as missing:
        load_run(task="afqmc", card_settings={}, configs=[str(tmp_path / "none.yaml")])
    assert missing.value.exit_code == 3


def test_models_that_do_not_exist(tmp_path: Path, clue_home: Path) -> None:
    with pytest.raises(UsageError, match="did you mean rbt3"):
        find_model("rtb3")
    with pytest.raises(DataError, match="no checkpoint folder"):
        find_model(str(tmp_path / "none"))
    assert find_model("hf:google-bert/bert-base-chinese") == Path("hf:google-bert/bert-base-chinese")
    weights = tmp_path / "pytorch_model.bin"
    weights.write_bytes(b"\x80\x04not read here")
    assert find_model(str(weights)) == weights
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(CheckpointError, match="is a file"):
        find_model(str(tmp_path / "notes.txt"))
    (clue_home / "models" / "mine").mkdir(parents=True)
    assert find_model("mine") == clue_home / "models" / "mine"


def test_a_checkpoint_folder_gives_its_own_shape(tmp_path: Path) -> None:
    folder = tmp_path / "my-bert"
    folder.mkdir()
    seen = []

    def reader(path: Path) -> dict[str, object]:
        seen.append(path)
        return {"num_layers": 3, "hidden_dim": 24, "num_heads": 2, "intermediate_dim": 48, "dropout": 0.2}

    run = load_run(
        task="afqmc",
        card_settings={},
        model=str(folder),
        overrides=["model.dropout=0.3"],
        checkpoint_reader=reader,
    )
    assert seen == [folder.resolve()]
    assert (run.model.name, run.model.checkpoint, run.model.init) == (
        "my-bert",
        str(folder.resolve()),
        "checkpoint",
    )
    assert (run.model.num_layers, run.model.hidden_dim, run.model.dropout) == (3, 24, 0.3)
    require_checkpoint(run)
    # A run.yaml that is given as a config names the same checkpoint again.
    again = write(tmp_path / "run.yaml", dump_run(run))
    assert load_run(task="afqmc", card_settings={}, configs=[again], checkpoint_reader=reader) == run


def test_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ckpt").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    here = load_run(task="afqmc", card_settings={}, model="./ckpt", overrides=["model.vocab=v.txt"])
    monkeypatch.chdir(tmp_path / "elsewhere")
    there = load_run(task="afqmc", card_settings={}, model="../ckpt", overrides=["model.vocab=../v.txt"])
    assert here == there


def test_a_published_model_needs_its_checkpoint(clue_home: Path) -> None:
    run = load_run(task="afqmc", card_settings={}, model="rbt3")
    with pytest.raises(CheckpointError) as caught:
        require_checkpoint(run)
    text = str(caught.value)
    assert caught.value.exit_code == 4
    for way in (
        "hfl/rbt3",
        "github.com/ymcui/Chinese-BERT-wwm",
        str(clue_home / "models" / "rbt3"),
        "model.init=random",
    ):
        assert way in text
    random = load_run(task="afqmc", card_settings={}, model="rbt3", overrides=["model.init=random"])
    require_checkpoint(random)
    assert random.model.checkpoint is None
    folder = clue_home / "models" / "rbt3"
    folder.mkdir(parents=True)
    found = load_run(task="afqmc", card_settings={}, model="rbt3")
    require_checkpoint(found)
    assert found.model.checkpoint == str(folder.resolve())
    with pytest.raises(CheckpointError):
        require_checkpoint(load_run(task="afqmc", card_settings={}, overrides=["model.init=checkpoint"]))


def test_resolved_runs_are_written_read_hashed_and_compared(tmp_path: Path) -> None:
    run = load_run(task="afqmc", card_settings=CARD, overrides=["train.learning_rate=1e-5"])
    path = tmp_path / "run.yaml"
    path.write_text(dump_run(run), encoding="utf-8")
    assert load_resolved(path, SECTIONS) == run
    assert config_hash(load_resolved(path, SECTIONS)) == config_hash(run)
    other = load_run(
        task="afqmc", card_settings=CARD, overrides=["train.learning_rate=2e-5", "train.clip_norm=null"]
    )
    assert config_hash(other) != config_hash(run)
    assert [str(problem) for problem in difference(run, other)] == [
        "train.learning_rate: was 1e-05, is now 2e-05",
        "train.clip_norm: was 1.0, is now null",
    ]
    assert difference(run, run) == []
    lines = path.read_text(encoding="utf-8").split("\n")
    path.write_text(
        "\n".join(line for line in lines if "epochs" not in line).replace("seed:", "sed:"), encoding="utf-8"
    )
    with pytest.raises(UsageError) as caught:
        load_resolved(path, SECTIONS)
    for expected in ("train.epochs is missing", "seed is missing", "did you mean seed?"):
        assert expected in str(caught.value)


def test_a_run_of_an_earlier_version_is_read_as_what_it_did(tmp_path: Path) -> None:
    run = load_run(task="afqmc", card_settings=CARD)
    path = tmp_path / "run.yaml"
    leaves = tuple(f"  {key.rpartition('.')[2]}:" for key in BEFORE)
    lines = dump_run(run).split("\n")
    path.write_text("\n".join(line for line in lines if not line.startswith(leaves)), encoding="utf-8")
    assert len(path.read_text(encoding="utf-8").split("\n")) == len(lines) - len(BEFORE)
    assert load_resolved(path, SECTIONS) == run  # the defaults of later settings change nothing
