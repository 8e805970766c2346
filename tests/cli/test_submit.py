from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# official test file of each submission: zip, member, records, first id
OFFICIAL = {
    "afqmc_predict.json": ("afqmc_public.zip", "test.json", 3861, 0, "0"),
    "iflytek_predict.json": ("iflytek_public.zip", "test.json", 2600, 0, "118"),
    "ocnli_50k_predict.json": ("ocnli_public.zip", "test.json", 3000, 0, "neutral"),
    "cluewsc11_predict.json": ("cluewsc2020_public.zip", "test.json", 2574, 0, "true"),
    "cluewsc10_predict.json": ("cluewsc2020_public.zip", "test1.0.json", 290, 1, "false"),
    "csl_predict.json": ("csl_public.zip", "test.json", 3000, 2415, "1"),
}


def sample_answers(folder: Path, label: str = "0") -> Path:
    """A file of answers to AFQMC's sample test records."""
    from clue_runner.adapters.base import load_adapter
    from clue_runner.data.cards import find_card
    from clue_runner.data.locate import locate

    card = find_card("afqmc")
    records = load_adapter(card).read(locate(card, "sample"), "test")
    lines = [json.dumps({"id": record.id, "label": label}) for record in records.items]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "afqmc_predict.json").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_sample_answers_pass_as_sample_only(clue: Callable[..., Any], tmp_path: Path) -> None:
    folder = sample_answers(tmp_path / "out")
    good = clue("submit", "check", folder, "--data", "sample")
    assert good.exit_code == 0 and "afqmc_predict.json" in good.stdout
    bad = clue("submit", "check", folder)
    assert bad.exit_code == 3 and "not for upload" in bad.stderr
    assert clue("submit", "pack", folder, "--output", tmp_path / "submit.zip").exit_code == 3
    assert not (tmp_path / "submit.zip").exists()


def test_pack_of_the_sample_is_marked(
    clue: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sample_answers(tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    outcome = clue("submit", "pack", folder, "--data", "sample")
    assert outcome.exit_code == 0 and "not for upload" in outcome.stdout
    with zipfile.ZipFile(tmp_path / "submit-sample.zip") as archive:
        assert archive.namelist() == ["afqmc_predict.json", "NOT-FOR-UPLOAD.txt"]


def test_json_ends_with_the_result(clue: Callable[..., Any], tmp_path: Path) -> None:
    folder = sample_answers(tmp_path / "out", label="2")
    outcome = clue("submit", "check", folder, "--data", "sample", "--json")
    events = [json.loads(line) for line in outcome.stdout.splitlines()]
    result = next(event for event in events if event["event"] == "result")
    assert outcome.exit_code == 3 and result["ok"] is False
    assert result["files"][0]["official_name"] == "afqmc_predict.json"
    assert "not one of the card's" in result["problems"][0]
    assert "cluewsc11_predict.json" in result["missing"]


def test_default_path_is_the_newest_runs(
    clue: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    none = clue("submit", "check")
    assert none.exit_code == 3 and "no runs here" in none.stderr
    sample_answers(tmp_path / "runs" / "afqmc" / "tiny-42" / "submission")
    found = clue("submit", "check", "--data", "sample")
    assert found.exit_code == 0, found.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("check", "no-such-folder"), 3, "no such file or folder"),
        (("check", ".", "--benchmark", "clue2"), 2, "clue1.1"),
        (("check", ".", "--data", "no-such-data"), 3, "no such file or folder"),
        (("pack", "--output", "."), 2, "directory"),
    ],
)
def test_wrong_arguments(
    clue: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: Any,
    code: int,
    said: str,
) -> None:
    sample_answers(tmp_path)
    monkeypatch.chdir(tmp_path)
    outcome = clue("submit", *arguments)
    assert outcome.exit_code == code
    assert said in outcome.stderr


# ---------------------------------------------------------------------------- runs and the zip's place

GOLDEN = Path(__file__).parents[1] / "goldens" / "runs" / "v1" / "finished"
NAME = "afqmc_predict.json"


def official_answers(folder: Path, label: str = "0") -> Path:
    """One label for each of AFQMC's test records."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"id": number, "label": label}) + "\n" for number in range(3861))
    (folder / NAME).write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of an earlier version, with random weights and cut data, whose answers fit the official file."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "afqmc" / "test-42"
    shutil.copytree(GOLDEN, folder)
    official_answers(folder / "submission")
    return folder


def test_pack_names_the_run_behind_each_file_and_refuses_what_should_not_be_sent(
    clue: Callable[..., Any], run: Path
) -> None:
    refused = clue("submit", "pack")
    assert refused.exit_code == 3 and not Path("submit.zip").exists()
    assert (
        "random weights, not a pre-trained model; fix: name another run, or --allow random" in refused.stderr
    )
    assert "trained on limited data" in refused.stderr and "--allow incomplete" in refused.stderr
    assert clue("submit", "pack", "--allow", "random").exit_code == 3
    allowed = ("submit", "pack", "--allow", "random", "--allow", "incomplete")
    outcome = clue(*allowed)
    assert outcome.exit_code == 0, outcome.stderr
    row = next(line for line in outcome.stdout.splitlines() if line.startswith(NAME))
    assert row.split()[1:6] == ["runs/afqmc/test-42", "test", "42", "accuracy", "75.00"]
    result = json.loads(clue(*allowed, "--json").stdout.splitlines()[-1])
    assert result["files"] == [NAME]
    (taken,) = result["taken"]
    assert (taken["model"], taken["seed"], taken["score"]) == ("test", 42, 75.0)
    assert taken["run"] == "runs/afqmc/test-42" and taken["data"]


def test_pack_takes_one_model(clue: Callable[..., Any], run: Path) -> None:
    allowed = ("submit", "pack", "--allow", "random", "--allow", "incomplete", "--model")
    assert clue(*allowed, "test").exit_code == 0
    other = clue(*allowed, "bert-base")
    assert (
        other.exit_code == 3
        and "none of the files is from a run of bert-base (allowed: test)" in other.stderr
    )
    assert clue("submit", "pack", "--allow", "everything").exit_code == 2


def test_check_warns_of_what_pack_refuses(clue: Callable[..., Any], run: Path) -> None:
    outcome = clue("submit", "check")
    assert (
        outcome.exit_code == 0
        and "warning: clue submit pack will refuse runs/afqmc/test-42/" in outcome.stderr
    )
    assert "random weights, not a pre-trained model" in outcome.stderr


def test_nothing_that_is_in_the_way_is_lost(
    clue: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = official_answers(Path("a"))
    assert clue("submit", "pack", first).exit_code == 0
    kept = Path("submit.zip").read_bytes()
    again = clue("submit", "pack", first)  # the same bytes: nothing to do
    assert again.exit_code == 0 and "is now" not in again.stdout
    second = official_answers(Path("b"), "1")
    for number in (1, 2):
        outcome = clue("submit", "pack", (second, first)[number - 1], "--json")
        assert json.loads(outcome.stdout.splitlines()[-1])["set_aside"] == f"submit.old-{number}.zip"
        assert f"the earlier zip is now submit.old-{number}.zip" in outcome.stderr
    assert Path("submit.old-1.zip").read_bytes() == kept == Path("submit.zip").read_bytes()
    assert Path("submit.old-2.zip").read_bytes() != kept
    assert sorted(path.name for path in Path().iterdir()) == [
        "a", "b", "clue-home", "submit.old-1.zip", "submit.old-2.zip", "submit.zip",
    ]  # fmt: skip


def test_a_file_of_the_users_is_never_replaced(
    clue: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = official_answers(Path("a"))
    for name in (f"a/{NAME}", "notes.txt"):
        path = Path(name)
        path.touch()
        before = path.read_bytes()
        outcome = clue("submit", "pack", folder, "--output", path)
        assert (
            outcome.exit_code == 2
            and f"{name}: the output path holds a file that is not a zip" in outcome.stderr
        )
        assert path.read_bytes() == before
    os.mkfifo("pipe.zip")
    assert clue("submit", "pack", folder, "--output", "pipe.zip").exit_code == 2
    Path("link.zip").symlink_to("nowhere.zip")
    assert clue("submit", "pack", folder, "--output", "link.zip").exit_code == 2
    assert clue("submit", "pack", folder, "--output", "dist/new/submit.zip").exit_code == 0


def test_a_zip_is_repaired_under_its_own_name(
    clue: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    official_answers(Path("a"))
    with zipfile.ZipFile("submit.zip", "w") as archive:
        archive.write(f"a/{NAME}", f"inner/{NAME}")
    checked = clue("submit", "check", "submit.zip")
    assert "fix: clue submit pack submit.zip --output submit.zip" in checked.stderr
    assert clue("submit", "pack", "submit.zip", "--output", "submit.zip").exit_code == 0
    with zipfile.ZipFile("submit.zip") as archive:
        assert archive.namelist() == [NAME]
    with zipfile.ZipFile("submit.old-1.zip") as archive:
        assert archive.namelist() == [f"inner/{NAME}"]


def test_no_advice_moves_a_file_onto_another(
    clue: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = official_answers(Path("a"))
    (folder / "AFQMC.json").write_bytes((folder / NAME).read_bytes())
    alone = official_answers(Path("b"))
    (alone / NAME).rename(alone / "AFQMC.json")
    assert "fix: mv b/AFQMC.json b/afqmc_predict.json" in clue("submit", "check", alone).stderr
    both = clue("submit", "check", folder).stderr
    assert "wrong file name" in both and "mv " not in both
    with zipfile.ZipFile("mine.zip", "w") as archive:
        archive.write(folder / NAME, NAME)
    assert "mv mine.zip submit.zip" in clue("submit", "check", "mine.zip").stderr
    Path("submit.zip").touch()
    assert "mv " not in clue("submit", "check", "mine.zip").stderr


ESCAPE = "\x1b[2J\x9b31m"


def test_names_with_terminal_escapes_are_shown_escaped(
    clue: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = official_answers(Path(f"a{ESCAPE}"))
    (folder / f"{ESCAPE}.json").write_text("{}", encoding="utf-8")
    (folder / f"ocnli_50k_predict{ESCAPE}.json").write_text('{"id": 0}\n', encoding="utf-8")
    with zipfile.ZipFile("bad.zip", "w") as archive:
        archive.writestr(f"{ESCAPE}/ocnli{ESCAPE}.json", "{}")
    for given in (
        ("check", folder),
        ("check", folder, folder / f"{ESCAPE}.json"),
        ("check", "bad.zip"),
        ("check", f"none{ESCAPE}"),
        ("check", folder, "--data", f"none{ESCAPE}"),
        ("pack", folder, "--output", f"{ESCAPE}.zip"),
        ("pack", folder / NAME, "--output", f"{ESCAPE}.zip"),
        ("pack", folder, "--model", ESCAPE),
    ):
        outcome = clue("submit", *given)
        text = outcome.stdout + outcome.stderr
        assert not any(char in text for char in "\x1b\x9b"), (given, ascii(text))


# ---------------------------------------------------------------------------- official test files


def official_ids(real_data: Path, name: str) -> list[int]:
    archive_name, member, *_ = OFFICIAL[name]
    with zipfile.ZipFile(real_data / "official" / archive_name) as archive:
        text = archive.read(member).decode("utf-8")
    return [json.loads(line)["id"] for line in text.split("\n") if line.strip()]


@pytest.fixture
def submission(real_data: Path, tmp_path: Path) -> Path:
    """A complete set of files with the official ids and one made-up label each."""
    folder = tmp_path / "sub"
    folder.mkdir()
    for name, (_, _, count, first, label) in OFFICIAL.items():
        ids = official_ids(real_data, name)
        assert (len(ids), ids[0]) == (count, first)
        lines = [json.dumps({"id": one, "label": label}) for one in ids]
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.mark.real_data
def test_official_files_are_accepted_and_packed(
    clue: Callable[..., Any], real_data: Path, submission: Path, tmp_path: Path
) -> None:
    outcome = clue("submit", "check", submission, "--data", real_data / "official", "--json")
    assert outcome.exit_code == 0, outcome.stderr
    result = json.loads(outcome.stdout.splitlines()[-1])
    assert {file["official_name"]: file["lines"] for file in result["files"]} == {
        name: count for name, (_, _, count, _, _) in OFFICIAL.items()
    }
    assert all(file["compared_with"] for file in result["files"])
    assert "tnews11_predict.json" in result["missing"]
    for name in ("submit.zip", "submit-again.zip"):
        assert clue("submit", "pack", submission, "--output", tmp_path / name).exit_code == 0
    assert (tmp_path / "submit.zip").read_bytes() == (tmp_path / "submit-again.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "submit.zip") as archive:
        assert archive.namelist() == sorted(set(OFFICIAL) - {"cluewsc10_predict.json"})
    again = clue("submit", "check", tmp_path / "submit.zip", "--data", real_data / "official")
    assert again.exit_code == 0, again.stderr


Spoil = Callable[[Path], object]


def edit(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Spoil:
    def apply(path: Path) -> None:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        lines = [json.dumps(record) for record in change(records)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    return apply


def rewrite(change: Callable[[bytes], bytes]) -> Spoil:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def relabel(label: object) -> Spoil:
    return edit(lambda records: [{**record, "label": label} for record in records])


def rename(name: str) -> Spoil:
    return lambda path: path.replace(path.with_name(name))


sort_by_id = edit(lambda records: sorted(records, key=lambda record: int(record["id"])))
number_rows = edit(lambda records: [{**record, "id": row} for row, record in enumerate(records)])
restart_ids = edit(lambda records: [{**record, "id": row % 32} for row, record in enumerate(records)])
LIST = json.dumps(["1"] * 3000).encode()

# what is broken: (which file, how, what the message must say)
FAULTS: dict[str, tuple[str, Spoil, str]] = {
    "sorted by id": ("csl_predict.json", sort_by_id, "1: the ids are right but not in the order"),
    "row numbers": ("csl_predict.json", number_rows, "csl_public.zip:test.json has its own ids"),
    "row numbers, 1.0": ("cluewsc10_predict.json", number_rows, "test1.0.json has its own ids"),
    "ids of each batch": ("afqmc_predict.json", restart_ids, "33: the ids restart"),
    "one short": ("afqmc_predict.json", edit(lambda all: all[:-1]), "3,860 lines instead of 3,861"),
    "sample length": ("afqmc_predict.json", edit(lambda all: all[:64]), "not for upload"),
    "class index": ("ocnli_50k_predict.json", relabel("1"), "class indices"),
    "boolean": ("cluewsc11_predict.json", relabel(True), "the label is not a string (2,574 lines"),
    "description": ("iflytek_predict.json", relabel("其他"), "write '118'"),
    "bare list": ("csl_predict.json", rewrite(lambda raw: LIST), "one JSON list of 3,000 items"),
    "bom": ("csl_predict.json", rewrite(lambda raw: b"\xef\xbb\xbf" + raw), "byte order mark"),
    "crlf": ("csl_predict.json", rewrite(lambda raw: raw.replace(b"\n", b"\r\n")), "CR LF (3,000 lines"),
    "ocnli name": ("ocnli_50k_predict.json", rename("ocnli_predict.json"), "wrong file name"),
    "wsc name": ("cluewsc10_predict.json", rename("wsc_predict.json"), "allowed: cluewsc10_predict.json"),
    "1.0 as 1.1": ("cluewsc10_predict.json", rename("cluewsc11_predict.json"), "is cluewsc10_predict.json"),
}


@pytest.mark.real_data
@pytest.mark.parametrize("fault", FAULTS)
def test_official_files_broken_in_each_known_way(
    clue: Callable[..., Any], real_data: Path, submission: Path, fault: str
) -> None:
    name, spoil, expected = FAULTS[fault]
    spoil(submission / name)
    outcome = clue("submit", "check", submission, "--data", real_data / "official")
    assert outcome.exit_code == 3
    assert expected in outcome.stderr
    assert "fix: " in outcome.stderr
