"""``pytorch_model.bin`` and ``.pt``: read as PyTorch reads them, and nothing that they carry is ever run."""

from __future__ import annotations

import gzip
import hashlib
import json
import pickle
import random
import shutil
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from support import torch_files as make

from clue_runner.checkpoints.formats.shards import shard_files
from clue_runner.checkpoints.formats.torch_files.reader import TorchReader
from clue_runner.checkpoints.importer import read_checkpoint
from clue_runner.errors import ClueError

GOLDENS = Path(__file__).parents[2] / "goldens" / "torch"


def face_folder(
    folders: Any, folder: Path, write: Any = make.write_archive, name="pytorch_model.bin"
) -> Path:
    """The fixtures' weights in PyTorch's format."""
    folders.write_face(folder)
    (folder / "model.safetensors").unlink()
    value, storages = make.state(
        {name: np.ascontiguousarray(array) for name, array in folders.face_weights().items()}
    )
    write(folder / name, value, storages)
    return folder


def refused(path: Path, *parts: str, code: int = 4) -> str:
    with pytest.raises(ClueError) as caught:
        TorchReader(path)
    message = str(caught.value)
    assert caught.value.exit_code == code, message
    for part in (str(path), *parts):
        assert part in message
    return message


# --- what PyTorch itself wrote (scripts/make_torch_goldens.py) ---------------------------------------


@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("name", ["zip.bin", "stream.bin"])
def test_every_kind_of_view_is_read(name: str, hashed: bool) -> None:
    reader = TorchReader(GOLDENS / name)
    if hashed:
        expected = hashlib.sha256((GOLDENS / name).read_bytes()).hexdigest()
        assert reader.digests() == {GOLDENS / name: expected}
    eighths = np.arange(20, dtype=np.float32) / 8
    wanted = {
        "plain": eighths[:6].reshape(2, 3),
        "half": eighths[:4].astype(np.float16),
        "brain": eighths[:4].astype(ml_dtypes.bfloat16),
        "double": eighths[:3].astype(np.float64),
        "whole": np.arange(5),
        "truth": np.array([True, False]),
        "tied": eighths[:12].reshape(3, 4),
        "tied_again": eighths[:12].reshape(3, 4),
        "transposed": eighths[:12].reshape(3, 4).T,
        "part": eighths[5:11].reshape(2, 3),
        "steps": eighths[::4],
        "scalar": np.array(0.5, np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "parameter": eighths[:2],
    }
    assert reader.shapes().keys() == wanted.keys()
    for tensor, value in wanted.items():
        read = reader.read(tensor)
        assert reader.types()[tensor] == read.dtype.name == value.dtype.name
        assert reader.shapes()[tensor] == read.shape == value.shape
        np.testing.assert_array_equal(read, value)


def test_weights_among_other_things_are_found() -> None:
    assert TorchReader(GOLDENS / "nested.bin").shapes() == {"weight": (2, 2), "bias": (2,)}


def test_programs_are_refused() -> None:
    refused(GOLDENS / "program.pt", "a program (TorchScript)", code=5)
    refused(GOLDENS / "module.pt", "carries code", "torch.nn.modules.linear.Linear", code=5)


# --- as a checkpoint ---------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [make.write_archive, make.write_stream])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.pt"])
def test_a_folder_gives_the_weights_of_its_safetensors(folders, tmp_path, write, name) -> None:
    checkpoint = read_checkpoint(face_folder(folders, tmp_path / "x", write, name))
    assert name in checkpoint.hashes
    for ours, value in folders.our_weights().items():
        np.testing.assert_array_equal(checkpoint.weights[ours], value)
    assert read_checkpoint(tmp_path / "x" / name).sha256 == checkpoint.sha256


def test_a_bert_config_describes_it_too_and_safetensors_win(folders, tmp_path) -> None:
    folder = face_folder(folders, tmp_path / "x")
    folders.write_json(folder / "bert_config.json", folders.CONFIG)
    (folder / "config.json").unlink()
    assert read_checkpoint(folder).layout == "huggingface"
    folders.write_face(folder)
    assert "model.safetensors" in read_checkpoint(folder).hashes


def test_several_files_of_weights_are_asked_about(folders, tmp_path) -> None:
    folder = face_folder(folders, tmp_path / "x", name="a.pt")
    shutil.copy(folder / "a.pt", folder / "b.pt")
    with pytest.raises(ClueError, match=r"several files of weights, got a.pt, b.pt"):
        read_checkpoint(folder)
    assert read_checkpoint(folder / "b.pt").hashes.keys() >= {"b.pt"}


def test_shards_and_an_index_that_lies(folders, tmp_path) -> None:
    folder = face_folder(folders, tmp_path / "x")
    tensors = {name: np.ascontiguousarray(value) for name, value in folders.face_weights().items()}
    (folder / "pytorch_model.bin").unlink()
    names = sorted(tensors)
    home = {name: f"pytorch_model-0000{1 + (name > names[20])}-of-00002.bin" for name in names}
    for shard in set(home.values()):
        value, storages = make.state({name: tensors[name] for name in names if home[name] == shard})
        make.write_archive(folder / shard, value, storages)
    index = folder / "pytorch_model.bin.index.json"
    folders.write_json(index, {"weight_map": home})
    checkpoint = read_checkpoint(folder)
    assert set(home.values()) <= checkpoint.hashes.keys()
    np.testing.assert_array_equal(
        checkpoint.weights["backbone/embeddings/word"], folders.our_weights()["backbone/embeddings/word"]
    )
    folders.write_json(index, {"weight_map": {**home, names[0]: home[names[-1]]}})
    refused(index, "index and shards disagree")
    folders.write_json(index, {"weight_map": {**home, names[0]: "../elsewhere.bin"}})
    refused(index, "points out of its folder", code=5)
    folders.write_json(index, {"weight_map": home})
    (folder / home[names[-1]]).unlink()
    with pytest.raises(ClueError, match="shards are missing") as caught:
        read_checkpoint(folder)
    assert caught.value.exit_code == 4 and home[names[-1]] in str(caught.value)


def test_a_file_is_read_once_for_hash_and_weights(folders, tmp_path, monkeypatch) -> None:
    from clue_runner.checkpoints.formats.torch_files import reader

    folder = face_folder(folders, tmp_path / "x")
    checkpoint = read_checkpoint(folder)
    assert checkpoint.sha256
    monkeypatch.setattr(reader, "read_range", None)  # nothing is opened any more
    for name, value in folders.our_weights().items():
        np.testing.assert_array_equal(checkpoint.weights[name], value)


# --- hostile -----------------------------------------------------------------------------------------


class Attack:
    """What pickle would call: the usual way to run a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.marker}",)


def attacks(marker: Path) -> dict[str, bytes]:
    """Pickles that write the marker where pickle reads them."""
    call = make.function("builtins", "exec") + make.group(make.text(f"open({str(marker)!r}, 'w')")) + b"R"
    good, _ = make.state({"weight": np.zeros(2, np.float32)})
    plain = pickle.dumps(Attack(marker), 2)[2:-1]
    name, inside = make.text, make.text("posix") + make.text("system")
    return {
        "reduce": plain,
        "protocol 4": pickle.dumps(Attack(marker), 4)[2:-1],
        "text form": pickle.dumps(Attack(marker), 0)[:-1],
        "nested in a list": b"]" + plain + b"a",
        "a value of the mapping": b"}" + name("weight") + plain + b"s",
        "beside good weights": make.mapping({"x": call}),
        "thrown away": call + b"0" + good,
        "in attributes": good + b"}" + name("a") + call + b"sb",
        "stack global": inside + b"\x93" + make.group(name(f"touch {marker}")) + b"R",
        "an instance": b"(" + name(f"touch {marker}") + b"iposix\nsystem\n",
        "an object": b"(" + make.function("posix", "system") + name(f"touch {marker}") + b"o",
        "new object": make.function("torch.nn", "Linear") + b")\x81",
        "an extension": b"\x82\x01",
        "storage class": make.group(name("storage"), call, name("0"), name("cpu"), make.number(2)) + b"Q",
        "named id": b"Pposix.system\n",
        "hidden in an argument": make.function("collections", "OrderedDict")
        + make.group(b"]" + plain + b"a")
        + b"R",
        "getattr chain": make.function("builtins", "getattr")
        + make.group(make.function("os", "system"))
        + b"R",
        "torch's own": make.function("torch.hub", "load") + make.group(name("x/y")) + b"R",
    }


ATTACKS = sorted(attacks(Path("x")))


@pytest.mark.parametrize("form", ["zip", "zip with an odd root", "stream", "bare"])
@pytest.mark.parametrize("kind", ATTACKS)
def test_code_in_the_pickle_is_refused_and_never_runs(tmp_path: Path, kind: str, form: str) -> None:
    marker, path = tmp_path / "marker", tmp_path / "pytorch_model.bin"
    value = attacks(marker)[kind]
    if form == "bare":
        path.write_bytes(make.pickle(value))
    elif form == "stream":
        make.write_stream(path, value)
    else:
        make.write_archive(path, value, {"0": bytes(8)}, root="archive" if form == "zip" else "…/__class__")
    refused(path, "carries code", "nothing was run", code=5)
    assert not marker.exists()


def test_the_attacks_are_real(tmp_path: Path) -> None:
    """What is refused above does run where pickle reads it."""
    marker = tmp_path / "marker"
    for kind in ("reduce", "protocol 4", "nested in a list", "an instance", "an object", "stack global"):
        pickle.loads(make.pickle(attacks(marker)[kind]))
        assert marker.exists()
        marker.unlink()


@pytest.mark.parametrize(
    "extra",
    [
        "../archive/data.pkl",
        "/archive/data/0",
        "archive\\data.pkl",
        "other/data.pkl",
        "archive/../../x",
        "archive/data/0",
        "archive/code/__torch__.py",
        "archive/constants.pkl",
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_with_odd_members_are_refused(tmp_path: Path, extra: str) -> None:
    value, storages = make.state({"weight": np.zeros(2, np.float32)})
    path = make.write_archive(tmp_path / "m.bin", value, storages, extra=[(extra, b"x" * 8)])
    refused(path, code=5)


def test_compressed_members_and_other_archives(tmp_path: Path) -> None:
    path = tmp_path / "m.bin"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", make.pickle(make.mapping({})))
    refused(path, "compressed or encrypted", code=5)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "x")
    refused(path, "has no data.pkl")
    path.write_bytes(gzip.compress(b"x"))
    refused(path, "not a PyTorch file", "gzip")
    path.write_bytes(bytes(257) + b"ustar" + bytes(300))
    refused(path, "a tar archive")
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid")
    refused(path, "git lfs pull")
    path.write_bytes(make.pickle(make.text("just a text")))
    refused(path, "a pickle not written by PyTorch")


BILLION = 2**40
SHAPES = {
    "more than the storage holds": ((BILLION,), (1,), 0),
    "one number for all": ((BILLION,), (0,), 0),
    "two axes on one": ((4, 4), (1, 1), 0),
    "rows that overlap": ((2, 5), (3, 1), 0),
    "beyond the end": ((4,), (1,), 13),
    "an axis below 0": ((-1,), (1,), 0),
    "a stride below 0": ((4,), (-1,), 8),
    "a start below 0": ((4,), (1,), -4),
    "another number of strides": ((4, 2), (1,), 0),
    "too many axes": ((1,) * 40, (1,) * 40, 0),
    "numbers of 128 bits": ((2**100,), (1,), 0),
}


@pytest.mark.parametrize("write", [make.write_archive, make.write_stream])
@pytest.mark.parametrize("kind", SHAPES)
def test_views_that_leave_their_storage_or_multiply_it(tmp_path: Path, kind: str, write: Any) -> None:
    shape, strides, start = SHAPES[kind]
    value = make.mapping({"weight": make.tensor(make.storage("0", 16), shape, strides, start)})
    path = write(tmp_path / "m.bin", value, {"0": bytes(64)})
    tracemalloc.start()
    try:
        refused(path, "cannot be read as weights")
        assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    finally:
        tracemalloc.stop()


def test_storages_that_are_not_there_or_of_another_length(tmp_path: Path) -> None:
    value = make.mapping({"weight": make.tensor(make.storage("0", BILLION), (BILLION,), (1,))})
    refused(
        make.write_archive(tmp_path / "a.bin", value, {"0": bytes(64)}),
        "differs in length from what the pickle says",
    )
    refused(make.write_archive(tmp_path / "b.bin", value, {"1": bytes(64)}), "'0'", "got nothing")
    refused(
        make.write_stream(tmp_path / "c.bin", value, {"0": bytes(64)}),
        "differ in length from what its pickle says",
    )
    two = make.mapping(
        {
            "a": make.tensor(make.storage("0", 4), (4,), (1,)),
            "b": make.tensor(make.storage("0", 2, "DoubleStorage"), (2,), (1,)),
        }
    )
    refused(make.write_archive(tmp_path / "d.bin", two, {"0": bytes(16)}), "two sizes or types")
    view = make.mapping({"a": make.tensor(make.storage("0", 4, "FloatStorage", b"K\x01"), (4,), (1,))})
    refused(make.write_archive(tmp_path / "e.bin", view, {"0": bytes(16)}), "before 0.4")
    odd = make.mapping({"a": make.tensor(make.storage("0", 4, "BFloat16Storage"), (4,), (1,))})
    refused(make.write_archive(tmp_path / "f.bin", odd, {"0": bytes(16)}), "got 16 bytes (allowed: 8 bytes)")


ORDERED = make.function("collections", "OrderedDict")
DOUBLED = (b"(h" + bytes([n, 104, n]) + b"lq" + bytes([n + 1]) for n in range(200))
BOMBS = {
    "a million mappings": b"(" + b"}" * 1_000_000 + b"l",
    "a list copied again and again": b"]("
    + b"(K\x01K\x02t" * 20_000
    + b"eq\x00"
    + (ORDERED + b"(h\x00tR") * 20_000,
    "nested without end": b"(" * 500_000 + b"t" * 500_000,
    "a list in itself": b"]q\x00h\x00a",
    "doubled and doubled": b"]q\x00" + b"".join(DOUBLED),
    "more than 4 MB": make.text("x" * 5_000_000),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_pickles_that_grow(tmp_path: Path, kind: str) -> None:
    path = make.write_archive(tmp_path / "m.bin", BOMBS[kind])
    tracemalloc.start()
    try:
        refused(path)
        assert tracemalloc.get_traced_memory()[1] < 100 * 2**20
    finally:
        tracemalloc.stop()


def test_files_cut_short(folders, tmp_path) -> None:
    for write in (make.write_archive, make.write_stream):
        folder = face_folder(folders, tmp_path / write.__name__, write)
        path = folder / "pytorch_model.bin"
        raw = path.read_bytes()
        for length in (3, 100, 700, len(raw) // 2, len(raw) - 1):
            path.write_bytes(raw[:length])
            refused(path)


@pytest.mark.parametrize("write", [make.write_archive, make.write_stream])
def test_mutated_files_end_in_the_user_s_error(folders, tmp_path, write) -> None:
    folder = face_folder(folders, tmp_path / "x", write)
    path = folder / "pytorch_model.bin"
    raw, draw = path.read_bytes(), random.Random(7)
    place = raw.index(b"\x80\x02")
    for _ in range(150):
        damaged = bytearray(raw)
        for _ in range(draw.choice([1, 2, 8])):
            at = draw.randrange(place, place + 3_000)
            damaged[at : at + draw.choice([0, 1, 1, 40])] = draw.randbytes(draw.choice([0, 1, 1, 9]))
        path.write_bytes(bytes(damaged))
        try:
            dict(read_checkpoint(folder).weights)
        except ClueError as error:
            assert error.exit_code in {4, 5}


@pytest.mark.parametrize("name", ["[" * 4_000, "a\0b", "\udcff"], ids=["long", "zero byte", "no UTF-8"])
def test_a_shard_may_be_called_what_no_file_can(tmp_path: Path, name: str) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"one": name}}), encoding="utf-8")
    with pytest.raises(ClueError, match="shards are missing") as caught:
        shard_files(index)
    assert caught.value.exit_code == 4 and len(str(caught.value)) < 1_000
