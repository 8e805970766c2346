"""Downloads from a server on this machine that cuts, lies, answers with web pages, or behaves."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from clue_runner.data import download, mirror
from clue_runner.data.at_hand import data_folder
from clue_runner.data.cards import Card
from clue_runner.data.download import fetch, hash_warning, install
from clue_runner.errors import DataError, StorageError

MakeCard = Callable[..., Card]
FILE = "pairs_public.zip"


class Server:
    """Answers by path: (status, body, announced length); counts the requests."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes, int]] = {}
        self.requests: list[str] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.requests.append(self.path)
                status, body, length = owner.answers[self.path]
                self.send_response(status)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def url(self, path: str, body: bytes, status: int = 200, length: int | None = None) -> str:
        self.answers[path] = (status, body, len(body) if length is None else length)
        return f"http://127.0.0.1:{self.http.server_port}{path}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "CLUE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "RETRY_SECONDS", 0.0)
    one = Server()
    yield one
    one.http.shutdown()
    one.http.server_close()


@pytest.fixture
def good_zip(archive: Callable[..., Path], good: dict[str, bytes]) -> bytes:
    return archive(good).read_bytes()


def md5(raw: bytes) -> str:
    return "md5:" + hashlib.md5(raw).hexdigest()


def card_from(make_card: MakeCard, urls: list[str], hashes: list[str] | None = None) -> Card:
    return make_card(download={"file": FILE, "urls": urls, "hashes": hashes or []})


def files_in(card: Card) -> list[str]:
    return sorted(path.name for path in data_folder(card).iterdir())


def test_a_good_zip_gets_its_name(
    server: Server, clue_home: Path, make_card: MakeCard, good_zip: bytes
) -> None:
    seen: list[tuple[int, int | None]] = []
    card = card_from(make_card, [server.url("/good", good_zip)], [md5(good_zip)])
    path = fetch(card, on_progress=lambda done, total: seen.append((done, total)))
    assert path == clue_home / "data" / "pairs" / FILE and path.read_bytes() == good_zip
    assert files_in(card) == [FILE] and hash_warning(card, path) is None
    assert seen and seen[0][1] == len(good_zip)


def test_mirrors_are_tried_in_order(
    server: Server, clue_home: Path, make_card: MakeCard, good_zip: bytes
) -> None:
    urls = [
        server.url("/gone", b"", status=404),
        server.url("/page", b"<html>sign in</html>"),
        server.url("/good", good_zip),
    ]
    card = card_from(make_card, urls, [md5(good_zip)])
    assert fetch(card).read_bytes() == good_zip
    assert server.requests == [
        "/gone",
        "/page",
        "/page",
        "/good",
    ]  # a refusal is final, a bad file is tried again


def test_what_is_not_the_official_zip_never_gets_its_name(
    server: Server,
    clue_home: Path,
    make_card: MakeCard,
    good_zip: bytes,
    archive: Callable[..., Path],
    good: dict[str, bytes],
) -> None:
    too_few = archive(good | {"train.json": good["train.json"].split(b"\n")[0]}, "few.zip").read_bytes()
    no_test = archive({name: good[name] for name in ("train.json", "dev.json")}, "no_test.zip").read_bytes()
    bodies = {
        "/short": (good_zip[: len(good_zip) // 2], 200, len(good_zip)),
        "/cut": (good_zip[: len(good_zip) // 2], 200, None),
        "/page": (b"<!doctype html><p>captcha", 200, None),
        "/busy": (b"", 503, None),
        "/few": (too_few, 200, None),
        "/no_test": (no_test, 200, None),
    }
    urls = [server.url(path, body, status, length) for path, (body, status, length) in bodies.items()]
    card = card_from(make_card, urls, ["sha256:" + "0" * 64])
    with pytest.raises(DataError) as caught:
        fetch(card)
    assert caught.value.exit_code == 3 and files_in(card) == []
    found = [str(problem).split(": ", 1)[1] for problem in caught.value.problems]
    assert found[0] == "the transfer broke off"
    assert found[1].startswith("the zip is damaged or truncated")
    assert found[2] == "not a zip, got a web page, as a server sends instead of a file"
    assert found[3] == "the server refused, got status 503"
    assert found[4] == "unknown hash, and train has the wrong number of records, got 1"
    assert found[5].startswith("unknown hash, and the zip has no test.json")
    assert [server.requests.count(path) for path in bodies] == [2] * 6
    assert "--data PATH" in str(caught.value)


def test_an_unknown_hash_with_the_right_records_is_a_warning(
    server: Server, clue_home: Path, make_card: MakeCard, good_zip: bytes
) -> None:
    card = card_from(make_card, [server.url("/good", good_zip)], ["md5:" + "0" * 32])
    path = fetch(card)
    assert path.read_bytes() == good_zip
    assert "the hash of pairs_public.zip is not in the card" in str(hash_warning(card, path))


def test_a_server_that_is_not_there_is_tried_once(clue_home: Path, make_card: MakeCard) -> None:
    card = card_from(make_card, ["http://127.0.0.1:9/x.zip", "not an address"])
    with pytest.raises(DataError) as caught:
        fetch(card)
    assert [problem.what for problem in caught.value.problems] == ["no connection", "no connection"]


def test_a_server_that_takes_no_connection_is_given_up(
    clue_home: Path, make_card: MakeCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "CONNECT_SECONDS", 0.4)
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # fill the queue of connections that nobody takes, so that the next one hangs
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        started = time.monotonic()
        with pytest.raises(DataError) as caught:
            fetch(card_from(make_card, [f"http://127.0.0.1:{listener.getsockname()[1]}/x.zip"]))
    assert [problem.what for problem in caught.value.problems] == ["no connection within 0.4 seconds"]
    assert time.monotonic() - started < 2


def test_a_name_that_is_never_resolved_is_given_up(
    clue_home: Path, make_card: MakeCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3) or [])
    started = time.monotonic()
    with pytest.raises(DataError, match="no connection within 0.3 seconds"):
        fetch(card_from(make_card, ["http://mirror.invalid/x.zip"]))
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nPK"])
def test_a_silent_server_is_given_up_and_the_next_one_asked(
    sent: bytes,
    server: Server,
    clue_home: Path,
    make_card: MakeCard,
    good_zip: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mirror, "STALL_SECONDS", 0.3)
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent, ExitStack() as stack:

        def answer() -> None:
            while True:
                try:
                    connection, _ = silent.accept()
                except OSError:
                    return
                stack.callback(connection.close)
                connection.sendall(sent)

        threading.Thread(target=answer, daemon=True).start()
        urls = [f"http://127.0.0.1:{silent.getsockname()[1]}/x.zip", server.url("/good", good_zip)]
        started = time.monotonic()
        assert fetch(card_from(make_card, urls, [md5(good_zip)]), say=said.append).read_bytes() == good_zip
        assert time.monotonic() - started < 2  # once: who is silent now will be silent again
    assert said[0].startswith("waiting for 127.0.0.1 (mirror 1 of 2; given up after 10 s to connect or 0.3 s")
    assert "no data for 0.3 seconds" in said[1] and said[2].startswith("waiting for 127.0.0.1 (mirror 2 of 2")


def test_the_limits_are_those_that_are_said() -> None:
    assert (mirror.CONNECT_SECONDS, mirror.STALL_SECONDS) == (10.0, 30.0)


def test_an_endless_download_is_stopped(
    server: Server, clue_home: Path, make_card: MakeCard, good_zip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "MAX_BYTES", 100)
    with pytest.raises(DataError, match="far larger than any official zip"):
        fetch(card_from(make_card, [server.url("/good", good_zip)]))


@pytest.mark.parametrize("by_variable", [True, False])
def test_offline_never_connects(
    by_variable: bool, server: Server, clue_home: Path, make_card: MakeCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = card_from(make_card, [server.url("/good", b"")])
    if by_variable:
        monkeypatch.setenv("CLUE_OFFLINE", "1")
    with pytest.raises(DataError, match="downloads are disabled"):
        fetch(card, offline=None if by_variable else True)
    assert server.requests == []


def test_an_interrupt_leaves_no_part_behind(
    server: Server, clue_home: Path, make_card: MakeCard, good_zip: bytes
) -> None:
    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    card = card_from(make_card, [server.url("/good", good_zip)])
    with pytest.raises(KeyboardInterrupt):
        fetch(card, on_progress=interrupt)
    assert files_in(card) == []


def test_install_copies_a_zip_and_refuses_a_damaged_one(
    clue_home: Path, make_card: MakeCard, archive: Callable[..., Path], good: dict[str, bytes]
) -> None:
    card = card_from(make_card, [])
    path = archive(good, "renamed.zip")
    assert install(card, path).name == FILE and path.exists()
    assert install(card, path.rename(path.with_name(FILE)).parent).name == FILE
    broken = archive(good)
    broken.write_bytes(broken.read_bytes()[:-40])
    with pytest.raises(DataError, match="damaged"):
        install(card, broken)
    assert files_in(card) == [FILE]


def test_install_of_plain_files_says_how_to_use_them(
    clue_home: Path, make_card: MakeCard, folder: Callable[..., Path], good: dict[str, bytes]
) -> None:
    with pytest.raises(DataError, match="not a zip") as caught:
        install(card_from(make_card, []), folder(good))
    assert "--data" in str(caught.value)


def test_a_home_that_takes_no_file_is_a_storage_error(
    tmp_path: Path, make_card: MakeCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("CLUE_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="CLUE_HOME") as caught:
        fetch(card_from(make_card, ["http://127.0.0.1:9/x.zip"]), offline=False)
    assert caught.value.exit_code == 8
