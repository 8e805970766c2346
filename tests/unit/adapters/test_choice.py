from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from clue_runner.adapters.base import Prediction, load_adapter
from clue_runner.adapters.sections import load_run
from clue_runner.config.schema import Run
from clue_runner.config.shipped import shipped_folder
from clue_runner.data.cards import Card, Template, find_card
from clue_runner.data.records import ChoiceRecord, Records
from clue_runner.errors import DataError, NotFiniteError
from clue_runner.tokens.batches import batch_arrays, epoch_plan, evaluation_plan, update_arrays
from clue_runner.tokens.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(Path(shipped_folder("configs")) / "models" / "vocab" / "zh.txt", lowercase=True)


@pytest.fixture(scope="module")
def card() -> Card:
    return find_card("c3")


def run_of(max_length: int = 64, *settings: str) -> Run:
    overrides = [f"data.max_length={max_length}", *settings]
    return load_run(task="c3", card_settings={}, model="test", configs=[], overrides=overrides, flags={})


def merged(card: Card, partials: Any, records: Any, *settings: str) -> Any:
    """Return what the adapter makes of partial results; it does not look at the rows."""
    run = run_of(64, *settings) if settings else None
    return load_adapter(card, run).merge(partials, cast(Any, None), records)


def questions(*sizes: int, answered: bool = True) -> Records[ChoiceRecord]:
    items = [
        ChoiceRecord(
            10 - number,
            ("男：你好吗？", "女：很好。"),
            "谁好？",
            tuple("甲乙丙丁戊己庚辛壬癸"[:size]),
            number % size if answered else None,
            number,
        )
        for number, size in enumerate(sizes)
    ]
    return Records("dev", items, "dev.json", "", len(items))


def scores(records: Records[ChoiceRecord], values: list[float]) -> list[Prediction]:
    return list(merged(find_card("c3"), dict(enumerate(values)), records))


def test_a_choice_is_a_row_and_a_question_a_group(card: Card, tokenizer: Tokenizer) -> None:
    rows = load_adapter(card, run_of()).encode(questions(2, 4, 10), tokenizer)
    assert rows.group.tolist() == rows.record.tolist() == [0] * 2 + [1] * 4 + [2] * 10
    assert rows.columns["choice"].tolist() == [0, 1, 0, 1, 2, 3, *range(10)]
    assert rows.columns["label"].tolist() == [1, 0, 0, 1, 0, 0, 0, 0, 1, *[0] * 7]
    assert rows.columns["label"].dtype == rows.columns["choice"].dtype == np.int32
    assert rows.largest_group == 10 and rows.notes == {}
    bare = load_adapter(card, run_of()).encode(questions(2, answered=False), tokenizer)
    assert bare.columns["label"].tolist() == [-1, -1]


def test_layout_of_a_row(card: Card, tokenizer: Tokenizer) -> None:
    rows = load_adapter(card, run_of()).encode(questions(2), tokenizer)
    end = int(rows.offsets[1])
    pieces = tokenizer.pieces(cast(Any, rows.tokens["token_ids"][:end]))
    text = "[CLS]|男|：|你|好|吗|？|女|：|很|好|。|[SEP]|谁|好|？|[SEP]|甲|[SEP]"
    assert "|".join(pieces) == text
    second = pieces.index("[SEP]") + 1
    assert rows.tokens["segment_ids"][:end].tolist() == [0] * second + [1] * (end - second)
    zero = load_adapter(card, run_of(64, "model.segments=zero")).encode(questions(2), tokenizer)
    assert not zero.tokens["segment_ids"].any()


def test_turns_are_joined_as_the_card_says(card: Card, tokenizer: Tokenizer) -> None:
    template = Template(parts=["{question}", "{passage|join(|)}", "{choice}"])
    barred = card.model_copy(update={"template": template})
    rows = load_adapter(barred, run_of()).encode(questions(2), tokenizer)
    first = tokenizer.pieces(cast(Any, rows.tokens["token_ids"][: rows.offsets[1]]))
    assert "".join(first) == "[CLS]谁好？[SEP]男：你好吗？|女：很好。[SEP]甲[SEP]"


def test_the_passage_is_cut_and_the_choice_never_is(card: Card, tokenizer: Tokenizer) -> None:
    record = ChoiceRecord(0, ("长" * 80,), "问" * 6, ("短", "选" * 12), 1, 0)
    records = Records("dev", [record], "dev.json", "", 1)
    for room in (30, 20, 18):
        rows = load_adapter(card, run_of(room)).encode(records, tokenizer)
        borders = zip(rows.offsets, rows.offsets[1:], strict=False)
        pieces = [tokenizer.pieces(cast(Any, rows.tokens["token_ids"][a:b])) for a, b in borders]
        texts = ["".join(one) for one in pieces]
        assert texts[0].endswith("[SEP]短[SEP]") and texts[1].endswith("[SEP]" + "选" * 12 + "[SEP]")
        assert rows.lengths.max() == room
        assert rows.notes == {f"cut to {room} tokens": 2}
        assert ("问" * 6 + "[SEP]" in texts[1]) == (room == 30)


def test_a_choice_that_does_not_fit_alone_is_cut(card: Card, tokenizer: Tokenizer) -> None:
    record = ChoiceRecord(0, ("长" * 9,), "问" * 6, ("短", "选" * 40), 1, 0)
    rows = load_adapter(card, run_of(12)).encode(Records("dev", [record], "dev.json", "", 1), tokenizer)
    assert rows.lengths.tolist() == [12, 12]


def test_groups_stay_whole_in_updates_micro_batches_and_predictions(card: Card, tokenizer: Tokenizer) -> None:
    rows = load_adapter(card, run_of()).encode(questions(*([4, 3, 2, 4, 4] * 7), 10), tokenizer)
    sizes = np.diff(rows.group_starts)
    for indices in epoch_plan(rows, batch_size=5, seed=1, epoch=0):
        for buckets in (None, (32, 64)):
            update = update_arrays(
                rows, indices, batch_size=5, accumulate=2, token_budget=800, buckets=buckets
            )
            assert update["row"].shape[0] >= 2
            for micro in update["row"]:
                _assert_whole(micro, rows.group, sizes)
    for tokens, buckets in ((1, None), (200, None), (400, (32, 64)), (100_000, None)):
        plan = evaluation_plan(rows, tokens=tokens, buckets=buckets)
        assert sorted(np.concatenate(plan).tolist()) == list(range(len(rows)))
        for indices in plan:
            _assert_whole(
                batch_arrays(rows, indices, tokens=tokens, buckets=buckets)["row"], rows.group, sizes
            )


def _assert_whole(slots: Any, group: Any, sizes: Any) -> None:
    """Real rows come first, each group's rows together and all of them."""
    real = slots[slots >= 0]
    assert (slots[len(real) :] == -1).all()
    found, counts = np.unique(group[real], return_counts=True)
    assert (counts == sizes[found]).all()
    assert (np.diff(real)[np.diff(group[real]) == 0] == 1).all()


def test_prediction_batches_are_filled_by_rows_and_not_by_the_largest_group(
    card: Card, tokenizer: Tokenizer
) -> None:
    rows = load_adapter(card, run_of()).encode(questions(*([4] * 20), 10), tokenizer)
    length = int(rows.lengths.max())
    sizes = [len(indices) for indices in evaluation_plan(rows, tokens=20 * length, buckets=None)]
    assert max(sizes) == 20 and len(sizes) == 5


def test_a_batch_border_never_changes_an_answer() -> None:
    records = questions(4, 3, 10, 2)
    values = np.random.default_rng(0).normal(size=19).tolist()
    whole = scores(records, values)
    shuffled = dict(sorted(enumerate(values), key=lambda item: -item[0]))
    again = merged(find_card("c3"), {**shuffled, -1: 99.0}, records)
    assert [one.prediction for one in whole] == [one.prediction for one in again]
    assert [one.id for one in whole] == [10, 9, 8, 7]
    assert whole[2].probabilities is not None and whole[2].probabilities.shape == (10,)


def test_more_than_four_choices_can_win_and_a_missing_one_cannot() -> None:
    (many,) = scores(questions(10), [0.0] * 9 + [1.0])
    assert many.prediction == 9
    (few,) = scores(questions(2), [-50.0, -60.0])
    assert few.prediction == 0 and few.probability == pytest.approx(1.0, abs=1e-4)


def test_lost_and_strange_rows_are_our_bug() -> None:
    with pytest.raises(RuntimeError, match=r"dev\.json: 1 of 4 choices"):
        merged(find_card("c3"), {0: 0.0, 1: 0.0, 2: 0.0}, questions(4))
    with pytest.raises(RuntimeError):
        merged(find_card("c3"), dict.fromkeys(range(5), 0.0), questions(4))
    with pytest.raises(NotFiniteError):
        scores(questions(2), [0.0, float("nan")])


def test_ensemble_averages_probabilities() -> None:
    records = questions(3)
    joint = load_adapter(find_card("c3")).ensemble(
        [scores(records, [3.0, 2.0, -9.0]), scores(records, [-9.0, 2.0, 3.0])], records
    )
    assert joint[0].prediction == 0  # of equals the first
    both = load_adapter(find_card("c3")).ensemble(
        [scores(records, [1.0, 0.9, -9.0]), scores(records, [-9.0, 0.9, 1.0])], records
    )
    assert both[0].prediction == 1
    with pytest.raises(DataError, match="run 1 of the ensemble has no probabilities"):
        load_adapter(find_card("c3")).ensemble([[Prediction(10, 0)]], records)


def test_score_beside_the_mean_of_one_over_choices(card: Card) -> None:
    records = questions(2, 4)
    found = load_adapter(card).score([Prediction(10, 0), Prediction(9, 3)], records)
    assert found.score == 50.0 and found.chance == pytest.approx(37.5) and found.examples == 2
    low, high = found.confidence_interval
    assert low == 0.0 and high == 100.0
    digits = load_adapter(card).score([Prediction(10, "0"), Prediction(9, "1")], records)
    assert digits.score == 100.0


@pytest.mark.parametrize("wrong", [4, -1, "甲", None, True, 1.0])
def test_an_answer_that_is_no_index_is_refused(card: Card, wrong: Any) -> None:
    with pytest.raises(DataError, match="dev.json, id 10: the answer is not an index"):
        load_adapter(card).score([Prediction(10, wrong)], questions(4))


def test_unanswered_splits_cannot_be_scored(card: Card) -> None:
    with pytest.raises(DataError, match="without answers"):
        load_adapter(card).score([Prediction(10, 0)], questions(4, answered=False))


def test_submission_is_the_index_as_a_number(card: Card) -> None:
    raw = load_adapter(card).submit([Prediction(7, 2), Prediction(3, 0)], card.submissions[0])
    assert raw == b'{"id":7,"label":2}\n{"id":3,"label":0}\n'
