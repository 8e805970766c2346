"""One file to splits: shares of every label, equal texts together, the same for the same seed."""

from __future__ import annotations

from collections import Counter

from clue_runner.data.division import divide

SHARES = {"train": 0.8, "dev": 0.1, "test": 0.1}


def test_every_label_is_divided_in_its_share() -> None:
    labels = ["a"] * 100 + ["b"] * 50 + ["c"] * 10
    divided = divide(list(range(160)), labels, SHARES, seed=42)
    assert sorted(sum(divided.values(), [])) == list(range(160))
    counts = {name: Counter(labels[number] for number in numbers) for name, numbers in divided.items()}
    assert counts == {
        "train": {"a": 80, "b": 40, "c": 8},
        "dev": {"a": 10, "b": 5, "c": 1},
        "test": {"a": 10, "b": 5, "c": 1},
    }
    assert all(numbers == sorted(numbers) for numbers in divided.values())


def test_the_seed_decides() -> None:
    labels = ["a", "b"] * 50
    first, again, other = (divide(list(range(100)), labels, SHARES, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_equal_texts_stay_together() -> None:
    texts = [number // 5 for number in range(100)]
    divided = divide(texts, ["a", "b"] * 50, SHARES, seed=7)
    homes = [{texts[number] for number in numbers} for numbers in divided.values()]
    assert not homes[0] & homes[1] and not homes[0] & homes[2] and not homes[1] & homes[2]
    assert all(homes)


def test_a_rare_label_stays_in_train() -> None:
    divided = divide(list(range(12)), ["a"] * 10 + ["b"] * 2, SHARES, seed=3)
    assert {10, 11} <= set(divided["train"])


def test_the_first_split_keeps_some_of_every_label() -> None:
    for seed in range(20):
        divided = divide([0] * 30 + [1, 2, 3], ["a"] * 33, SHARES, seed=seed)
        assert divided["train"]
