"""One file of records to train, dev and test: by a seed, each label in its share, equal texts together.

In: what each record says and its label. Out: the record numbers of each split. Knows nothing about files.
Besides, train without one of k equal parts, for runs whose answers are joined later.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

STREAM = 0x64697669  # keeps these draws apart from others of the same seed


def divide(
    texts: Sequence[Hashable], labels: Sequence[str], shares: Mapping[str, float], seed: int
) -> dict[str, list[int]]:
    """Return split -> record numbers in file order; what no share takes goes to the first split.

    Records with equal texts stay together, since a text in two splits would be remembered, not understood.
    Each label is divided by itself, so that a split holds its share of every label that has enough records;
    a label with fewer than one record a split stays in the first.

    Args:
        texts: what makes two records equal.
        labels: the label of each record.
        shares: split -> share of the records; the first split's share is what is left.
        seed: of the order in which records are drawn.
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
            while wanted > 0 and len(waiting) > 1:  # the first split keeps some of every label
                taken = waiting.pop()
                divided[name] += taken
                wanted -= len(taken)
        divided[first] += [number for members in waiting for number in members]
    return {name: sorted(numbers) for name, numbers in divided.items()}


def _order(count: int, seed: int, place: int) -> list[int]:
    """Return the numbers below ``count`` in an order that the seed and the label's place decide."""
    draws = np.random.Philox(np.random.SeedSequence([seed, STREAM, place])).random_raw(count)
    order: list[int] = np.argsort(draws, kind="stable").tolist()
    return order


def without_fold(records: Sequence[Any], fold: str) -> list[Any]:
    """Return the records that are not in a part of train, in their order.

    What a record says decides its part: equal ones are left out together, whatever the order of the file.

    Args:
        records: dataclasses; ``id`` and ``line`` say where a record stands and not what it says.
        fold: ``i/k``: part i, from 0, of k.
    """
    part, count = map(int, fold.split("/"))
    return [record for record in records if _draw(record) % count != part]


def _draw(record: Any) -> int:
    """Return a large number that follows from what a record says."""
    content = [getattr(record, one.name) for one in fields(record) if one.name not in {"id", "line"}]
    return int.from_bytes(hashlib.sha256(repr(content).encode("utf-8", "backslashreplace")).digest()[:8])
