"""Files to rows: everything a run needs before a backend is loaded.

In: a card, a data source, the settings, a vocabulary. Out: records and encoded rows of every split,
what is incomplete about them, and the padded lengths. Knows nothing about tensors or run folders.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clue_runner.adapters.base import Adapter, load_adapter
from clue_runner.config.schema import Run
from clue_runner.config.shipped import shipped_folder
from clue_runner.data.cards import Card
from clue_runner.data.records import Records
from clue_runner.data.sources import DataSource, missing_file, split_file
from clue_runner.tokens.batches import choose_buckets
from clue_runner.tokens.cache import cached_rows
from clue_runner.tokens.rows import Rows
from clue_runner.tokens.tokenizer import Tokenizer
from clue_runner.training.borrow import answer_by_another

TRAINED_ON = ("train", "dev")  # splits that decide what a run learns and keeps


@dataclass(frozen=True)
class SplitData:
    """Records of the splits that are there, and what differs from the card.

    Args:
        records: split -> usable records, cut to ``limit_train`` and ``limit_dev``.
        missing: test splits without a file -> the file's name.
        warnings: what the user should know, each once.
        complete: all counts are the card's and no limit is set.
    """

    records: Mapping[str, Records[Any]]
    missing: Mapping[str, str]
    warnings: tuple[str, ...]
    complete: bool

    @property
    def sha256(self) -> dict[str, str]:
        """Return split -> hash of its file."""
        return {split: records.sha256 for split, records in self.records.items()}


@dataclass(frozen=True)
class Material:
    """What the network is trained on and asked about."""

    card: Card
    adapter: Adapter
    tokenizer: Tokenizer
    data: SplitData
    rows: Mapping[str, Rows]


def read_splits(card: Card, source: DataSource, run: Run) -> SplitData:
    """Return the records of all splits; a missing test file is noted.

    Raises:
        DataError: a missing train or dev file, or a broken one.
    """
    adapter = load_adapter(card)
    records: dict[str, Records[Any]] = {}
    missing: dict[str, str] = {}
    warnings: list[str] = []
    complete = not source.is_sample
    limits = {"train": run.data.limit_train, "dev": run.data.limit_dev}
    for split, declared in card.splits.items():
        if split not in {*TRAINED_ON, *card.test_splits}:
            continue  # a further labelled split (CMRC2018's trial) is for clue predict alone
        if split_file(source, declared) is None:
            if split in TRAINED_ON:
                raise missing_file(source, list(declared.file_names), advice=answer_by_another(card))
            missing[split] = declared.file
            continue
        found = adapter.read(card, source, split)
        warnings += [text for text in found.warnings if text not in warnings]
        complete = complete and (found.complete or split not in TRAINED_ON)
        limit = limits.get(split)
        if limit is not None and limit < len(found):
            complete = False
            found = replace(found, items=found.items[:limit])
        records[split] = found
    return SplitData(records, missing, tuple(warnings), complete)


def find_vocabulary(run: Run, checkpoint_vocab: Path | None) -> Path:
    """Return the vocabulary's file: the one named, else the checkpoint's, else the shipped one."""
    if run.model.vocab != "auto":
        return Path(run.model.vocab).expanduser()
    return checkpoint_vocab or shipped_folder("configs") / "models" / "vocab" / "zh.txt"


def encode_splits(
    card: Card, data: SplitData, tokenizer: Tokenizer, run: Run, warn: Callable[[str], None]
) -> Material:
    """Return the rows of every split, from the cache where the same texts were encoded before."""
    adapter = load_adapter(card, run)
    rows = {
        split: encode_records(adapter, card, records, tokenizer, run, warn)
        for split, records in data.records.items()
    }
    return Material(card, adapter, tokenizer, data, rows)


def encode_records(
    adapter: Adapter,
    card: Card,
    records: Records[Any],
    tokenizer: Tokenizer,
    run: Run,
    warn: Callable[[str], None],
) -> Rows:
    """Return the rows of one split."""
    # Everything that the rows follow from; a key that lacks something would give another run's rows.
    key = {
        "card": hashlib.sha256(card.model_dump_json(exclude={"folder"}).encode()).hexdigest(),
        "split": records.split,
        "data": records.sha256,
        "records": str(len(records)),
        "vocabulary": tokenizer.sha256,
        "lowercase": str(tokenizer.lowercase),
        "max_length": str(run.data.max_length),
        "segments": run.model.segments,
        "window_stride": str(run.data.window_stride),
        "max_question_length": str(run.data.max_question_length),
        "simplify": str(run.data.simplify),
        "choice_decoding": run.model.choice_decoding,
    }
    rows = cached_rows(
        key,
        lambda: adapter.encode(records, card, tokenizer, run),
        run.data.cache,
        limits={**tokenizer.id_limits, "record": len(records)},
        warn=warn,
    )
    for what in rows.notes:
        if "the vocabulary has no" in what:  # an emergency measure, unlike rows that are cut
            warn(f"{records.split}: {what}")
    return rows


def padded_lengths(train: Rows, run: Run, *, jit: bool) -> tuple[int, ...] | None:
    """Return the lengths that batches are padded to; None: each batch to its own longest row.

    Taken from the train rows alone, so that a test file that comes later changes nothing.
    """
    if run.train.lengths == "exact" or (run.train.lengths == "auto" and not jit):
        return None
    return choose_buckets(train.lengths, run.data.max_length)
