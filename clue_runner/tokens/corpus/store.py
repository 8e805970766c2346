"""The folder of token files of some texts: made once, found by a hash over all that decides it.

In: a key, and what makes the files. Out: the folder with a manifest, and rows that are mapped into memory.
A folder is complete when its manifest exists, and trusted when its files have the hashes listed there.
Knows nothing about texts, tokenizers or masks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clue_runner.config.shipped import clue_home
from clue_runner.files.atomic import disk_faults, json_bytes, make_folder, remove, sha256_file, write_json
from clue_runner.files.lock import FolderLock
from clue_runner.files.reading import DamagedFileError, read_object
from clue_runner.tokens.corpus.packing import IDS, WORDS, id_type
from clue_runner.tokens.rows import Array, Rows

FORMAT = 1  # to be raised when the same texts would give other files
MANIFEST = "manifest.json"
Make = Callable[[Path], Mapping[str, Any]]


def token_folder(
    key: Mapping[str, Any], make: Make, say: Callable[[str], None], root: Path | None = None
) -> tuple[Path, Mapping[str, Any]]:
    """Return the folder of a key and what its manifest says of each split; where there is none, it is made.

    Args:
        key: everything that the files follow from, as JSON has it.
        make: writes the files into a folder; returns split -> figures, the files' hashes among them.
        say: told what was found unusable.
        root: where all such folders lie; ``$CLUE_HOME/cache/texts``.

    Raises:
        BusyError: another process makes these files just now.
        StorageError: they cannot be written.
    """
    whole = {"format": FORMAT, **key}
    name = hashlib.sha256(json_bytes(dict(sorted(whole.items())))).hexdigest()[:32]
    folder = (root or clue_home() / "cache" / "texts") / name
    splits = _read(folder, whole, say)
    if splits is not None:
        return folder, splits
    make_folder(folder)
    with FolderLock(folder).acquire(), disk_faults(folder):
        if (splits := _read(folder, whole, lambda text: None)) is None:  # it was said above
            remove(folder / MANIFEST)
            splits = make(folder)
            write_json(folder / MANIFEST, {"key": whole, "splits": splits})
    return folder, splits


def _read(folder: Path, key: Mapping[str, Any], say: Callable[[str], None]) -> Mapping[str, Any] | None:
    """Return the splits of a whole folder whose files are what they were; None where there is none."""
    try:
        manifest = read_object(folder / MANIFEST)
        if manifest.get("key") != dict(key):
            raise DamagedFileError("is of other texts")
        splits: Mapping[str, Any] = manifest["splits"]
        for split, figures in splits.items():
            for kind, file in figures["files"].items():
                if sha256_file(folder / f"{split}.{kind}") != file["sha256"]:
                    raise DamagedFileError(f"lists another {split}.{kind}")
    except FileNotFoundError as error:
        if error.filename != str(folder / MANIFEST):
            say(f"{folder}: {error.filename} is gone; tokenising again")
        return None
    except (DamagedFileError, KeyError, TypeError, AttributeError) as error:
        say(f"{folder / MANIFEST} {error}; tokenising again")
        return None
    return splits


def mapped_rows(folder: Path, split: str, count: int, length: int, vocab_size: int) -> Rows:
    """Return the first rows of a split; tokens stay on disk until a batch reads them.

    Args:
        folder: as ``token_folder`` gave it.
        split: its name.
        count: rows that are taken.
        length: tokens in a row that is full; only the split's last one may be shorter.
        vocab_size: ids there are.

    Returns:
        ``token_ids`` and ``word_starts`` as flat arrays in the files' own types.
    """
    ids = np.memmap(folder / f"{split}.{IDS}", id_type(vocab_size), "r")
    marks = np.memmap(folder / f"{split}.{WORDS}", np.uint8, "r")
    total = min(len(ids), count * length)
    offsets = np.minimum(np.arange(count + 1, dtype=np.int64) * length, total)
    tokens: dict[str, Array] = {"token_ids": ids[:total], "word_starts": marks[:total]}
    numbers = np.arange(count, dtype=np.int64)
    return Rows(offsets, tokens, {}, numbers, numbers)
