from __future__ import annotations

import json
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
    from clue_runner.adapters.classification import read
    from clue_runner.data.cards import find_card
    from clue_runner.data.locate import locate

    card = find_card("afqmc")
    records = read(card, locate(card, "sample"), "test")
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
    "row numbers": ("csl_predict.json", number_rows, "1: the ids are row numbers from 0; test.json has"),
    "row numbers, 1.0": ("cluewsc10_predict.json", number_rows, "row numbers from 0; test1.0.json has"),
    "ids of each batch": ("afqmc_predict.json", restart_ids, "33: the ids start again"),
    "one short": ("afqmc_predict.json", edit(lambda all: all[:-1]), "3,860 lines instead of 3,861"),
    "sample length": ("afqmc_predict.json", edit(lambda all: all[:64]), "not for upload"),
    "class index": ("ocnli_50k_predict.json", relabel("1"), "class indexes"),
    "boolean": ("cluewsc11_predict.json", relabel(True), "the label is not a text (2,574 lines"),
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
