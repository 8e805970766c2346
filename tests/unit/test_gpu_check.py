"""The check of a GPU, without one: it refuses, it says what it leaves out, its suite is the leaderboard's."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from clue_runner.suites.reading import read_suite

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import gpu_check
from cells import run_cell

SCRIPTS = Path(gpu_check.__file__).parent
STEPS = {what: {"seconds": 0.5, "first": 9.0, "peak": 2**30} for what in ("train", "evaluate")}
DEVICE = {"text": "A100 (gpu:0, jax)", "versions": "jax 1, keras 3", "flops": 1e14}


@pytest.fixture
def check(tmp_path: Path) -> gpu_check.Check:
    return gpu_check.Check(Namespace(seconds=500.0, folder=tmp_path, rehearse=False))


def answer(monkeypatch: pytest.MonkeyPatch, found: Any) -> list[dict[str, Any]]:
    """Let ``found(job)`` stand for the processes that measure; return their jobs."""
    jobs: list[dict[str, Any]] = []

    def run_cell(job: dict[str, Any], script: str, *, limit: float) -> dict[str, Any]:
        assert Path(script).is_file()
        jobs.append(job)
        return DEVICE if job["what"] == "device" else found(job)

    monkeypatch.setattr(gpu_check, "run_cell", run_cell)
    return jobs


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[1:]]


def test_without_a_gpu_it_refuses_in_one_line() -> None:
    code = "import gpu_check, sys; sys.argv = ['gpu_check.py']; sys.exit(gpu_check.main())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=SCRIPTS, env={"JAX_PLATFORMS": "cpu", "PATH": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert not done.stdout
    assert done.stderr.count("\n") == 1
    assert "JAX sees no GPU" in done.stderr
    assert "--rehearse" in done.stderr


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "PACKAGES", ("json", "no_such_package"))
    (said,) = gpu_check.problems(rehearse=True)
    assert "missing: no_such_package;" in said


def test_the_table_has_every_row(
    check: gpu_check.Check, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = answer(monkeypatch, lambda job: STEPS)
    check.table()
    printed = capsys.readouterr().out
    table = rows(printed)
    assert len(table) == 2 * len(jobs[1:]) == 16
    assert {tuple(row[:4]) for row in table} == {
        (name, length, form, what)
        for name in ("base", "large")
        for length in ("128", "512")
        for form in ("einsum", "fused")
        for what in ("train", "evaluate")
    }
    train, evaluate = table[:2]
    assert train[4:6] == ["256", "512"]  # half a second for 256 rows
    assert float(train[6]) == pytest.approx(3 * float(evaluate[6]), rel=0.01)
    # 100 TFLOP/s are the peak, so that the figures are the same
    assert float(train[7].rstrip("%")) == pytest.approx(float(train[6]), rel=0.02)
    assert "REHEARSAL" not in printed
    assert not check.failed + check.left_out


def test_rows_are_halved_until_they_fit(
    check: gpu_check.Check, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = {"error": "XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory"}
    answer(monkeypatch, lambda job: STEPS if job["rows"] <= 64 else full)
    check.table()
    assert {int(row[4]) for row in rows(capsys.readouterr().out)} == {64, 32}
    assert not check.failed


def test_an_error_is_found_above_the_advice_below_it(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        "class XlaRuntimeError(RuntimeError): pass\n"
        "error = XlaRuntimeError('RESOURCE_EXHAUSTED: Out of memory:\\n  all of it')\n"
        "error.add_note('For simplicity, JAX has removed its internal frames')\n"
        "raise error\n",
        encoding="utf-8",
    )
    found = run_cell({"backend": "jax"}, str(script))
    assert found["error"].endswith("XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory:")
    script.write_text("import sys; sys.exit('no such device')", encoding="utf-8")
    assert run_cell({"backend": "jax"}, str(script)) == {"error": "no such device"}


def test_a_cell_is_stopped_at_its_limit(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text("import time; time.sleep(60)", encoding="utf-8")
    found = run_cell({"backend": "jax"}, str(script), limit=0.5)
    assert found["late"]
    assert found["error"].startswith("stopped after")


def test_failures_and_what_is_left_out_are_told_apart(
    check: gpu_check.Check, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def found(job: dict[str, Any]) -> dict[str, Any]:
        if job["form"] == "fused":
            return {"error": "no such kernel"}
        return {"error": "stopped after 9 s", "late": True} if job["length"] == 512 else STEPS

    answer(monkeypatch, found)
    check.table()
    assert check.left_out == ["base at 512 tokens, einsum", "large at 512 tokens, einsum"]
    assert len(check.failed) == 4
    assert len(rows(capsys.readouterr().out)) == 4 + 2 + 4


def test_without_time_nothing_is_begun_and_all_is_said(
    check: gpu_check.Check, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = answer(monkeypatch, lambda job: STEPS)
    check.seconds = 10.0
    for part in (check.table, check.tests, check.suite):
        part()
    printed = capsys.readouterr().out
    assert [job["what"] for job in jobs] == ["device"]
    assert not rows(printed)
    assert printed.count("LEFT OUT for lack of time: ") == 8 + 2
    assert printed.count("LEFT OUT for want of a result: ") == 9  # tasks
    assert len(check.left_out) == 8 + 2 + 9


def test_a_program_is_stopped_at_its_time(
    check: gpu_check.Check, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_check, "LEAST", 0)
    check.seconds = 1.0
    check.program("suite", [sys.executable, "-c", "print('begun', flush=True); import time; time.sleep(60)"])
    assert "begun" in capsys.readouterr().out
    assert len(check.left_out) == 1
    check.seconds = 60.0
    check.program("suite", [sys.executable, "-c", "raise SystemExit(3)"])
    assert check.failed == ["suite"]


def test_a_rehearsal_says_so_and_goes_the_same_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check = gpu_check.Check(Namespace(seconds=500.0, folder=tmp_path, rehearse=True))
    jobs = answer(monkeypatch, lambda job: STEPS)
    check.table()
    printed = capsys.readouterr().out
    assert "REHEARSAL ON A PROCESSOR WITH TINY NETWORKS, NOT FIGURES OF A GPU" in printed.splitlines()[0]
    assert {job["device"] for job in jobs} == {"cpu"}
    assert {row[0] for row in rows(printed)} == {"small, for base", "small, for large"}


@pytest.mark.parametrize("rehearse", [False, True])
def test_the_suite_is_the_leaderboards_on_samples(tmp_path: Path, rehearse: bool) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(json.dumps(gpu_check.sample_suite(gpu_check.place(rehearse))), encoding="utf-8")
    suite, shipped = read_suite(str(path)).suite, read_suite("clue11").suite
    assert suite.tasks == shipped.tasks
    assert (suite.data, suite.backend, suite.device) == ("sample", "jax", "cpu" if rehearse else "gpu")
    assert suite.settings["train.max_steps"] == 4
