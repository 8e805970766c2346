from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from clue_runner.data.cards import Card
from clue_runner.errors import DataError, RefusedFileError, StorageError
from clue_runner.submission.pack import pack, zip_bytes
from clue_runner.submission.report import Report, check_paths

GOOD_11 = b"".join(b'{"id":%d,"label":"100"}\n' % one for one in (7, 5, 9, 0))
GOOD_10 = b"".join(b'{"id":%d,"label":"103"}\n' % one for one in (1, 2, 3))
BOTH = {"topics11_predict.json": GOOD_11, "topics10_predict.json": GOOD_10}
FASTER = ("train.learning_rate=0.5",)
MakeRun = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "out"
    path.mkdir()
    (path / "topics11_predict.json").write_bytes(GOOD_11)
    (path / "topics10_predict.json").write_bytes(GOOD_10)
    return path


def check(card: Card, *paths: Path, data: Path | str | None = None, benchmark: str = "clue1.1") -> Report:
    return check_paths(paths, {card.name: card}, data=str(data) if data else None, benchmark=benchmark)


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
    return path


def test_folder_is_compared_with_the_test_files(card: Card, data: Path, folder: Path) -> None:
    report = check(card, folder, data=data)
    assert report.all_problems == [] and report.missing == () and report.warnings == ()
    assert {file.compared_with for file in report.files} == {f"{data}/test.json", f"{data}/test1.0.json"}


def test_without_test_file_it_says_what_was_not_checked(card: Card, folder: Path) -> None:
    report = check(card, folder)
    assert report.all_problems == []
    assert "no test file found for topics" in report.warnings[0]


def test_data_of_a_run_is_found_again(card: Card, data: Path, make_run: MakeRun) -> None:
    run = make_run("topics/a", data=str(data), files=BOTH)
    report = check(card, run)
    assert all(file.compared_with for file in report.files)
    (run / "submission" / "topics11_predict.json").write_bytes(GOOD_11.replace(b'"id":5', b'"id":6'))
    assert "1 missing, 1 unknown" in str(check(card, run).all_problems[0])


def test_a_card_of_ones_own_is_found_through_the_run(card: Card, make_run: MakeRun) -> None:
    run = make_run("topics/a", files=BOTH)
    assert [file.ok for file in check_paths([run], {}).files] == [True, True]
    (run / "run.yaml").unlink()
    assert check_paths([run], {}).files == ()


def test_of_several_settings_the_newest_counts(card: Card, tmp_path: Path, make_run: MakeRun) -> None:
    make_run("topics/a", files={"topics11_predict.json": b"old"}, written=1)
    newest = make_run("topics/b", files={"topics11_predict.json": GOOD_11}, written=2, settings=FASTER)
    report = check(card, tmp_path / "runs")
    assert [file.piece.run.folder for file in report.files if file.piece.run] == [newest]
    assert report.all_problems == []
    (line,) = report.left_out
    assert line.endswith("topics11_predict.json: a run with other settings, written earlier")


def test_missing_files_of_the_benchmark_are_named_and_do_not_block(card: Card, folder: Path) -> None:
    (folder / "topics11_predict.json").unlink()
    report = check(card, folder)
    assert [one.submission.file for one in report.missing] == ["topics11_predict.json"]
    assert report.all_problems == []


def test_a_version_mix_up_is_seen_by_the_count(card: Card, folder: Path, data: Path) -> None:
    (folder / "topics11_predict.json").write_bytes(GOOD_10)
    messages = [str(problem) for problem in check(card, folder, data=data).all_problems]
    assert any("whose file is topics10_predict.json" in message for message in messages)
    assert any("the ids are those of test1.0" in message for message in messages)


def test_an_ambiguous_wrong_name_goes_to_the_version_with_its_count(card: Card, folder: Path) -> None:
    (folder / "topics10_predict.json").rename(folder / "topic_old.json")
    (problem,) = check(card, folder).all_problems
    assert problem.allowed == "topics10_predict.json"


def test_other_json_of_a_folder_is_left_alone_but_a_named_one_is_not(card: Card, folder: Path) -> None:
    (folder / "metrics.json").write_text("{}", encoding="utf-8")
    report = check(card, folder)
    assert report.all_problems == [] and report.left_out == (
        f"{folder / 'metrics.json'}: not a file of the leaderboard",
    )
    assert "not a leaderboard file name" in str(check(card, folder / "metrics.json").all_problems[0])


def test_flat_zip_is_accepted(card: Card, tmp_path: Path) -> None:
    path = make_zip(tmp_path / "submit.zip", {"topics11_predict.json": GOOD_11})
    assert check(card, path).all_problems == []


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"submit/topics11_predict.json": GOOD_11}, "the files are in a folder inside the zip"),
        (
            {"topics11_predict.json": GOOD_11, "__MACOSX/._topics11_predict.json": b"x"},
            "a file manager added",
        ),
        ({"topics11_predict.json": GOOD_11, ".DS_Store": b"x"}, "a file manager added"),
        ({"topics11_predict.json": GOOD_11, "notes.json": b"{}"}, "not a leaderboard file name"),
        ({"topics_predict.json": GOOD_11}, "wrong file name"),
        ({"topics11_predict.json": GOOD_11, "NOT-FOR-UPLOAD.txt": b"x"}, "not for upload"),
    ],
)
def test_faults_of_the_zip(card: Card, tmp_path: Path, members: dict[str, bytes], expected: str) -> None:
    path = make_zip(tmp_path / "submit.zip", members)
    messages = [str(problem) for problem in check(card, path).all_problems]
    assert any(expected in message for message in messages), messages


def test_unusual_zip_name_is_a_warning(card: Card, tmp_path: Path) -> None:
    report = check(card, make_zip(tmp_path / "mine.zip", {"topics11_predict.json": GOOD_11}))
    assert report.all_problems == [] and "unusual zip name" in report.warnings[0]


def test_paths_that_cannot_be_read(card: Card, tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 no zip")
    (tmp_path / "bare").mkdir()
    for path in (tmp_path / "nothing", tmp_path / "broken.zip", tmp_path / "bare"):
        with pytest.raises(DataError):
            check(card, path)
    with pytest.raises(RefusedFileError):
        check(card, make_zip(tmp_path / "evil.zip", {"../topics11_predict.json": GOOD_11}))


def test_pack_is_flat_byte_identical_and_holds_one_benchmark(
    card: Card, folder: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "a.zip", tmp_path / "b.zip"
    packed = pack(check(card, folder), first)
    for file in folder.iterdir():
        os.utime(file, (1_000_000_000, 1_000_000_000))
    pack(check(card, folder), second)
    assert first.read_bytes() == second.read_bytes()
    assert packed.files == ("topics11_predict.json",)
    assert packed.left_out == (f"{folder / 'topics10_predict.json'}: not of clue1.1",)
    with zipfile.ZipFile(first) as archive:
        (info,) = archive.infolist()
        assert archive.read(info) == GOOD_11
    assert info.date_time == (1980, 1, 1, 0, 0, 0) and info.external_attr >> 16 == 0o100644
    assert not list(tmp_path.glob("*.part")) and not list(tmp_path.glob(".*"))


def test_pack_of_the_other_benchmark(card: Card, folder: Path, tmp_path: Path) -> None:
    packed = pack(check(card, folder, benchmark="clue1.0"), tmp_path / "old.zip")
    assert packed.files == ("topics10_predict.json",)


def test_pack_mends_the_faults_of_a_zip(card: Card, tmp_path: Path) -> None:
    nested = make_zip(
        tmp_path / "nested.zip", {"submit/topics11_predict.json": GOOD_11, "__MACOSX/._x": b"x"}
    )
    report = check(card, nested)
    assert len(report.all_problems) == 2
    fixed = pack(report, tmp_path / "submit.zip").path
    assert check(card, fixed).all_problems == []


def test_pack_refuses_what_check_refuses(card: Card, folder: Path, tmp_path: Path) -> None:
    (folder / "topics11_predict.json").write_bytes(GOOD_11.replace(b'"100"', b"100"))
    with pytest.raises(DataError, match="the label is not a string"):
        pack(check(card, folder), tmp_path / "submit.zip")
    assert not (tmp_path / "submit.zip").exists()


def test_pack_refuses_two_files_of_one_name(card: Card, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "topics11_predict.json").write_bytes(GOOD_11)
    with pytest.raises(DataError, match="there are two files for topics11_predict.json"):
        pack(check(card, folder, other), tmp_path / "submit.zip")


def test_pack_refuses_sample_answers_and_marked_files(card: Card, folder: Path, tmp_path: Path) -> None:
    (folder / "NOT-FOR-UPLOAD.txt").write_text("sample", encoding="utf-8")
    with pytest.raises(DataError, match="not for upload"):
        pack(check(card, folder), tmp_path / "submit.zip")


def test_sample_zip_is_marked_and_refused_afterwards(
    card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sample = card.folder / "sample"
    sample.mkdir()
    text = "".join(json.dumps({"id": one, "sentence": "句"}, ensure_ascii=False) + "\n" for one in (0, 1))
    (sample / "test.json").write_text(text, encoding="utf-8")
    answers = tmp_path / "topics11_predict.json"
    answers.write_bytes(b'{"id":0,"label":"100"}\n{"id":1,"label":"100"}\n')
    with pytest.raises(DataError, match="not for upload"):
        pack(check(card, answers), tmp_path / "submit.zip")
    packed = pack(check(card, answers, data="sample"))
    assert packed.path == Path("submit-sample.zip")
    assert packed.files == ("topics11_predict.json", "NOT-FOR-UPLOAD.txt")
    messages = [str(problem) for problem in check(card, packed.path).all_problems]
    assert any("sample" in message and "not for upload" in message for message in messages)


@pytest.mark.parametrize(
    "name",
    ["../x.json", "..", ".", "", "/x.json", "a/b.json", "a\\b.json", "C:x.json", "nul", "com1.json",
     "x\x1b.json", "x\n.json", "x" * 300, "x.json ", "-x.json"],
)  # fmt: skip
def test_names_in_the_zip_are_plain(name: str) -> None:
    with pytest.raises(DataError, match="not a name for a file in the zip"):
        zip_bytes([(name, b"")])


def test_nothing_of_the_benchmark(card: Card, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file of cluener found"):
        pack(check(card, folder, benchmark="cluener"), tmp_path / "submit.zip")


def test_a_place_that_cannot_be_written(card: Card, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StorageError, match="cannot write"):
        pack(check(card, folder), tmp_path / "file" / "submit.zip")
