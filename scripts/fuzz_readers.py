"""Damages files of every kind that a user hands in, and reads them: each ends in a result or one plain error.

    python scripts/fuzz_readers.py [--seed 1] [--seconds 60] [--inputs N] [--data FOLDER_OF_ZIPS]

Every reader gets small good files, damaged by a seeded generator: bytes changed, cut, repeated, tokens of the
format put in. A traceback, more than 3 s of computing (or 60 s of waiting), or more than 1 GB of memory is a
failure, and the damaged file is kept. The inputs depend on the seed alone, so that a failure can be repeated.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

SLOWEST = 3  # seconds of this process alone, so that a busy machine makes no failures
LONGEST_WAIT = 60
MEMORY = 1_000_000_000
TOKENS = (
    b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"true", b"1e999", b"-1", b"9" * 5000, b"\\ud800",
    b"\xff", b"\x00", b"\n", b"\r", b"\t",
    b'"id":', b'"label":', b"\xef\xbb\xbf", b"NaN", b"[" * 3000, b'""', b"#idiom#",
    b"B-name", b"1.5", b"\xe2\x80\xa8", b"- ", b"&a ", b"*a", b"!!python/object:os.system", b"~", b"%",
)  # fmt: skip

Reader = Callable[[bytes], object]


def damaged(raw: bytes, draw: random.Random) -> bytes:
    """Return the bytes with one to eight faults."""
    found = bytearray(raw)
    for _ in range(draw.choice([1, 1, 2, 3, 8])):
        place, way = draw.randrange(len(found) + 1), draw.randrange(5)
        if way == 0:
            found[place : place + 1] = bytes([draw.randrange(256)])
        elif way == 1:
            found[place:place] = draw.choice(TOKENS)
        elif way == 2:
            del found[place : place + draw.choice([1, 2, 10, 200])]
        elif way == 3:
            start = draw.randrange(len(found) + 1)
            found[place:place] = found[start : start + draw.choice([1, 5, 40])]
        else:
            found[place : place + draw.choice([1, 4])] = draw.choice(TOKENS)
    return bytes(found)


def task_files(folder: Path | None) -> Iterator[tuple[str, bytes, Reader]]:
    """Yield every file of every task's sample (and of official zips), with the task's reader."""
    from clue_runner.data.cards import all_cards
    from clue_runner.data.check import check_source
    from clue_runner.data.locate import locate, open_source
    from clue_runner.data.sources import MemorySource

    for card in all_cards().values():
        sources = [locate(card, "sample")]
        if folder is not None and (folder / f"{card.name}_public.zip").is_file():
            sources.append(open_source(folder / f"{card.name}_public.zip", card))
        for source in sources:
            files = {name: shortened(source.read(name)) for name in source.names()}
            for name, raw in files.items():

                def read(found: bytes, card=card, files=files, name=name) -> object:  # type: ignore[no-untyped-def]
                    return check_source(card, MemorySource("own", {**files, name: found}))

                yield f"{card.name}/{name}", raw, read


def shortened(raw: bytes) -> bytes:
    """Return the first records of a file: damage shall hit what matters, and one reading be short."""
    if len(raw) <= 20_000:
        return raw
    try:
        value = json.loads(raw)
    except ValueError:
        return b"\n".join(raw.split(b"\n")[:6])
    rows = value["data"] if isinstance(value, dict) and isinstance(value.get("data"), list) else value
    if isinstance(rows, list):
        del rows[2:]
    return json.dumps(value, ensure_ascii=False).encode()


def foreign_files() -> Iterator[tuple[str, bytes, Reader]]:
    """Yield tables and files of other layouts, as ``clue tasks new`` and ``clue data convert`` read them."""
    from clue_runner.data.foreign.columns import choose_columns, examples_of
    from clue_runner.data.foreign.grid import read_grid
    from clue_runner.data.foreign.recognise import recognise

    table = b"text,label\n" + "".join(f"第{row}句,{row % 2}\n" for row in range(12)).encode()
    tagged = "叶 B-name\n老 I-name\n\n".encode() * 3
    spans = json.dumps({"text": "叶老", "label": [[0, 1, "name"]]}).encode()
    for name, raw in (("table", table), ("tagged", tagged), ("spans", spans)):

        def grid(found: bytes) -> object:
            read = read_grid(found, "own")
            return examples_of(read, choose_columns(read, "own"), "own")

        yield f"{name} as a table", raw, grid
        yield f"{name} as any layout", raw, recognise


def tokenizer_json(pieces: bytes) -> bytes:
    """Return a tokenizer.json with these pieces."""
    vocab = {piece: index for index, piece in enumerate(pieces.decode().split("\n"))}
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "vocab": vocab}
    normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True}
    normalizer |= {"strip_accents": None, "lowercase": True}
    content = {"model": {**model, "max_input_chars_per_word": 100}, "normalizer": normalizer}
    return json.dumps({**content, "pre_tokenizer": {"type": "BertPreTokenizer"}}, ensure_ascii=False).encode()


def foreign_weights() -> dict[str, bytes]:
    """Return files of PyTorch in both layouts (the tests' own), and one of Keras."""
    import h5py
    import numpy as np

    goldens = Path(__file__).resolve().parents[1] / "tests/goldens/torch"
    found = {"pytorch_model.bin": (goldens / "zip.bin").read_bytes()}
    found["weights.pt"] = (goldens / "stream.bin").read_bytes()
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file["bert/tf_bert_model/bert/pooler/dense/bias:0"] = np.zeros(8, np.float32)
    return {**found, "tf_model.h5": stream.getvalue()}


def own_files(folder: Path) -> Iterator[tuple[str, bytes, Reader]]:
    """Yield cards, settings, archives, vocabularies, word vectors, weights and answers."""
    from clue_runner.checkpoints.importer import read_checkpoint
    from clue_runner.config.yaml_reader import read_yaml
    from clue_runner.data.archives import verify_archive
    from clue_runner.data.cards import find_card, load_card
    from clue_runner.submission.answers import read_predictions
    from clue_runner.submission.forms import scoring_form
    from clue_runner.tokens.vectors import read_word_vectors
    from clue_runner.tokens.vocabulary import parse_vocabulary

    def through(name: str, read: Callable[[Path], object]) -> Reader:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)

        def reader(found: bytes) -> object:
            path.write_bytes(found)
            return read(path)

        return reader

    root = Path(__file__).resolve().parents[1]
    card = (root / "tasks/afqmc/task.yaml").read_bytes()
    yield "card", card, through("card/task.yaml", lambda path: load_card(path.parent))
    settings = (root / "configs/default.yaml").read_bytes()
    yield "settings", settings, through("settings.yaml", read_yaml)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x/train.json", b'{"a":1}\n' * 20)
        archive.writestr("dev.json", b"{}", zipfile.ZIP_BZIP2)
    yield "zip", packed.getvalue(), through("data.zip", verify_archive)
    pieces = "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "中", "##文", "a"]).encode()
    yield "vocabulary", pieces, lambda found: parse_vocabulary(found, Path("vocab.txt"))
    rows = "3 4\n中 1 2 3 4\n文 0.1 0.2 0.3 0.4\n字 -1 0 1 1e-3\n".encode()
    yield "word vectors", rows, through("vectors.txt", read_word_vectors)
    config = b'{"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,'
    config += b' "intermediate_size": 16, "vocab_size": 8, "max_position_embeddings": 16}'
    header = json.dumps({"bert.pooler.dense.bias": {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]}})
    weights = len(header).to_bytes(8, "little") + header.encode() + bytes(32)
    index = json.dumps({"weight_map": {"bert.pooler.dense.bias": "model-1.safetensors"}}).encode()
    good = {"config.json": config, "vocab.txt": pieces, "model.safetensors": weights}
    sharded = {"config.json": config, "model.safetensors.index.json": index, "model-1.safetensors": weights}
    saved = {"config.json": config, "tokenizer.json": tokenizer_json(pieces), "model.safetensors": weights}
    foreign = [{"config.json": config, name: raw} for name, raw in foreign_weights().items()]
    for number, files in enumerate((good, sharded, saved, *foreign)):
        for name, raw in files.items():

            def checkpoint(path: Path, name: str = name, files: dict[str, bytes] = files) -> object:
                for other, content in files.items():
                    if other != name:
                        (path.parent / other).write_bytes(content)
                return dict(read_checkpoint(path.parent).weights)

            yield f"checkpoint/{name}", raw, through(f"weights-{number}-{name}/{name}", checkpoint)
    lines = {"afqmc": b'{"id": 0, "label": "1"}\n', "cluener": b'{"id": 0, "label": {"name": {}}}\n'}
    for task, line in lines.items():

        def answers(found: bytes, task: str = task) -> object:
            return read_predictions(found, "own", scoring_form(find_card(task)))

        yield f"answers of {task}", line * 3, answers


def too_slow(number: int, frame: FrameType | None) -> None:
    """Turn the alarm into an exception, whose traceback shows where the time goes."""
    raise TimeoutError(f"no end within {SLOWEST} s of computing or {LONGEST_WAIT} s of waiting")


def failure_of(read: Reader, raw: bytes) -> str | None:
    """Return what went wrong other than a plain error."""
    from clue_runner.errors import ClueError

    signal.setitimer(signal.ITIMER_PROF, SLOWEST)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_WAIT)
    try:
        read(raw)
    except ClueError:
        return None
    except Exception:  # any other exception is what is looked for
        return traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None


def main() -> int:
    """Read damaged files until time or number is up; 1 where one did not end as it should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--inputs", type=int, default=10**9)
    parser.add_argument("--data", type=Path, help="folder with official zips")
    wanted = parser.parse_args()
    signal.signal(signal.SIGALRM, too_slow)
    signal.signal(signal.SIGPROF, too_slow)
    draw, counts, kept = random.Random(wanted.seed), Counter[str](), Path(tempfile.mkdtemp(prefix="fuzz-"))
    readers = [*task_files(wanted.data), *foreign_files(), *own_files(kept / "own")]
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    end, failed, slowest = time.monotonic() + wanted.seconds, 0, (0.0, "none")
    while time.monotonic() < end and counts.total() < wanted.inputs:
        name, raw, read = draw.choice(readers)
        found = damaged(raw, draw)
        counts[name] += 1
        begin = time.process_time()
        trouble = failure_of(read, found)
        slowest = max(slowest, (time.process_time() - begin, name))
        if (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) * 1024 > MEMORY:
            trouble = f"more than {MEMORY:,} bytes of memory"
        if trouble is not None:
            failed += 1
            path = kept / f"failure-{failed}"
            path.write_bytes(found)
            where = f"{name}: seed {wanted.seed}, input {counts.total()}, kept as {path}"
            print(f"{where}\n{trouble}", file=sys.stderr)
            if "memory" in trouble:
                break
    print(f"{counts.total():,} damaged files of {len(counts)} kinds, seed {wanted.seed}: {failed} failures")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"slowest {slowest[0]:.2f} s ({slowest[1]}); peak memory {peak / 1e6:,.0f} MB")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
