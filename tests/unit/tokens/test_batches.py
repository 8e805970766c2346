"""Plans and padded batches: every row once, whole groups, few shapes, weights that count."""

from __future__ import annotations

import functools
import hashlib
import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clue_runner.tokens.batches import (
    batch_arrays,
    batch_shape,
    choose_buckets,
    epoch_plan,
    evaluation_plan,
    padding_share,
    split_batch,
    update_arrays,
    update_shape,
)
from clue_runner.tokens.rows import IntArray, Rows

MAX_LENGTH = 40
BUCKETS = (8, 16, 24, 40)


def make_rows(lengths: list[int], group_sizes: list[int] | None = None) -> Rows:
    """Rows whose tokens name their row and place, so that any mix-up is seen."""
    count = len(lengths)
    sizes = group_sizes or [1] * count
    row = np.repeat(np.arange(count), lengths)
    place = np.concatenate([np.arange(length) for length in lengths]) if count else np.zeros(0)
    return Rows(
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        tokens={
            "token_ids": (1 + row * 100 + place).astype(np.int32),
            "segment_ids": (place % 2).astype(np.int32),
        },
        columns={
            "label": np.arange(7, 7 + count, dtype=np.int32),
            "spans": np.arange(2 * count, dtype=np.float32).reshape(count, 2) + 1,
        },
        record=np.arange(count),
        group=np.repeat(np.arange(len(sizes)) * 3, sizes).astype(np.int64),
    )


@st.composite
def some_rows(draw: st.DrawFn, least: int = 0) -> Rows:
    sizes = draw(st.lists(st.integers(1, 4), min_size=least, max_size=60))
    if draw(st.booleans()):
        sizes = [1] * len(sizes)
    seed = draw(st.integers(0, 2**20))
    lengths = np.random.default_rng(seed).integers(1, MAX_LENGTH + 1, sum(sizes)).tolist()
    return make_rows(lengths, sizes)


buckets_or_none = st.sampled_from([None, BUCKETS, (MAX_LENGTH,)])


def groups_in(rows: Rows, indices: IntArray) -> list[int]:
    return list(dict.fromkeys(rows.group[indices].tolist()))


# --- buckets ---------------------------------------------------------------------------------------


def padded_tokens(lengths: list[int], buckets: tuple[int, ...]) -> int:
    return sum(min(size for size in buckets if size >= length) for length in lengths)


@given(st.lists(st.integers(1, 40), max_size=40), st.integers(33, 44), st.integers(1, 5))
def test_buckets_are_the_best_of_all(lengths: list[int], max_length: int, count: int) -> None:
    lengths = [min(length, max_length) for length in lengths]
    chosen = choose_buckets(lengths, max_length, count=count, multiple=8)
    assert chosen[-1] == max_length
    assert len(chosen) <= count
    assert list(chosen) == sorted(set(chosen))
    assert all(size % 8 == 0 for size in chosen[:-1])
    candidates = range(8, max_length, 8)
    best = min(
        padded_tokens(lengths, (*inner, max_length))
        for used in range(count)
        for inner in itertools.combinations(candidates, used)
    )
    assert padded_tokens(lengths, chosen) == best


def test_buckets_by_hand() -> None:
    assert choose_buckets([5] * 10 + [20] * 10, 64, count=3) == (8, 24, 64)
    assert choose_buckets([5] * 10, 64) == (8, 64)  # not more buckets than help
    assert choose_buckets([], 64) == (64,)
    assert choose_buckets([3], 5) == (5,)
    with pytest.raises(ValueError, match="65 tokens"):
        choose_buckets([65], 64)


# --- one epoch -------------------------------------------------------------------------------------


@given(some_rows(), st.integers(1, 9), st.integers(0, 2**31 - 1), st.integers(0, 50))
def test_an_epoch_holds_every_row_once(rows: Rows, batch_size: int, seed: int, epoch: int) -> None:
    plan = epoch_plan(rows, batch_size=batch_size, seed=seed, epoch=epoch)
    used = np.concatenate([*plan, np.zeros(0, np.int64)])
    assert sorted(used.tolist()) == list(range(len(rows)))
    groups = [groups_in(rows, indices) for indices in plan]
    assert [len(one) for one in groups[:-1]] == [batch_size] * (len(plan) - 1)
    assert all(1 <= len(one) <= batch_size for one in groups)
    everywhere = [group for one in groups for group in one]
    assert len(everywhere) == len(set(everywhere))  # no group in two updates
    for indices in plan:  # rows of a group side by side, in order
        assert all(np.diff(indices)[np.diff(rows.group[indices]) == 0] == 1)


@given(some_rows(least=3), st.integers(1, 9), st.integers(0, 2**31 - 1), st.integers(0, 50))
def test_the_order_is_a_function_of_seed_and_epoch(
    rows: Rows, batch_size: int, seed: int, epoch: int
) -> None:
    np.random.seed(epoch)  # noqa: NPY002 - the global generator must not matter
    first = epoch_plan(rows, batch_size=batch_size, seed=seed, epoch=epoch)
    np.random.seed(epoch + 1)  # noqa: NPY002
    again = epoch_plan(rows, batch_size=batch_size, seed=seed, epoch=epoch)
    assert [one.tolist() for one in first] == [one.tolist() for one in again]


def test_epochs_and_seeds_differ() -> None:
    rows = make_rows(np.random.default_rng(0).integers(1, 40, 500).tolist())
    orders = {
        (seed, epoch): np.concatenate(epoch_plan(rows, batch_size=8, seed=seed, epoch=epoch)).tobytes()
        for seed in range(4)
        for epoch in range(4)
    }
    assert len(set(orders.values())) == 16
    # an update's company changes as well, not only the order of the updates
    first, second = (
        {frozenset(one.tolist()) for one in epoch_plan(rows, batch_size=8, seed=0, epoch=epoch)}
        for epoch in (0, 1)
    )
    assert len(first & second) <= 2


def test_the_order_is_the_same_on_every_platform() -> None:
    rows = make_rows([1 + (7 * index) % 40 for index in range(100)])
    plan = epoch_plan(rows, batch_size=8, seed=42, epoch=3)
    digest = hashlib.sha256(np.concatenate(plan).astype("<i8").tobytes()).hexdigest()
    assert digest == "a788c5119df82342ed840070476734c10315474f56c42956f51ba74b9d2a4798"


def test_an_epoch_of_nothing() -> None:
    rows = make_rows([])
    assert epoch_plan(rows, batch_size=4, seed=0, epoch=0) == []
    assert evaluation_plan(rows, tokens=100, buckets=None) == []
    assert padding_share(rows, [], lambda indices: (1, 1)) == 0.0


def test_the_short_update_is_drawn_and_not_always_the_longest() -> None:
    rows = make_rows(list(range(1, 35)))
    lasts = {tuple(epoch_plan(rows, batch_size=8, seed=0, epoch=epoch)[-1].tolist()) for epoch in range(20)}
    assert len(lasts) > 10


def test_sorting_saves_padding() -> None:
    lengths = np.random.default_rng(1).integers(1, 41, 4000).tolist()
    rows = make_rows(lengths)
    shape = functools.partial(
        update_shape, rows, batch_size=16, accumulate=1, token_budget=10**6, buckets=None
    )
    shuffled = np.random.default_rng(2).permutation(len(rows)).reshape(-1, 16)
    assert padding_share(rows, list(shuffled), shape) > 0.4
    assert padding_share(rows, epoch_plan(rows, batch_size=16, seed=0, epoch=0), shape) < 0.05


# --- the arrays of an update -----------------------------------------------------------------------

settings = st.fixed_dictionaries(
    {
        "batch_size": st.integers(1, 9),
        "accumulate": st.integers(1, 10),
        "token_budget": st.integers(1, 600),
        "buckets": buckets_or_none,
    }
)


def check_rows(rows: Rows, arrays: dict, indices: IntArray) -> None:
    """Every slot is one row, complete and padded with zeros, or padding."""
    assert sorted(arrays["row"][arrays["row"] >= 0].tolist()) == sorted(indices.tolist())
    assert arrays["token_ids"].dtype == arrays["segment_ids"].dtype == arrays["lengths"].dtype == np.int32
    assert arrays["weight"].dtype == np.float32
    assert arrays["row"].dtype == np.int64
    assert arrays["weight"].sum() == len(indices)
    for place in np.ndindex(arrays["row"].shape):
        row, length = int(arrays["row"][place]), int(arrays["lengths"][place])
        tokens = arrays["token_ids"][place]
        assert not tokens[length:].any()
        if row < 0:
            assert length == 1
            assert tokens[0] > 0
            assert arrays["weight"][place] == 0
            assert arrays["label"][place] == 0
            assert not arrays["spans"][place].any()
        else:
            assert arrays["weight"][place] == 1
            assert tokens[:length].tolist() == list(range(1 + row * 100, 1 + row * 100 + rows.lengths[row]))
            assert arrays["segment_ids"][place][:length].tolist() == [index % 2 for index in range(length)]
            assert arrays["label"][place] == 7 + row
            assert arrays["spans"][place].tolist() == [2 * row + 1, 2 * row + 2]


@given(some_rows(least=1), settings, st.integers(0, 100))
def test_an_update_holds_its_rows(rows: Rows, options: dict, seed: int) -> None:
    for indices in epoch_plan(rows, batch_size=options["batch_size"], seed=seed, epoch=0):
        arrays = update_arrays(rows, indices, **options)
        micro, width, length = update_shape(rows, indices, **options)
        assert arrays["token_ids"].shape == (micro, width, length)
        assert arrays["spans"].shape == (micro, width, 2)
        assert micro >= min(options["accumulate"], options["batch_size"])
        assert width * length <= options["token_budget"] or width == rows.largest_group
        check_rows(rows, arrays, indices)
        homes: dict[int, set[int]] = {}
        for number, row in zip(*np.nonzero(arrays["row"] >= 0), strict=True):
            homes.setdefault(int(rows.group[arrays["row"][number, row]]), set()).add(int(number))
        assert all(len(home) == 1 for home in homes.values())  # no group in two micro-batches


@given(some_rows(least=1), settings)
def test_one_shape_a_bucket(rows: Rows, options: dict) -> None:
    options |= {"buckets": BUCKETS}
    shapes = set()
    for epoch in range(3):
        for indices in epoch_plan(rows, batch_size=options["batch_size"], seed=1, epoch=epoch):
            shapes.add(update_arrays(rows, indices, **options)["token_ids"].shape)
    assert len(shapes) == len({shape[-1] for shape in shapes}) <= len(BUCKETS)


@pytest.mark.parametrize(
    ("accumulate", "token_budget", "expected"),
    [
        (1, 10**6, (1, 32)),
        (4, 10**6, (4, 8)),
        (5, 10**6, (6, 6)),  # at least 5, none empty
        (1, 20 * 24, (2, 16)),  # 20 rows would fit: two even halves
        (1, 1, (32, 1)),  # never below one row
        (64, 10**6, (32, 1)),
    ],
)
def test_micro_batches_by_hand(accumulate: int, token_budget: int, expected: tuple[int, int]) -> None:
    rows = make_rows([20] * 32)
    shape = update_shape(
        rows,
        np.arange(32),
        batch_size=32,
        accumulate=accumulate,
        token_budget=token_budget,
        buckets=BUCKETS,
    )
    assert shape == (*expected, 24)


def test_rows_that_fit_nowhere_are_refused() -> None:
    rows = make_rows([20] * 4)
    options = {"accumulate": 1, "token_budget": 1000}
    with pytest.raises(ValueError, match="fits no bucket"):
        update_arrays(rows, np.arange(4), batch_size=4, buckets=(8, 16), **options)
    with pytest.raises(ValueError, match="4 groups do not fit"):
        update_arrays(rows, np.arange(4), batch_size=2, buckets=None, **options)


def test_reserved_column_names_are_refused() -> None:
    rows = make_rows([2, 3])
    clash = Rows(rows.offsets, rows.tokens, {"weight": rows.record}, rows.record, rows.group)
    with pytest.raises(ValueError, match="weight"):
        batch_arrays(clash, np.arange(2), tokens=100, buckets=None)


# --- host and device -------------------------------------------------------------------------------


def test_a_batch_is_split_into_what_the_device_needs_and_what_the_host_reads() -> None:
    rows = replace(make_rows([2, 3]), host_columns=frozenset({"segment_ids", "spans"}))
    batch = batch_arrays(rows, np.arange(2), tokens=100, buckets=None)
    device, host = split_batch(batch, rows.host_columns)
    assert set(device) == {"token_ids", "label", "lengths", "weight"}
    assert set(host) == {"row", "segment_ids", "spans"}
    assert all(batch[name] is values for name, values in {**device, **host}.items())


def test_a_batch_of_other_rows_is_not_split() -> None:
    batch = batch_arrays(make_rows([2, 3]), np.arange(2), tokens=100, buckets=None)
    with pytest.raises(ValueError, match="no column starts"):
        split_batch(batch, frozenset({"row", "starts"}))


# --- evaluation ------------------------------------------------------------------------------------


@given(some_rows(least=1), st.integers(1, 600), buckets_or_none)
def test_evaluation_holds_every_row_once(rows: Rows, tokens: int, buckets: tuple[int, ...] | None) -> None:
    plan = evaluation_plan(rows, tokens=tokens, buckets=buckets)
    assert sorted(np.concatenate(plan).tolist()) == list(range(len(rows)))
    assert sum(len(groups_in(rows, indices)) for indices in plan) == len(rows.group_starts) - 1
    longest = [int(rows.lengths[indices].max()) for indices in plan]
    assert longest == sorted(longest, reverse=True)
    shapes = set()
    for indices in plan:
        arrays = batch_arrays(rows, indices, tokens=tokens, buckets=buckets)
        width, length = batch_shape(rows, indices, tokens=tokens, buckets=buckets)
        assert arrays["token_ids"].shape == (width, length)
        assert width * length <= tokens or width <= rows.largest_group
        check_rows(rows, arrays, indices)
        shapes.add((width, length))
    if buckets is not None:
        assert len(shapes) <= len(buckets)


def test_padding_share_by_hand() -> None:
    rows = make_rows([4, 2, 8])
    plan = [np.array([0, 1]), np.array([2])]
    assert (
        padding_share(rows, plan, functools.partial(batch_shape, rows, tokens=16, buckets=None))
        == 1 - 14 / 16
    )
    # buckets: 16 tokens are two rows of 8, one of them padding in the second batch
    assert (
        padding_share(rows, plan, functools.partial(batch_shape, rows, tokens=16, buckets=(8,)))
        == 1 - 14 / 32
    )
