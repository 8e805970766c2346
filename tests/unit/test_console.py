"""The console: streams, events, plain lines, a bar on a terminal, broken pipes."""

import errno
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from clue_runner.console import Console, duration, file_size, json_line
from clue_runner.console import progress as progress_module
from clue_runner.console.progress import LiveProgress
from clue_runner.console.text import bar_line, display_width
from clue_runner.errors import DataError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "CI", "TERM"):
        monkeypatch.delenv(name, raising=False)


def test_human_text_and_events_keep_apart(capsys: pytest.CaptureFixture[str]) -> None:
    plain = Console()
    plain.say("你好")
    plain.event({"event": "step"})
    plain.warn("careful")
    assert capsys.readouterr() == ("你好\n", "warning: careful\n")
    machine = Console(json=True)
    machine.say("你好")
    machine.result("text")
    machine.event({"event": "step", "loss": float("nan"), "text": "中\u2028文", "path": Path("a/b")})
    machine.warn("careful")
    machine.error(DataError("broken", where="f:3"))
    out, err = capsys.readouterr()
    assert err == "你好\ntext\nwarning: careful\nerror: f:3: broken\n"
    events = [json.loads(line) for line in out.split("\n")[:-1]]
    assert all(
        re.fullmatch(r"2\d{3}-\d\d-\d\dT[\d:]{8}\.\d{3}\+00:00", event.pop("time")) for event in events
    )
    assert events == [
        {"event": "step", "loss": None, "text": "中\u2028文", "path": "a/b"},
        {"event": "warning", "schema": 2, "message": "careful"},
        {"event": "error", "schema": 2, "ok": False, "exit_code": 3, "message": "f:3: broken"},
    ]
    assert '"text":"中' in out


def test_quiet_says_warnings_errors_and_results(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = Console(quiet=True)
    quiet.say("no")
    quiet.result("asked for")
    quiet.warn("careful")
    with quiet.progress(10, "train") as progress:
        progress.update(5)
    assert capsys.readouterr() == ("asked for\n", "warning: careful\n")


def test_json_line_takes_numpy_and_refuses_objects() -> None:
    import numpy as np

    assert json_line({"a": np.float32(0.5), "b": np.int64(3), "c": (1, [np.nan, np.inf]), 1: True}) == (
        '{"a":0.5,"b":3,"c":[1,[null,null]],"1":true}'
    )
    with pytest.raises(TypeError, match="cannot hold a object"):
        json_line({"a": object()})


def test_long_lines_are_not_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    Console().say("长" * 3000)
    assert capsys.readouterr().out == "长" * 3000 + "\n"


def test_tables_align_chinese_and_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    Console().table(["task", "rows", "here"], [["中文", 34334, True], ["x", None, False]])
    assert capsys.readouterr().out.split("\n") == [
        "task    rows  here",
        "中文  34,334  yes",
        "x          –  no",
        "",
    ]


def test_colour_only_on_a_terminal_that_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def warned() -> str:
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        Console().warn("x")
        return stream.getvalue()

    assert warned() == "\x1b[33mwarning\x1b[0m: x\n"
    for name, value in (("NO_COLOR", "1"), ("CI", "true"), ("TERM", "dumb")):
        monkeypatch.setenv(name, value)
        assert warned() == "warning: x\n"
        monkeypatch.delenv(name)


def test_plain_progress_prints_a_line_every_ten_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    with Console().progress(1073, "train") as progress:
        for done in range(450):
            progress.update(done, loss=0.55123, best=None)
            now[0] += 0.1
    lines = capsys.readouterr().out.split("\n")[:-1]
    assert len(lines) == 4
    assert lines[0] == "train  101/1,073  loss 0.5512  1 min 37 s left"


def test_live_bar_keeps_lines_above_it_and_events_off_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    machine = Console(json=True)
    with machine.progress(10, "train") as progress:
        progress.update(4, loss=0.5)
        machine.event({"event": "step", "step": 4})
        machine.say("[bold] is not markup " + "x" * 300)
        progress.update(10)
    assert capsys.readouterr().out.startswith('{"event":"step","step":4,"time":"')
    shown = terminal.getvalue()
    assert "[bold] is not markup " + "x" * 300 in shown
    assert "10/10" in shown  # the last frame is always drawn


def test_unprintable_text_does_not_fail() -> None:
    code = (
        "from clue_runner.cli.main import _make_streams_safe\n"
        "from clue_runner.console import Console\n"
        "_make_streams_safe()\n"
        "Console().say('中\\udc80')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.stdout.decode("utf-8") == "中\\udc80\n"


def test_a_closed_pipe_ends_quietly() -> None:
    code = (
        "from clue_runner.console import Console\n"
        "console = Console()\n"
        "for number in range(100000): console.say(str(number))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == b"0\n"
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 141


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (48, "48 s"), (185, "3 min 05 s"), (21000, "5 h 50 min")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1200, "1.2 kB"), (25.3e9, "25.3 GB"), (2e15, "2000.0 TB")]
)
def test_file_size(size: float, text: str) -> None:
    assert file_size(size) == text


BROKEN = [BrokenPipeError(errno.EPIPE, "Broken pipe"), OSError(errno.EIO, "I/O error"), ValueError("closed")]


class Broken(io.StringIO):
    """A stream that nobody reads any more."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [None, *map(Broken, BROKEN)], ids=["none", "pipe", "terminal", "closed"])
def test_without_a_listener_on_stderr_everything_goes_on(
    stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    for machine in (Console(json=True), Console()):
        machine.warn("careful")
        machine.failure("wrong", exit_code=2)
        with machine.progress(10, "train") as progress:
            progress.update(5)
    machine.say("still here")
    assert capsys.readouterr().out.endswith("still here\n")


@pytest.mark.parametrize("stream", [None, Broken(BROKEN[1]), Broken(BROKEN[2])], ids=["none", "dead", "shut"])
def test_without_stdout_everything_goes_on(
    stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", stream)
    for console in (Console(json=True), Console()):
        console.say("text")
        console.result("text")
        console.table(["a"], [[1]])
        console.event({"event": "step"})
        with console.progress(10, "train") as progress:
            progress.update(5)
        console.failure("wrong", exit_code=2)
    assert capsys.readouterr().err.count("error: wrong") == 2


def test_a_failure_is_reported_though_the_reader_of_stdout_has_gone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", Broken(BROKEN[0]))
    Console(json=True).failure("wrong", exit_code=2)  # no SystemExit(141) in the place of exit code 2
    assert capsys.readouterr().err == "error: wrong\n"


def test_a_full_disk_under_stdout_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Broken(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        Console().say("text")


FIELDS = ["loss 0.5512", "epoch 1/3", "best 71.20", "rows/s 120.5"]


@pytest.mark.parametrize("width", [20, 34, 40, 60, 80, 120, 200])
def test_count_and_time_left_stay_and_the_rest_goes_first(width: int) -> None:
    line = bar_line(width, "training", 120, 1073, 725.0, FIELDS)
    assert display_width(line) <= width
    if width >= 34:
        assert "120/1,073" in line
        assert "12 min 05 s left" in line
    assert ("loss" in line) == (width >= 60)
    assert ("rows/s" in line) == (width >= 120)
    assert ("#" in line) == (width >= 120)


def test_columns_stand_still_while_numbers_grow() -> None:
    progress = LiveProgress("training", 1073, 0)
    lines = []
    for done, left, loss in ((1, 4000.0, 10.5), (99, 65.0, 0.5), (1000, 5.0, 0.25), (1073, 0.0, 0.125)):
        progress.update(done, left=left, loss=loss, best="71.20")
        lines.append(progress.line(100))
    assert {line.index("/1,073") for line in lines} == {lines[0].index("/1,073")}
    assert {line.index("left") for line in lines} == {lines[0].index("left")}
    assert {line.index("best") for line in lines} == {lines[0].index("best")}


def test_a_bar_that_goes_on_begins_where_the_work_does(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    progress = LiveProgress("training", 1000, 900)
    assert "900/1,000" in progress.line(80)
    now[0] += 10
    progress.update(910)
    assert "1 min 30 s left" in progress.line(80)  # 90 at one a second, not at 91 a second


def test_last_words_stand_on_a_line_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    console = Console()
    with console.progress(10, "train") as progress:
        progress.update(4)
        console.last_words("stopped at once")
        shown = terminal.getvalue()
    assert shown.endswith("warning\x1b[0m: stopped at once\n")
    assert "\x1b[?25h" in shown  # the cursor is there again
