"""Which files of a folder are train, dev and test, by usual names.

In: a folder. Out: split -> path. Knows nothing about the files' content.
"""

from __future__ import annotations

from pathlib import Path

from clue_runner.errors import DataError, StorageError
from clue_runner.files.litter import entries

NAMES = {
    "train": ("train", "training", "训练集", "训练"),
    "dev": ("dev", "valid", "validation", "val", "eval", "验证集", "开发集"),
    "test": ("test", "testing", "测试集", "测试"),
}
SUFFIXES = {".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson"}


def split_of(path: Path) -> str | None:
    """Return the split that a file's name tells, or None."""
    stem = path.name.lower().split(".")[0]
    return next((split for split, names in NAMES.items() if stem in names), None)


def split_files(folder: Path, *, need_train: bool = True) -> dict[str, Path]:
    """Return the files of a folder by split, train first.

    Args:
        folder: where they lie.
        need_train: whether there must be a train file; otherwise any split will do.

    Raises:
        DataError: no such file, or two files for one split.
        StorageError: the folder cannot be listed.
    """
    try:
        paths = [path for path in entries(folder) if path.is_file() and path.suffix.lower() in SUFFIXES]
    except OSError as error:
        raise StorageError(
            "cannot list the folder", where=str(folder), received=(error.strerror or str(error)).lower()
        ) from None
    by_split: dict[str, list[Path]] = {
        split: [path for path in paths if split_of(path) == split] for split in NAMES
    }
    twice = [split for split, files in by_split.items() if len(files) > 1]
    if twice:
        raise DataError(
            f"two files for the {twice[0]} split",
            where=str(folder),
            received=", ".join(path.name for path in by_split[twice[0]]),
            next_step="leave one of them in the folder, or name the file",
        )
    if not (by_split["train"] if need_train else any(by_split.values())):
        raise DataError(
            f"no {'train ' if need_train else ''}file of examples in the folder",
            where=str(folder),
            received=", ".join(path.name for path in paths) or "no file of examples",
            allowed="train, dev and test with the suffix .csv, .tsv, .txt, .json or .jsonl",
            next_step="name the file itself",
        )
    return {split: files[0] for split, files in by_split.items() if files}
