"""Which run's answers are packed: by model, median seed, never random, sample, cut or mixed unless told."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clue_runner.data.cards import Card, find_card
from clue_runner.errors import DataError
from clue_runner.runs.ensembles import Ensemble, EnsembleMember, JointScore, place_within, write_ensemble
from clue_runner.submission.origin.facts import run_facts
from clue_runner.submission.pack import Packed, pack
from clue_runner.submission.report import check_paths

MakeRun = Callable[..., Path]
NAME = "topics11_predict.json"
FASTER = ("train.learning_rate=0.5",)


def answers(label: str = "100") -> dict[str, bytes]:
    return {NAME: b"".join(b'{"id":%d,"label":"%s"}\n' % (one, label.encode()) for one in (7, 5, 9, 0))}


GOOD = answers()


def packed(card: Card, *paths: Path, output: Path, allow: tuple[Any, ...] = (), **options: Any) -> Packed:
    report = check_paths(paths, {card.name: card}, allow=allow, **options)
    return pack(report, output, allow)


def refused(card: Card, *paths: Path, output: Path, **options: Any) -> list[str]:
    with pytest.raises(DataError) as caught:
        packed(card, *paths, output=output, **options)
    assert not output.exists()
    return [str(problem) for problem in caught.value.problems]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "submit.zip"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def test_the_origin_of_each_file_is_named(card: Card, make_run: MakeRun, output: Path) -> None:
    folder = make_run("topics/a", files=GOOD, score=71.5, seed=7, data="/data/topics.zip")
    (file,) = packed(card, folder, output=output).taken
    said = file.as_dict()
    assert {key: said[key] for key in ("run", "model", "seed", "metric", "score", "data")} == {
        "run": str(folder), "model": "bert-base", "seed": 7, "metric": "accuracy", "score": 71.5,
        "data": "/data/topics.zip",
    }  # fmt: skip


FLAWS: dict[str, tuple[dict[str, Any], str, str]] = {
    "random weights": ({"init": "random"}, "random weights", "random"),
    "the sample": ({"data": "sample", "complete": False}, "trained on the sample records", "sample"),
    "cut data": ({"complete": False}, "trained on limited data", "incomplete"),
    "unfinished": ({"score": None}, "the run has not finished", "incomplete"),
    "failed": ({"score": None, "ok": False}, "the run has failed", "incomplete"),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flawed_run_is_refused_unless_told(flaw: str, card: Card, make_run: MakeRun, output: Path) -> None:
    options, says, kind = FLAWS[flaw]
    folder = make_run("topics/a", files=GOOD, **options)
    (problem,) = refused(card, folder, output=output)
    assert says in problem and f"--allow {kind}" in problem and NAME in problem
    others = {"random", "sample", "incomplete", "mixed"} - {kind}
    assert refused(card, folder, output=output, allow=tuple(others)) == [problem]
    assert packed(card, folder, output=output, allow=(kind,)).files == (NAME,)
    assert check_paths([folder], {card.name: card}).all_problems == []  # a check is no refusal


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_sound_run_is_taken_before_a_newer_flawed_one(
    flaw: str, card: Card, make_run: MakeRun, runs: Path, output: Path
) -> None:
    options, says, _ = FLAWS[flaw]
    sound = make_run("topics/a", files=GOOD, written=1)
    other = make_run("topics/b", files=answers("103"), written=2, settings=FASTER, **options)
    report = check_paths([runs], {card.name: card})
    assert [file.piece.run.folder for file in report.files if file.piece.run] == [sound]
    (line,) = report.left_out
    assert line.startswith(str(other)) and says in line
    assert packed(card, runs, output=output).files == (NAME,)


def test_an_unreadable_run_is_a_flaw_that_names_its_file(card: Card, make_run: MakeRun, output: Path) -> None:
    folder = make_run("topics/a", files=GOOD)
    (folder / "metrics.json").write_text("[1]", encoding="utf-8")
    (problem,) = refused(card, folder, output=output)
    assert "the run cannot be read" in problem and "metrics.json" in problem
    assert packed(card, folder, output=output, allow=("incomplete",)).files == (NAME,)


@pytest.mark.parametrize(
    ("scores", "median"),
    [
        ({1: 70.0, 2: 72.0, 3: 71.0}, 3),
        ({1: 70.0, 2: 72.0}, 1),
        ({1: 70.0}, 1),
        ({5: 60.0, 4: 61.0, 3: 62.0, 2: 63.0, 1: 64.0}, 3),
        ({1: 70.0, 2: 70.0, 3: 70.0}, 2),
    ],
)
def test_of_several_seeds_the_median_is_taken(
    scores: dict[int, float], median: int, card: Card, make_run: MakeRun, runs: Path, output: Path
) -> None:
    for number, (seed, score) in enumerate(scores.items()):
        folder = f"topics/base/seed-{seed}"
        make_run(folder, files=answers(), seed=seed, score=score, written=number + 1)
    for paths in ([runs], [runs / "topics" / "base"], sorted((runs / "topics" / "base").iterdir())):
        result = packed(card, *paths, output=output)
        (file,) = result.taken
        assert file.piece.run is not None and file.piece.run.seed == median
        assert file.why == (check_paths([runs], {card.name: card}).files[0].why)
        named_or_found = (*result.left_out, *check_paths(paths, {card.name: card}).left_out)
        assert sum("another seed" in line for line in named_or_found) == len(scores) - 1
    report = check_paths([runs], {card.name: card})
    why = report.files[0].why
    if len(scores) > 1:
        assert why is not None and why.startswith(f"seed {median} is the median of {len(scores)} seeds (")
        assert f"{median}: {scores[median]:.2f}" in why
    assert len(report.left_out) == len(scores) - 1


def test_a_seed_that_was_trained_again_counts_once(
    card: Card, make_run: MakeRun, runs: Path, output: Path
) -> None:
    make_run("topics/a", files=GOOD, seed=1, score=70.0, written=1)
    make_run("topics/b", files=GOOD, seed=1, score=74.0, written=2)
    make_run("topics/c", files=GOOD, seed=2, score=72.0, written=3)
    (file,) = packed(card, runs, output=output).taken
    assert file.piece.run is not None and file.piece.run.folder.name == "c"  # of 72 and 74 the lower


def test_other_settings_are_no_seeds(card: Card, make_run: MakeRun, runs: Path, output: Path) -> None:
    one = make_run("topics/a", files=GOOD, seed=1, score=80.0, written=1)
    two = make_run("topics/b", files=GOOD, seed=2, score=60.0, written=2, settings=FASTER)
    (file,) = packed(card, runs, output=output).taken
    assert file.piece.run is not None and file.piece.run.folder == two
    problems = refused(card, one, two, output=output.with_name("other.zip"))
    assert any(f"there are two files for {NAME}" in problem for problem in problems)


@pytest.mark.parametrize("other", [{"train": "u" * 64}, {"weights": "v" * 64}])
def test_runs_on_other_data_or_other_weights_are_no_seeds(
    other: dict[str, Any], card: Card, make_run: MakeRun, runs: Path, output: Path
) -> None:
    make_run("topics/a", files=GOOD, seed=1, score=80.0, written=1)
    make_run("topics/b", files=GOOD, seed=2, score=70.0, written=2, **other)
    (file,) = packed(card, runs, output=output).taken
    assert file.piece.run is not None and (file.piece.run.seed, file.why) == (2, None)


def test_folders_set_aside_are_never_searched(card: Card, make_run: MakeRun, runs: Path) -> None:
    make_run("topics/a.old-1", files=answers("103"), written=9)
    kept = make_run("topics/a", files=GOOD, written=1)
    make_run("topics.old-2/a", files=answers("103"), written=9)
    report = check_paths([runs], {card.name: card})
    assert [file.piece.run.folder for file in report.files if file.piece.run] == [kept]
    assert report.left_out == ()


def test_a_model_can_be_asked_for(card: Card, make_run: MakeRun, runs: Path, output: Path) -> None:
    make_run("topics/a", files=GOOD, model="bert-base", written=1)
    newer = make_run("topics/b", files=answers("103"), model="lert-base", written=2)
    (file,) = packed(card, runs, output=output, model="lert-base").taken
    assert file.piece.run is not None and file.piece.run.folder == newer
    output.unlink()
    (file,) = packed(card, runs, output=output, model="bert-base").taken
    assert file.piece.run is not None and file.piece.run.model == "bert-base"
    (line,) = check_paths([runs], {card.name: card}, model="bert-base").left_out
    assert line == f"{newer / 'submission' / NAME}: not of a run of bert-base"
    with pytest.raises(DataError, match=r"none of the files is from a run of gpt.*bert-base, lert-base"):
        check_paths([runs], {card.name: card}, model="gpt")


@pytest.fixture
def pair(make_run: MakeRun) -> Callable[..., Path]:
    """Two official files, each made by a run of its own."""

    def make(**second: Any) -> Path:
        label = {"afqmc": "0", "ocnli": "neutral"}
        for task, options in (("afqmc", {}), ("ocnli", second)):
            submission = find_card(task).submissions[0]
            count = find_card(task).splits[submission.split].records[0]
            raw = "".join(f'{{"id": {n}, "label": "{label[task]}"}}\n' for n in range(count)).encode()
            folder = make_run(f"{task}/x", files={submission.file: raw}, **options)
            settings = folder / "run.yaml"
            text = re.sub(r"^task: .*$", f"task: {task}", settings.read_text(encoding="utf-8"), flags=re.M)
            settings.write_text(text, encoding="utf-8")
        return folder.parents[1]

    return make


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ({"model": "lert-base"}, "1 of bert-base, 1 of lert-base"),
        ({"weights": "v" * 64}, "2 of bert-base with 2 different sets of pre-trained weights"),
    ],
)
def test_models_are_not_mixed_unless_told(
    second: dict[str, Any], says: str, pair: Callable[..., Path], output: Path
) -> None:
    cards = {name: find_card(name) for name in ("afqmc", "ocnli")}
    root = pair(**second)
    with pytest.raises(DataError, match="files come from several models") as caught:
        pack(check_paths([root], cards), output)
    assert says in str(caught.value) and "--allow mixed" in str(caught.value)
    assert pack(check_paths([root], cards), output, ("mixed",)).files == (
        "afqmc_predict.json",
        "ocnli_50k_predict.json",
    )


def test_one_model_with_one_checkpoint_is_no_mix(pair: Callable[..., Path], output: Path) -> None:
    cards = {name: find_card(name) for name in ("afqmc", "ocnli")}
    assert len(pack(check_paths([pair(seed=7)], cards), output).files) == 2


def test_files_that_no_run_made_are_taken_and_named_as_such(card: Card, tmp_path: Path, output: Path) -> None:
    (tmp_path / NAME).write_bytes(GOOD[NAME])
    (file,) = packed(card, tmp_path / NAME, output=output).taken
    assert file.as_dict()["run"] is None and file.as_dict()["model"] is None


def test_a_file_named_alone_still_has_its_run(card: Card, make_run: MakeRun, output: Path) -> None:
    folder = make_run("topics/a", files=GOOD, init="random")
    (problem,) = refused(card, folder / "submission" / NAME, output=output)
    assert "random weights" in problem


def test_answers_of_a_borrowed_head_belong_to_the_run_that_lent_it(card: Card, make_run: MakeRun) -> None:
    folder = make_run("other/a", seed=5)
    borrowed = folder / "topics" / "submission"
    borrowed.mkdir(parents=True)
    (borrowed / NAME).write_bytes(GOOD[NAME])
    report = check_paths([borrowed], {card.name: card})
    assert [file.piece.run.seed for file in report.files if file.piece.run] == [5]


# ------------------------------------------------------------------ what cannot be read hides nothing else


def test_one_unreadable_file_is_a_finding_beside_its_name(
    card: Card, make_run: MakeRun, tmp_path: Path, output: Path
) -> None:
    folder = make_run("topics/a", files=GOOD)
    os.mkfifo(folder / "submission" / "topics10_predict.json")
    report = check_paths([folder], {card.name: card})
    by_name = {file.piece.name: file for file in report.files}
    assert by_name[NAME].ok
    (problem,) = by_name["topics10_predict.json"].problems
    assert "not a regular file, got a named pipe" in str(problem) and "topics10_predict.json" in str(problem)
    assert packed(card, folder, output=output).files == (NAME,)  # the broken file is of the other benchmark
    problems = refused(card, folder, output=output.with_name("old.zip"), benchmark="clue1.0")
    assert any("not a regular file" in problem for problem in problems)


def test_each_path_that_cannot_be_read_is_said(
    card: Card, make_run: MakeRun, tmp_path: Path, output: Path
) -> None:
    folder = make_run("topics/a", files=GOOD)
    broken, empty = tmp_path / "broken.zip", tmp_path / "empty"
    broken.write_bytes(b"PK\x03\x04 no zip")
    empty.mkdir()
    bad = [broken, empty, tmp_path / "none", Path("/dev/zero"), Path("~no-such-user-here/x")]
    report = check_paths([folder, *bad], {card.name: card})
    assert [file.ok for file in report.files] == [True, False]
    said = [str(problem) for problem in report.all_problems]
    assert len(said) == len(bad)
    for path in bad:
        assert any(str(path) in text for text in said), path
    refused(card, folder, *bad, output=output)
    with pytest.raises(DataError, match="none of these files can be read"):
        check_paths([broken, empty], {card.name: card})


def test_a_damaged_member_is_a_finding_beside_its_name(card: Card, tmp_path: Path) -> None:
    path = tmp_path / "submit.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("topics10_predict.json", b'{"id":1,"label":"103"}\n' * 3)
        archive.writestr(NAME, GOOD[NAME])
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"topics10_predict.json") + len("topics10_predict.json") + 2] ^= 0xFF
    path.write_bytes(bytes(raw))
    report = check_paths([path], {card.name: card})
    by_name = {file.piece.name: file for file in report.files}
    assert by_name[NAME].ok
    assert "topics10_predict.json" in str(by_name["topics10_predict.json"].problems[0])


def test_a_broken_test_file_is_a_finding_beside_the_files_of_its_task(
    card: Card, make_run: MakeRun, data: Path, tmp_path: Path
) -> None:
    folder = make_run("topics/a", files=GOOD, data=str(data))
    (data / "test.json").write_text("nonsense\n", encoding="utf-8")
    other = tmp_path / "afqmc_predict.json"
    count = find_card("afqmc").splits["test"].records[0]
    other.write_text("".join(f'{{"id": {n}, "label": "0"}}\n' for n in range(count)), encoding="utf-8")
    report = check_paths([folder, other], {card.name: card, "afqmc": find_card("afqmc")})
    assert {file.piece.name: file.ok for file in report.files} == {NAME: False, "afqmc_predict.json": True}
    assert "test.json" in str(report.files[0].problems[0])


def test_a_card_of_ones_own_that_is_broken_is_said(card: Card, make_run: MakeRun) -> None:
    folder = make_run("topics/a", files=GOOD)
    (card.folder / "task.yaml").write_text("name: [\n", encoding="utf-8")
    report = check_paths([folder], {})
    (problem,) = report.all_problems
    assert "task.yaml" in str(problem)
    with pytest.raises(DataError, match=r"task\.yaml"):
        pack(report, card.folder / "submit.zip")


@pytest.mark.parametrize("size", [64 * 1024**2 + 1])
def test_files_that_are_too_large_are_refused_alike_by_train_and_check(
    size: int, card: Card, tmp_path: Path
) -> None:
    from clue_runner.submission.check import check_file

    raw = GOOD[NAME] + b" " * (size - len(GOOD[NAME]))
    path = tmp_path / NAME
    path.write_bytes(raw)
    (problem,) = check_paths([path], {card.name: card}).all_problems
    assert "too large for a submission" in str(problem)
    (same,) = check_file(card, card.submissions[0], raw, None)  # what training asks
    assert same.what == problem.what and same.allowed == problem.allowed


def test_other_json_beside_runs_does_not_hide_them(card: Card, make_run: MakeRun, runs: Path) -> None:
    make_run("topics/base/seed-1", files=GOOD, seed=1)
    (runs / "topics" / "base" / "summary.json").write_text("{}", encoding="utf-8")
    report = check_paths([runs / "topics" / "base"], {card.name: card})
    assert [file.piece.name for file in report.files] == [NAME]


@pytest.mark.parametrize("broken", ["run.yaml", "metrics.json", "events.jsonl"])
def test_run_folders_of_any_content_are_facts_or_flaws(broken: str, make_run: MakeRun) -> None:
    for number, raw in enumerate(
        (b"", b"\xff\xfe", b"[" * 5000, b"[]", b"null", b'{"seed": "x"}', b"1" * 5000)
    ):
        folder = make_run(f"topics/{number}", files=GOOD)
        (folder / broken).write_bytes(raw)
        facts = run_facts(folder)
        assert facts is not None
        if broken != "events.jsonl":
            assert [kind for kind, _ in facts.flaws] == ["incomplete"], raw
    folder = make_run("topics/pipe", files=GOOD)
    (folder / broken).unlink()
    os.mkfifo(folder / broken)
    assert run_facts(folder) is not None


# ---------------------------------------------------------------------------- ensembles


@pytest.fixture
def make_ensemble(make_run: MakeRun, runs: Path) -> Callable[..., Path]:
    """Write the folder of an ensemble as ``clue predict --run A --run B`` leaves it."""

    def make(*members: Path, score: float | None = 75.0) -> Path:
        folder = runs / "topics" / "ensemble-a+b-0123abcd"
        (folder / "submission").mkdir(parents=True)
        (folder / "submission" / NAME).write_bytes(GOOD[NAME])
        noted = [
            EnsembleMember(
                run=str(member), folder=place_within(folder, member), weights_sha256="w", dev_score=70.0
            )
            for member in members
        ]
        dev = None if score is None else JointScore(metric="accuracy", score=score)
        write_ensemble(folder, Ensemble(members=noted, dev=dev))
        return folder

    return make


def test_an_ensembles_file_is_packed_and_named_as_one(
    card: Card, make_run: MakeRun, make_ensemble: Callable[..., Path], output: Path
) -> None:
    folder = make_ensemble(make_run("topics/a", seed=1), make_run("topics/b", seed=2, model="roberta"))
    (file,) = packed(card, folder, output=output).taken
    said = file.as_dict()
    assert {key: said[key] for key in ("run", "model", "seed", "metric", "score")} == {
        "run": str(folder), "model": "ensemble of 2: bert-base + roberta", "seed": None, "metric": "accuracy",
        "score": 75.0,
    }  # fmt: skip


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flaw_of_one_member_is_the_ensembles(
    flaw: str, card: Card, make_run: MakeRun, make_ensemble: Callable[..., Path], output: Path
) -> None:
    options, says, kind = FLAWS[flaw]
    folder = make_ensemble(make_run("topics/a"), make_run("topics/b", **options))
    (problem,) = refused(card, folder, output=output)
    assert says in problem and str(Path("topics/b")) in problem and f"--allow {kind}" in problem
    assert packed(card, folder, output=output, allow=(kind,)).files == (NAME,)


def test_members_are_found_where_the_folders_were_moved_to(
    card: Card, make_run: MakeRun, make_ensemble: Callable[..., Path], runs: Path, output: Path
) -> None:
    make_ensemble(make_run("topics/a"), make_run("topics/b"))
    moved = runs.rename(runs.with_name("moved")) / "topics" / "ensemble-a+b-0123abcd"
    assert packed(card, moved, output=output).files == (NAME,)
    shutil.rmtree(moved.parent / "a")
    (problem,) = refused(card, moved, output=output.with_name("second.zip"))
    assert "topics/a, a member of the ensemble, does not exist" in problem


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"members": 3}', '{"members": [{"run": 1}]}', "\xff"])
def test_a_damaged_note_of_an_ensemble_is_a_flaw(
    note: str, card: Card, make_run: MakeRun, make_ensemble: Callable[..., Path], output: Path
) -> None:
    folder = make_ensemble(make_run("topics/a"))
    (folder / "ensemble.json").write_bytes(note.encode("latin-1"))
    (problem,) = refused(card, folder, output=output)
    assert "ensemble.json is damaged" in problem and "ensemble.json" in problem


def test_an_ensemble_that_names_itself_comes_to_an_end(
    card: Card, make_run: MakeRun, make_ensemble: Callable[..., Path], runs: Path, output: Path
) -> None:
    folder = make_ensemble(make_run("topics/a"), runs / "topics" / "ensemble-a+b-0123abcd")
    (problem,) = refused(card, folder, output=output)
    assert "does not exist" in problem
