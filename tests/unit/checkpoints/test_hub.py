"""Models by their names on the hub, from a server on this machine: cut, resumed, wrong, moved on, gone."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clue_runner.checkpoints.hub.fetch import fetch, needed_files
from clue_runner.checkpoints.hub.pins import parse_name
from clue_runner.checkpoints.importer import read_checkpoint, read_settings
from clue_runner.checkpoints.load import load_into
from clue_runner.errors import CheckpointError

pytest.importorskip("huggingface_hub")
NAME = "hf:someone/bert"


class Hub:
    """Serves one repository as huggingface.co does: a listing, and files by commit with ranges."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.announced: dict[str, str] = {}  # file -> sha256 other than its own
        self.cut: dict[str, int] = {}  # file -> bytes after which the next transfer breaks off
        self.commit = "a" * 40
        self.requests: list[tuple[str, str, str | None]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                owner.answer(self, body=False)

            def do_GET(self) -> None:
                owner.answer(self, body=True)

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def sha256(self, file: str) -> str:
        return hashlib.sha256(self.files[file]).hexdigest()

    def answer(self, handler: Any, *, body: bool) -> None:
        self.requests.append((handler.command, handler.path, handler.headers.get("Range")))
        found = re.fullmatch(r"/someone/bert/resolve/([^/]+)/(.+)", handler.path)
        if handler.path.startswith("/api/models/someone/bert/revision/"):
            self.send(
                handler, json.dumps(self.listing()).encode(), {"Content-Type": "application/json"}, body
            )
        elif found and found[1] == self.commit and found[2] in self.files:
            self.send_file(handler, found[2], body)
        else:
            handler.send_response(404)
            handler.send_header("X-Error-Code", "EntryNotFound" if found else "RepoNotFound")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

    def listing(self) -> dict[str, Any]:
        siblings = [
            {
                "rfilename": name,
                "size": len(raw),
                "blobId": "0" * 40,
                "lfs": {
                    "sha256": self.announced.get(name, self.sha256(name)),
                    "size": len(raw),
                    "pointerSize": 1,
                }
                if name.endswith((".safetensors", ".bin"))
                else None,
            }
            for name, raw in self.files.items()
        ]
        return {"id": "someone/bert", "sha": self.commit, "siblings": siblings}

    def send_file(self, handler: Any, name: str, body: bool) -> None:
        raw, asked = self.files[name], handler.headers.get("Range")
        start = int(re.findall(r"bytes=(\d+)-", asked)[0]) if asked else 0
        head = {"ETag": f'"{self.sha256(name)}"', "X-Repo-Commit": self.commit, "Accept-Ranges": "bytes"}
        if asked:
            head["Content-Range"] = f"bytes {start}-{len(raw) - 1}/{len(raw)}"
        limit = self.cut.pop(name, None) if body else None
        self.send(handler, raw[start:], head, body, status=206 if asked else 200, limit=limit)

    def send(self, handler: Any, raw: bytes, head: dict, body: bool, *, status=200, limit=None) -> None:
        handler.send_response(status)
        for key, value in {**head, "Content-Length": str(len(raw))}.items():
            handler.send_header(key, value)
        handler.end_headers()
        if body:
            handler.wfile.write(raw[:limit])
            if limit is not None:
                handler.close_connection = True

    def fetched(self, method: str = "GET") -> list[str]:
        return [
            path.rpartition("/")[2] for done, path, _ in self.requests if done == method and "resolve" in path
        ]


@pytest.fixture
def hub(folders: Any, tmp_path: Path, clue_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "HF_TOKEN", "HF_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    one = Hub()
    monkeypatch.setenv("HF_ENDPOINT", one.url)
    folder = folders.write_face(tmp_path / "published")
    one.files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    one.files |= {
        "README.md": b"x",
        "tf_model.h5": b"never",
        "flax_model.msgpack": b"never",
        "onnx/model.onnx": b"n",
    }
    yield one
    one.http.shutdown()
    one.http.server_close()


NEEDED = ["config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"]


def test_only_what_is_needed_is_fetched_and_pinned(folders: Any, hub: Hub, clue_home: Path) -> None:
    checkpoint = read_checkpoint(NAME)
    for name, value in folders.our_weights().items():
        np.testing.assert_array_equal(checkpoint.weights[name], value)
    assert sorted(hub.fetched()) == NEEDED
    pin = json.loads((clue_home / "models/pins/someone--bert@main.json").read_text(encoding="utf-8"))
    assert pin["commit"] == hub.commit
    assert pin["files"] == {name: hub.sha256(name) for name in NEEDED} == checkpoint.hashes
    assert any(hub.commit[:12] in notice for notice in checkpoint.notices)


def test_a_run_names_it_as_the_user_did(hub: Hub, clue: Any) -> None:
    outcome = clue(
        "config", "show", "--task", "afqmc", "--model", f"{NAME}@{hub.commit}", "--set", "data.max_length=16"
    )
    assert outcome.exit_code == 0, outcome.stderr
    for line in ("name: bert ", f"{NAME}@{hub.commit}", "num_layers: 2"):
        assert line in outcome.stdout


def test_offline_once_cached(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read_checkpoint(NAME).sha256
    hub.http.shutdown()
    hub.requests.clear()
    monkeypatch.setattr("socket.socket.connect", None)
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    assert read_checkpoint(NAME).sha256 == first
    assert read_settings(NAME)["num_layers"] == 2
    assert hub.requests == []


def test_a_broken_transfer_is_resumed(folders: Any, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 4096)
    hub.cut["model.safetensors"] = 20_000
    checkpoint = read_checkpoint(NAME)
    word = "backbone/embeddings/word"
    np.testing.assert_array_equal(checkpoint.weights[word], folders.our_weights()[word])
    ranges = [asked for method, path, asked in hub.requests if method == "GET" and "safetensors" in path]
    assert ranges == [None, f"bytes={20_000 // 4096 * 4096}-"]


def test_a_file_other_than_announced_is_refused_and_not_pinned(hub: Hub, clue_home: Path) -> None:
    hub.announced["model.safetensors"] = "0" * 64
    with pytest.raises(CheckpointError, match="not the file announced by the hub") as caught:
        read_checkpoint(NAME)
    assert caught.value.exit_code == 4 and hub.sha256("model.safetensors") in str(caught.value)
    assert hub.fetched().count("model.safetensors") == 2  # once more, in case the transfer was at fault
    assert not (clue_home / "models/pins").exists()
    hub.announced.clear()
    assert read_checkpoint(NAME).sha256


def test_a_branch_that_moves_on_changes_nothing_until_it_is_asked_for(
    folders: Any, hub: Hub, tmp_path: Path
) -> None:
    first = read_checkpoint(NAME).sha256
    other = folders.write_face(tmp_path / "other", {n: v + 1 for n, v in folders.face_weights().items()})
    hub.files["model.safetensors"] = (other / "model.safetensors").read_bytes()
    hub.commit = "b" * 40
    assert read_checkpoint(NAME).sha256 == first
    assert fetch(parse_name(NAME), update=True).commit == "b" * 40
    assert read_checkpoint(NAME).sha256 != first
    assert read_checkpoint(f"{NAME}@{'b' * 40}").sha256 == read_checkpoint(NAME).sha256


def test_a_damaged_or_replaced_cache_is_noticed(folders: Any, hub: Hub) -> None:
    folder = fetch(parse_name(NAME)).folder
    weights, config = (folder / name for name in ("model.safetensors", "config.json"))
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.resolve().write_bytes(bytes(raw))
    with pytest.raises(CheckpointError, match="changed since they were first downloaded"):
        _ = read_checkpoint(NAME).sha256
    with pytest.raises(CheckpointError, match="changed since they were first downloaded"):
        load_into({name: Slot(v.shape) for name, v in folders.our_weights().items()}, read_checkpoint(NAME))
    shutil.rmtree(folder.parents[1])  # as the message advises
    assert read_checkpoint(NAME).sha256
    config.resolve().write_bytes(config.read_bytes() + b" ")
    with pytest.raises(CheckpointError, match=r"config.json: this is not the pinned file"):
        read_settings(NAME)


def test_a_cache_that_is_gone_is_fetched_again_as_pinned(hub: Hub) -> None:
    folder = fetch(parse_name(NAME)).folder
    shutil.rmtree(folder.parents[1])
    assert fetch(parse_name(NAME)).folder == folder
    shutil.rmtree(folder.parents[1])
    hub.files["vocab.txt"] += b"x\n"  # replaced under the same commit: only a liar can
    with pytest.raises(CheckpointError, match=r"vocab.txt: this is not the pinned file"):
        fetch(parse_name(NAME))


def test_shards_and_pickles_are_chosen_as_in_a_folder(folders: Any, hub: Hub) -> None:
    tensors, names = folders.face_weights(), sorted(folders.face_weights())
    from safetensors.numpy import save

    del hub.files["model.safetensors"]
    home = {name: f"model-{1 + (name > names[9])}.safetensors" for name in names}
    for shard in sorted(set(home.values())):
        hub.files[shard] = save({n: np.ascontiguousarray(tensors[n]) for n in names if home[n] == shard})
    hub.files["model.safetensors.index.json"] = json.dumps({"weight_map": home}).encode()
    hub.files["pytorch_model.bin"] = b"never"
    assert read_checkpoint(NAME).weights["backbone/embeddings/word"].shape == (40, 32)
    assert {"model-1.safetensors", "model-2.safetensors"} <= set(hub.fetched())
    assert "pytorch_model.bin" not in hub.fetched()


def test_what_other_programs_left_in_the_cache_is_taken_where_the_hub_is_silent(
    hub: Hub, clue_home: Path
) -> None:
    first = read_checkpoint(NAME).sha256
    shutil.rmtree(clue_home / "models")
    hub.http.shutdown()
    hub.http.server_close()
    model = Path(os.environ["HF_HUB_CACHE"]) / "models--someone--bert"
    (model / "refs").mkdir(exist_ok=True)
    (model / "refs/main").write_text(hub.commit, encoding="utf-8")
    assert read_checkpoint(NAME).sha256 == first
    with pytest.raises(CheckpointError, match="cannot be downloaded"):
        read_checkpoint("hf:someone/else")


def test_models_that_are_not_there_or_hold_nothing(hub: Hub) -> None:
    with pytest.raises(CheckpointError, match="cannot be downloaded: RepositoryNotFound"):
        read_checkpoint("hf:nobody/nothing")
    del hub.files["model.safetensors"], hub.files["tf_model.h5"]
    with pytest.raises(CheckpointError, match="no readable config and weights"):
        read_checkpoint(NAME)


@pytest.mark.parametrize(
    "text",
    [
        "hf:",
        "hf:bert",
        "hf:a/b/c",
        "hf:../x",
        "hf:a/..",
        "hf:a/b@",
        "hf:a/b@../x",
        "hf:-a/b",
        "hf:a/b c",
        "hf:a/b\n",
    ],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(CheckpointError, match="not the name of a model"):
        parse_name(text)


def test_downloads_that_are_off(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUE_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="is not downloaded yet, and downloads are disabled"):
        read_checkpoint(NAME)
    assert hub.requests == []
    monkeypatch.delenv("CLUE_OFFLINE")
    first = read_checkpoint(NAME).sha256
    monkeypatch.setenv("CLUE_OFFLINE", "1")
    assert read_checkpoint(NAME).sha256 == first


def test_a_server_that_says_nothing_is_given_up(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connections are taken and never answered
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr("clue_runner.checkpoints.hub.fetch.PATIENCE", 0.2)
        with pytest.raises(CheckpointError, match="cannot be downloaded"):
            read_checkpoint(NAME)


def test_without_the_library_the_extra_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=re.escape("clue-runner[hub]")):
        read_checkpoint(NAME)


def test_files_that_are_needed() -> None:
    google = ["bert_config.json", "bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001", "vocab.txt"]
    assert sorted(needed_files([*google, "bert_model.ckpt.meta"])) == sorted(google)
    assert needed_files(["a.pt", "b.pt", "config.json"]) == []
    assert needed_files(["model.safetensors", "vocab.txt"]) == []


def test_a_preset_is_fetched_into_its_place(hub: Hub, clue: Any, clue_home: Path, monkeypatch: Any) -> None:
    serve = hub.answer

    def renamed(request: Any, *, body: bool) -> None:
        for preset in ("hfl/chinese-macbert-base", "google-bert/bert-base-chinese"):
            request.path = request.path.replace(preset, "someone/bert")
        serve(request, body=body)

    monkeypatch.setattr(hub, "answer", renamed)
    outcome = clue("models", "get", "macbert-base", "--json")
    assert outcome.exit_code == 0, outcome.stderr
    result = json.loads(outcome.stdout.splitlines()[-1])
    assert result["model"] == "hf:hfl/chinese-macbert-base" and sorted(result["files"]) == NEEDED
    assert read_checkpoint(clue_home / "models/macbert-base").sha256
    assert clue("models", "get", "macbert-base", "--update").exit_code == 0
    refused = clue("models", "get", "tiny")
    assert refused.exit_code == 2 and "not published on the hub" in refused.stderr
    (clue_home / "models/bert-base").mkdir()
    taken = clue("models", "get", "bert-base")
    assert taken.exit_code == 4 and "of your own" in taken.stderr


class Slot:
    dtype = "float32"

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def assign(self, value: np.ndarray) -> None:
        raise AssertionError("nothing is assigned")
