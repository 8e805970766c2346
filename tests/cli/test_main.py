"""The command frame: lazy help, exit codes, messages for every kind of failure."""

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import click
import pytest

from clue_runner.cli import main
from clue_runner.errors import CheckpointError

HEAVY = {
    "tensorflow",
    "jax",
    "keras",
    "sklearn",
    "numpy",
    "pydantic",
    "yaml",
    "rich",
    "tokenizers",
    "pooch",
    "safetensors",
}
HEAVY_BACKENDS = {"tensorflow", "jax", "keras", "sklearn"}
NAMES = {
    "tasks",
    "data",
    "models",
    "train",
    "bench",
    "baseline",
    "compare",
    "report",
    "convert",
    "pretrain",
    "generate",
    "probe",
    "completion",
    "memory",
    "predict",
    "evaluate",
    "submit",
    "ask",
    "config",
    "doctor",
    "cache",
}


def imported(*arguments: str, home: Path) -> set[str]:
    """Return the top-level modules that a command line imported."""
    code = (
        "import sys, json\n"
        "from clue_runner.cli.main import run\n"
        "try: run(json.loads(sys.argv[1]))\n"
        "except SystemExit: pass\n"
        "print('MODULES ' + ' '.join(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(arguments)],
        capture_output=True,
        encoding="utf-8",
        check=True,
        env={"CLUE_HOME": str(home), "PATH": "/usr/bin"},
    )
    return set(done.stdout.split("MODULES ")[1].split())


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make ``clue cache`` raise an exception."""

    def use(error: BaseException) -> None:
        @click.command()
        @click.option("--json", is_flag=True)
        def command(json: bool) -> None:
            raise error

        module = __import__("clue_runner.cli.cache", fromlist=["command"])
        monkeypatch.setattr(module, "command", command)

    return use


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_imports_click_alone(arguments: tuple[str, ...], tmp_path: Path) -> None:
    modules = imported(*arguments, home=tmp_path)
    assert "click" in modules
    assert modules & HEAVY == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ("tasks",),
        ("tasks", "show", "afqmc"),
        ("models",),
        ("config", "show", "--task", "tnews"),
        ("cache",),
        ("config", "check", str(Path(__file__).parents[2] / "configs" / "models" / "test.yaml")),
        ("data", "--help"),
        ("submit", "--help"),
    ],
)
def test_light_commands_import_no_backend(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert imported(*arguments, home=tmp_path) & HEAVY_BACKENDS == set()


def test_help_lists_every_command_with_its_line(clue) -> None:
    outcome = clue("--help")
    assert outcome.exit_code == 0
    names = main.command_folder.list_commands(click.Context(main.command_folder))
    assert set(names) <= NAMES
    assert {"tasks", "models", "config", "doctor", "cache"} <= set(names)
    for name in names:
        assert 10 < len(main.short_help(name)) < 100, name
        assert f"  {name} " in outcome.stdout


def test_every_command_shows_its_help(clue) -> None:
    for name in main.command_folder.list_commands(click.Context(main.command_folder)):
        outcome = clue(name, "--help")
        assert outcome.exit_code == 0
        assert f"Usage: clue {name}" in outcome.stdout


def test_version(clue) -> None:
    from clue_runner import __version__

    assert clue("--version").stdout == f"clue-runner {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("tsks",), "no command called 'tsks', did you mean tasks?"),
        (("qqqqq",), "all commands: clue --help"),
        (("--qiet", "tasks"), "no such option"),
        (("tasks", "--jsn"), "--json"),
        (("config", "shw"), "show"),
        (("cache", "--clear", "rowz"), "rows"),
        (("tasks", "show"), "missing argument"),
        (("tasks", "show", "afqcm"), "did you mean afqmc?"),
        (("models", "show", "tny"), "did you mean tiny?"),
    ],
)
def test_misspelt_words_exit_2_with_a_suggestion(clue, arguments: tuple[str, ...], expected: str) -> None:
    outcome = clue(*arguments)
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith("error: ")
    assert expected in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert outcome.stdout == ""


def single_valued(command: click.Command, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], str]]:
    """Return (command's words, option) of every option that takes one value."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        names = command.list_commands(context)
        inner = [(command.get_command(context, name), name) for name in names]
        return [pair for found, name in inner if found for pair in single_valued(found, (*path, name))]
    options = [one for one in command.params if isinstance(one, click.Option)]
    return [(path, max(one.opts, key=len)) for one in options if not one.is_flag and not one.multiple]


def test_one_value_given_twice_is_refused_by_every_command(clue) -> None:
    pairs = single_valued(main.command_folder, ())
    assert len(pairs) > 30
    assert (("train",), "--task") in pairs
    for words, option in pairs:
        outcome = clue(*words, option, "1", option, "2")
        assert outcome.exit_code == 2, (words, option)
        assert f"{option} takes one value and is given twice" in outcome.stderr, (words, option)
        assert f"clue {' '.join(words)} --help" in outcome.stderr


def test_flags_and_repeatable_options_may_stand_twice(clue) -> None:
    assert clue("tasks", "--json", "--json").exit_code == 0
    twice = ("--set", "seed=1", "--set", "train.epochs=1")
    assert clue("config", "show", "--task", "afqmc", *twice).exit_code == 0


def test_a_misspelt_option_is_an_event_too(clue) -> None:
    outcome = clue("tasks", "--json", "--jsn")
    assert outcome.exit_code == 2
    event = json.loads(outcome.stdout)
    assert datetime.fromisoformat(event.pop("time")).tzinfo is not None
    assert event == {
        "event": "error",
        "schema": 2,
        "ok": False,
        "exit_code": 2,
        "message": outcome.stderr.removeprefix("error: ").rstrip("\n"),
    }


def test_user_mistakes_show_no_traceback_without_debug(clue, broken) -> None:
    broken(CheckpointError("no weights", next_step="get some"))
    plain = clue("cache")
    assert (plain.exit_code, plain.stderr) == (4, "error: no weights\n  next: get some\n")
    for arguments in (("--debug", "cache"), ("cache", "--debug")):
        debug = clue(*arguments)
        assert debug.exit_code == 4
        assert "Traceback" in debug.stderr
    machine = clue("cache", "--json")
    assert json.loads(machine.stdout)["exit_code"] == 4


@pytest.mark.parametrize(
    ("error", "exit_code", "expected"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/full/disk"),
            8,
            "/full/disk: no space left on device",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/locked"), 8, "/locked: permission denied"),
        (MemoryError(), 7, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("division by zero"), 1, "ZeroDivisionError: division by zero"),
        (OSError(errno.EIO, "I/O error"), 8, "i/o error"),
        (OSError(errno.EINVAL, "Invalid argument"), 1, "please report it"),
    ],
)
def test_other_failures(clue, broken, error: BaseException, exit_code: int, expected: str) -> None:
    broken(error)
    outcome = clue("cache")
    assert outcome.exit_code == exit_code
    assert expected in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_our_bugs_leave_a_log(clue, broken, clue_home: Path) -> None:
    broken(ZeroDivisionError("division by zero"))
    outcome = clue("cache")
    (log,) = (clue_home / "logs").iterdir()
    assert str(log) in outcome.stderr
    assert "Traceback" in log.read_text(encoding="utf-8")


def test_quiet_may_stand_anywhere(clue) -> None:
    loud = clue("models").stdout
    assert "clue models show NAME" in loud
    for arguments in (("--quiet", "models"), ("models", "--quiet")):
        assert "clue models show NAME" not in clue(*arguments).stdout


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    command = f'"{sys.executable}" -m clue_runner config schema | head -1'
    done = subprocess.run(command, shell=True, capture_output=True, encoding="utf-8", check=True)
    assert (done.stdout, done.stderr) == ("{\n", "")


# ---------------------------------------------------------------------------- the environment

LONG = "长" * 100  # 300 bytes, and a name may have 255
PATHS = ["~nosuchuser/x", LONG, "\udcff\udcfe", "\udcc4\udce3"]


@pytest.mark.parametrize("path", PATHS, ids=["no user", "long", "no text", "gbk"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "--task", "afqmc", "--dry-run", "--data"),
        ("train", "--task", "afqmc", "--data", "sample", "--dry-run", "--model"),
        ("train", "--task", "afqmc", "--data", "sample", "--dry-run", "--config"),
        ("train", "--data", "sample", "--dry-run", "--task"),
        ("predict", "--run"),
        ("ask", "--question", "x", "--run"),
        ("evaluate", "--task", "afqmc", "--predictions"),
        ("submit", "check"),
        ("config", "check"),
        ("config", "show", "--model"),
        ("data", "get", "afqmc", "--from"),
        ("data", "convert", "afqmc", "--output", "z", "--from"),
    ],
    ids=" ".join,
)
def test_a_path_of_any_bytes_is_the_users(
    clue, arguments: tuple[str, ...], path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = clue(*arguments, path)
    assert outcome.exit_code in {2, 3}
    assert "this is a bug" not in outcome.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "clue-home"]


@pytest.mark.parametrize(
    "arguments", [("cache",), ("train", "--task", "afqmc"), ("data", "get", "afqmc"), ("config", "show")]
)
def test_without_a_home_it_says_so(clue, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    def unknown(user: object) -> None:
        raise KeyError(user)

    for name in ("CLUE_HOME", "HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    outcome = clue(*arguments)
    if arguments == ("config", "show"):
        assert outcome.exit_code == 0  # needs none
    else:
        assert outcome.exit_code == 2
        assert "CLUE_HOME=" in outcome.stderr


def test_the_report_of_a_bug_cannot_fail(clue, broken, monkeypatch: pytest.MonkeyPatch) -> None:
    """No home, a command line of undecodable bytes, an exception that cannot be printed."""
    monkeypatch.setenv("CLUE_HOME", "~nosuchuser/x")
    monkeypatch.setattr(sys, "argv", ["clue", "cache", "\udcff"])
    broken(ZeroDivisionError("division by \udcff"))
    outcome = clue("cache")
    assert outcome.exit_code == 1
    assert "the traceback above" in outcome.stderr


def test_the_log_of_a_bug_takes_any_bytes(
    clue, broken, clue_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["clue", "cache", "\udcff"])
    broken(ZeroDivisionError("division by zero"))
    clue("cache")
    (log,) = (clue_home / "logs").iterdir()
    assert log.read_text(encoding="utf-8").startswith("clue cache \\udcff\n")


def test_a_folder_that_is_gone_is_the_environments(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    code = (
        "import os, sys\n"
        f"os.rmdir({str(tmp_path / 'gone')!r})\n"
        "from clue_runner.cli.main import main\n"
        "main(['train', '--task', 'afqmc', '--data', 'sample', '--model', 'test'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "gone",
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 8
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr
