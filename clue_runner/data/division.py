"""Splits one file of records into train, dev and test: by a seed, stratified by label, equal texts together.

In: each record's text and label. Out: the record numbers of each split. Knows nothing about files.
Also: train without one of k folds, for runs whose answers are combined later.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

STREAM = 0x64697669  # keeps these draws apart from others with the same seed


def divide(
    texts: Sequence[Hashable], labels: Sequence[str], shares: Mapping[str, float], seed: int
) -> dict[str, list[int]]:
    """Return split -> record numbers in file order; the rest goes to the first split.

    Records with equal texts stay together, since a text in two splits would be memorised, not understood.
    Each label is split separately, so that a split has its fraction of every label with enough records;
    a label with fewer than one record per split stays in the first.

    Args:
        texts: what makes two records equal.
        labels: the label of each record.
        shares: split -> fraction of the records; the first split gets the rest.
        seed: that of the order in which records are drawn.
    """
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for number, text in enumerate(texts):
        groups[text].append(number)
    by_label: dict[str, list[list[int]]] = defaultdict(list)
    for members in groups.values():
        by_label[labels[members[0]]].append(members)
    first, *others = shares
    divided: dict[str, list[int]] = {name: [] for name in shares}
    for place, label in enumerate(sorted(by_label)):
        order = _order(len(by_label[label]), seed, place)
        waiting = [by_label[label][index] for index in order]
        total = sum(map(len, waiting))
        enough = len(waiting) >= len(shares)
        for name in others:
            wanted = max(round(total * shares[name]), 1) if enough else 0
            while wanted > 0 and len(waiting) > 1:  # the first split keeps some records of every label
                taken = waiting.pop()
                divided[name] += taken
                wanted -= len(taken)
        divided[first] += [number for members in waiting for number in members]
    return {name: sorted(numbers) for name, numbers in divided.items()}


def _order(count: int, seed: int, place: int) -> list[int]:
    """Return the numbers below ``count`` in an order decided by the seed and the label's index."""
    draws = np.random.Philox(np.random.SeedSequence([seed, STREAM, place])).random_raw(count)
    order: list[int] = np.argsort(draws, kind="stable").tolist()
    return order


def without_fold(records: Sequence[Any], fold: str) -> list[Any]:
    """Return the records outside one fold of train, in their order.

    A record's content decides its fold: equal ones are left out together, whatever the order of the file.

    Args:
        records: dataclasses; ``id`` and ``line`` say where a record was read and not what it says.
        fold: ``i/k``: fold i, from 0, of k.
    """
    part, count = map(int, fold.split("/"))
    return [record for record in records if _draw(record) % count != part]


def _draw(record: Any) -> int:
    """Return a large number computed from a record's content."""
    content = [getattr(record, one.name) for one in fields(record) if one.name not in {"id", "line"}]
    return int.from_bytes(hashlib.sha256(repr(content).encode("utf-8", "backslashreplace")).digest()[:8])
