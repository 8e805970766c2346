"""Turns files into rows: the records of every split, and what the network reads.

In: an adapter, a data source, a vocabulary. Out: records, warnings about them, encoded rows, and
the padded lengths. Knows nothing about tensors or run folders.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clue_runner.adapters.base import Adapter, AnyTokenizer
from clue_runner.config.schema import Run
from clue_runner.config.shipped import as_given, shipped_folder
from clue_runner.data.division import without_fold
from clue_runner.data.records import Records
from clue_runner.data.sources import DataSource, missing_file, split_file
from clue_runner.tokens.batches import choose_buckets
from clue_runner.tokens.cache import cached_rows
from clue_runner.tokens.rows import Rows, note_unknown
from clue_runner.training.lenders import answer_by_another

TRAINED_ON = ("train", "dev")  # splits that decide what a run learns and keeps


@dataclass(frozen=True)
class SplitData:
    """Records of the available splits, and what differs from the card.

    Args:
        records: split -> usable records, limited to ``limit_train`` and ``limit_dev``.
        missing: test splits without a file -> the file's name.
        warnings: messages for the user, each once.
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


def read_splits(adapter: Adapter, source: DataSource) -> SplitData:
    """Return the records of all splits; a missing test file is noted.

    Raises:
        DataError: a missing train or dev file, or a broken one.
    """
    card, settings = adapter.card, adapter.run.data
    records: dict[str, Records[Any]] = {}
    missing: dict[str, str] = {}
    warnings: list[str] = []
    complete = not source.is_sample
    limits = {"train": settings.limit_train, "dev": settings.limit_dev}
    for split, declared in card.splits.items():
        if split not in {*TRAINED_ON, *card.test_splits}:
            continue  # a further labelled split (CMRC2018's trial) is only for clue predict
        if split_file(source, declared) is None:
            if split in TRAINED_ON:
                raise missing_file(source, list(declared.file_names), advice=answer_by_another(card))
            missing[split] = declared.file
            continue
        some = adapter.read(source, split)
        warnings += [text for text in some.warnings if text not in warnings]
        complete = complete and (some.complete or split not in TRAINED_ON)
        fold = settings.fold if split == "train" else None
        whole = some if fold is None else replace(some, items=without_fold(some.items, fold))
        records[split] = replace(whole, items=whole.items[: limits.get(split)])
        complete = complete and len(records[split]) == len(whole)
    return SplitData(records, missing, tuple(warnings), complete)


def find_vocabulary(run: Run, checkpoint_vocab: Path | None) -> Path:
    """Return the vocabulary's file: the one named, else the checkpoint's, else the shipped one."""
    if run.model.vocab != "auto":
        return as_given(run.model.vocab)
    return checkpoint_vocab or shipped_folder("configs") / "models" / "vocab" / "zh.txt"


def encode_records(
    adapter: Adapter,
    records: Records[Any],
    tokenizer: AnyTokenizer,
    *,
    cache: bool,
    warn: Callable[[str], None],
) -> Rows:
    """Return the rows of one split, from the cache if the same texts were encoded before.

    Args:
        adapter: bound to the run's settings.
        records: of one split.
        tokenizer: the one in use.
        cache: use the cache, and keep new rows there.
        warn: told what encoding lost.
    """
    # Everything that the rows depend on: the records, and what the adapter reads beside them.
    fold = f" without {adapter.run.data.fold}" if adapter.run.data.fold else ""
    key = {"split": records.split, "data": records.sha256, "records": f"{len(records)}{fold}"}
    settings = json.dumps(adapter.row_settings(tokenizer), sort_keys=True)
    key["settings"] = hashlib.sha256(settings.encode()).hexdigest()
    rows = cached_rows(
        key,
        lambda: note_unknown(adapter.encode(records, tokenizer), tokenizer.unk_id),
        cache,
        limits={**tokenizer.id_limits, "record": len(records)},
        warn=warn,
    )
    adapter.check_rows(rows, records)
    return rows


def encoding_warnings(rows: Mapping[str, Rows]) -> list[str]:
    """Return what encoding lost in each split, in words; lost gold answers bound the score."""
    warnings = []
    for split, some in rows.items():
        notes = ", ".join(f"{count:,} {what}" for what, count in some.notes.items())
        if some.gold.lost:
            lost = f"{some.gold.lost:,} of {some.gold.total:,} gold answers ({some.gold.lost_share:.1%})"
            warnings.append(f"{split}: {lost} cannot be represented in rows: {notes}")
        elif notes:
            warnings.append(f"{split}: {notes}")
    return warnings


def padded_lengths(train: Rows, run: Run, *, jit: bool) -> tuple[int, ...] | None:
    """Return the lengths that batches are padded to; None: each batch to its longest row.

    Taken from the train rows alone, so that a test file added later changes nothing.
    """
    if run.train.lengths == "exact" or (run.train.lengths == "auto" and not jit):
        return None
    return choose_buckets(train.lengths, run.data.max_length)
