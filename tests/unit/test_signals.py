from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from clue_runner.console.signals import Signals
from clue_runner.errors import InterruptedRunError


def wait_for(condition: object, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_is_only_noted_and_the_second_leaves(number: int, code: int) -> None:
    said: list[str] = []
    left: list[int] = []
    with Signals(said.append, left.append) as signals:
        signals.defer()
        signals.check()
        os.kill(os.getpid(), number)
        wait_for(lambda: signals.requested)
        assert signals.requested == number
        with pytest.raises(InterruptedRunError, match="same command again") as caught:
            signals.check()
        assert caught.value.exit_code == code
        assert left == []
        os.kill(os.getpid(), number)
        wait_for(lambda: left)
        assert left == [code]
    assert len(said) == 2


def test_before_anything_is_worth_saving_it_leaves_at_once() -> None:
    left: list[int] = []
    with Signals(lambda text: None, left.append) as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: left)
        assert signals.requested is None
    assert left == [143]


def test_old_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Signals(lambda text: None):
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert signal.set_wakeup_fd(-1) == -1
    assert all(thread.name != "signals" for thread in threading.enumerate())


def test_outside_the_main_thread_nothing_is_installed() -> None:
    found: list[bool] = []

    def enter() -> None:
        with Signals(lambda text: None) as signals:
            signals.defer()
            found.append(signals.requested is None)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [True]
    assert signal.getsignal(signal.SIGTERM) == before


BUSY = """
import hashlib
from clue_runner.console.signals import Signals
with Signals(lambda text: None):
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # like a compilation: minutes in C, the lock released
"""


def test_it_leaves_even_while_c_code_runs() -> None:
    process = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 143
    assert time.monotonic() - started < 7


def test_a_signal_that_the_parent_had_ignored_stays_ignored() -> None:
    old = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Signals(lambda text: None) as signals:
            signals.defer()
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
            assert signals.requested is None
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, old)


def nobody(text: str) -> None:
    raise BrokenPipeError


def ends_the_thread(text: str) -> None:
    raise SystemExit(141)


def never_returns(text: str) -> None:
    threading.Event().wait()


@pytest.mark.parametrize("say", [nobody, ends_the_thread, never_returns])
def test_a_signal_is_obeyed_though_nobody_listens(say: Callable[[str], None]) -> None:
    left: list[int] = []
    with Signals(say, left.append) as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: left)  # in start-up: at once
        signals.defer()
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: signals.requested)
        os.kill(os.getpid(), signal.SIGINT)  # the watcher is still there
        wait_for(lambda: len(left) == 2)
    assert left == [143, 130]


def test_the_last_words_are_said_before_it_leaves() -> None:
    order: list[str] = []
    with Signals(nobody, lambda code: order.append(str(code)), order.append):
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: len(order) == 2)
    assert order == ["stopped before anything was trained", "143"]
