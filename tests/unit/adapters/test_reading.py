from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clue_runner.adapters.base import Prediction, load_adapter
from clue_runner.adapters.reading import Window
from clue_runner.adapters.sections import load_run
from clue_runner.config.schema import Run
from clue_runner.config.shipped import shipped_folder
from clue_runner.data.cards import Card, find_card, recommended_settings
from clue_runner.data.locate import locate
from clue_runner.data.records import Answer, ReadingRecord, Records
from clue_runner.errors import DataError
from clue_runner.submission.check import check_file
from clue_runner.tokens.batches import batch_arrays, evaluation_plan
from clue_runner.tokens.rows import Rows
from clue_runner.tokens.tokenizer import Tokenizer
from clue_runner.training.answers import predictions_bytes


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(shipped_folder("configs") / "models" / "vocab" / "zh.txt", lowercase=True)


@pytest.fixture
def card() -> Card:
    return find_card("cmrc2018")


def settings(*overrides: str, task: str = "cmrc2018") -> Run:
    card = find_card(task)
    return load_run(
        task=task, card_settings=recommended_settings(card), model="test", overrides=list(overrides)
    )


def records_of(*items: ReadingRecord) -> Records[ReadingRecord]:
    return Records("dev", items, "dev.json", "", len(items))


def record(context: str, question: str = "谁？", answer: str | None = None, name: str = "Q") -> ReadingRecord:
    answers = () if answer is None else (Answer(answer, context.index(answer)),)
    return ReadingRecord(name, context, question, answers)


def chinese(count: int) -> str:
    """As many different characters, each one token."""
    return "".join(bytes([0xB0 + index // 94, 0xA1 + index % 94]).decode("gb2312") for index in range(count))


def oracle(rows: Rows) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A network that points at the label of each window: sure of it, or sure of "not here"."""

    def outputs(batch: dict[str, Any]) -> dict[str, Any]:
        answer = np.where(batch["row"][:, None] >= 0, batch["answer"], 0)
        here = answer[:, :1] > 0
        text = np.where(here, answer, batch["text_start"][:, None])
        return {
            "best_first": text[:, :1].astype(np.int32),
            "best_last": text[:, 1:].astype(np.int32),
            "best_scores": np.where(here, np.log(0.9), np.log(0.01)).astype(np.float32),
        }

    return outputs


def answers_of(
    rows: Rows,
    records: Records[ReadingRecord],
    card: Card,
    outputs: Callable[[dict[str, Any]], dict[str, Any]],
    tokens: int = 4096,
) -> list[Prediction]:
    partials: dict[int, Any] = {}
    for indices in evaluation_plan(rows, tokens=tokens, buckets=None):
        batch = batch_arrays(rows, indices, tokens=tokens, buckets=None)
        partials |= dict(
            zip(batch["row"].tolist(), load_adapter(card).decode_batch(outputs(batch), batch), strict=True)
        )
    return list(load_adapter(card).merge(partials, rows, records))


# ---------------------------------------------------------------------------- encode


def test_the_window_hand_case(card: Card, tokenizer: Tokenizer) -> None:
    """1,000 characters, a question of 20, rows of 512: windows of 489, 128 apart, five of them."""
    context = chinese(1020)
    question, context = context[:20], context[20:]
    records = records_of(record(context, question, context[600:610]))
    rows = load_adapter(card, settings()).encode(records, tokenizer)
    assert rows.lengths.tolist() == [512] * 4 + [20 + 3 + 1000 - 4 * 128]
    assert rows.columns["text_start"].tolist() == [22] * 5
    assert rows.record.tolist() == [0] * 5 and rows.group.tolist() == list(range(5))
    starts = [rows.tokens["starts"][offset + 22] for offset in rows.offsets[:-1]]
    assert starts == [0, 128, 256, 384, 512]
    # the answer's characters 600 to 609 stand in the windows that begin at 128 ... 512
    places = [22 + 600 - begin for begin in starts]
    assert rows.columns["answer"].tolist() == [[0, 0], *([place, place + 9] for place in places[1:])]
    assert len(load_adapter(card).epoch_rows(rows, 42, 0)) == 5


@pytest.mark.parametrize("max_length", [8, 20, 48, 512])
def test_windows_cover_the_text_and_fit_whatever_the_settings(
    card: Card, tokenizer: Tokenizer, max_length: int
) -> None:
    records = records_of(record(chinese(300), chinese(90)), record("短", ""))
    rows = load_adapter(card, settings(f"data.max_length={max_length}")).encode(records, tokenizer)
    assert rows.lengths.max() <= max_length
    seen = {
        int(start)
        for row in np.flatnonzero(rows.record == 0)
        for start in rows.tokens["starts"][rows.offsets[row] : rows.offsets[row + 1]]
    }
    assert seen == {-1, *range(300)}
    assert (rows.columns["answer"] == -1).all()  # no labels
    assert rows.notes[f"questions cut to {min(64, (max_length - 3) // 2)} tokens"] == 1


@pytest.mark.parametrize(
    ("context", "answer"),
    [
        ("他在2010年加入POPSICLE乐团。", "2010年"),
        ("他在2010年加入POPSICLE乐团。", "POPSICLE"),
        ("Ａｔ Café Zürich，𠮷野家", "Café Zürich"),
        ("Ａｔ Café Zürich，𠮷野家", "𠮷野家"),
        ("一\u200b二\u3000三\n四", "二\u3000三\n四"),
        ("“引号”……结束", "“引号”……"),
    ],
)
def test_answers_are_cut_from_the_raw_text(
    card: Card, tokenizer: Tokenizer, context: str, answer: str
) -> None:
    """Upper case, accents, invisible characters and characters outside the vocabulary stay as they are."""
    records = records_of(record(context, answer=answer))
    rows = load_adapter(card, settings()).encode(records, tokenizer)
    assert answers_of(rows, records, card, oracle(rows))[0].prediction == answer
    assert rows.notes == {}


def test_an_answer_inside_a_token_is_trained_on_the_tokens_it_touches(
    card: Card, tokenizer: Tokenizer
) -> None:
    records = records_of(record("于1984年开始", answer="984年"), record("共 三人 。", answer=" 三人 "))
    rows = load_adapter(card, settings()).encode(records, tokenizer)
    found = [one.prediction for one in answers_of(rows, records, card, oracle(rows))]
    assert found[0].endswith("984年") and found[1] == "三人"
    assert rows.notes == {"answers that do not end at token boundaries, trained on the tokens they touch": 2}


def test_questions_without_an_answer_in_the_text_are_left_out_of_training(
    card: Card, tokenizer: Tokenizer
) -> None:
    free = ReadingRecord("F", "天津在河北。", "哪？", (Answer("直隶", None),))
    both = ReadingRecord("B", "天津在河北。", "哪？", (Answer("直隶", None), Answer("河北", 3)))
    space = ReadingRecord("S", "天津 在河北。", "哪？", (Answer(" ", 2),))
    rows = load_adapter(card, settings()).encode(records_of(free, both, space), tokenizer)
    assert rows.columns["answer"].tolist() == [[-1, -1], [3 + 2 + 2, 4 + 2 + 2], [-1, -1]]
    assert load_adapter(card).epoch_rows(rows, 42, 0).record.tolist() == [1]
    with pytest.raises(DataError, match="nothing to train on"):
        load_adapter(card).epoch_rows(
            load_adapter(card, settings()).encode(records_of(free), tokenizer), 42, 0
        )


def test_traditional_texts_are_read_as_simplified_and_answered_as_they_are(tokenizer: Tokenizer) -> None:
    card = find_card("drcd")
    records = records_of(record("於是蘋果電腦後來發展臺灣市場。", "發展哪裡？", "臺灣市場"))
    plain = records_of(record("于是苹果电脑后来发展台湾市场。", "发展哪里？", "台湾市场"))
    rows = load_adapter(card, settings(task="drcd")).encode(records, tokenizer)
    same = load_adapter(find_card("cmrc2018"), settings()).encode(plain, tokenizer)
    assert rows.tokens["token_ids"].tolist() == same.tokens["token_ids"].tolist()
    assert answers_of(rows, records, card, oracle(rows))[0].prediction == "臺灣市場"
    kept = load_adapter(card, settings("data.simplify=false", task="drcd")).encode(records, tokenizer)
    assert kept.tokens["token_ids"].tolist() != rows.tokens["token_ids"].tolist()


@pytest.mark.parametrize("task", ["cmrc2018", "drcd"])
@pytest.mark.parametrize("max_length", [32, 512])
def test_every_sample_answer_goes_to_tokens_and_back(
    task: str, max_length: int, tokenizer: Tokenizer
) -> None:
    card = find_card(task)
    records = load_adapter(card).read(locate(card, "sample"), "dev")
    rows = load_adapter(card, settings(f"data.max_length={max_length}", task=task)).encode(records, tokenizer)
    found = answers_of(rows, records, card, oracle(rows))
    for one, given in zip(records.items, found, strict=True):
        assert one.target is not None and given.prediction == one.target.text
    assert load_adapter(card).score(found, records).score == 100.0


# ---------------------------------------------------------------------------- decode and merge


def window(*spans: tuple[int, int, float]) -> Window:
    starts, ends, scores = zip(*spans, strict=True) if spans else ((), (), ())
    return Window(list(starts), list(ends), [float(np.log(score)) for score in scores])


def merged(card: Card, owners: list[int], partials: Any, records: Records[ReadingRecord]) -> Any:
    """Return the answers from windows whose records are ``owners``."""
    count = len(owners)
    order = np.arange(count + 1, dtype=np.int64)
    rows = Rows(order, {"token_ids": np.ones(count, np.int32)}, {}, np.array(owners), order[:-1])
    return load_adapter(card).merge(partials, rows, records)


CONTEXT = "甲乙丙丁甲乙"


@pytest.fixture
def three() -> Records[ReadingRecord]:
    return records_of(*(record(CONTEXT, answer="乙丙", name=name) for name in "CAB"))


def test_the_best_window_wins_and_the_order_is_the_files(card: Card, three: Records[ReadingRecord]) -> None:
    partials = {
        3: window((0, 1, 0.9)),
        1: window((1, 3, 0.5), (0, 2, 0.2)),
        0: window((2, 3, 0.3), (4, 6, 0.25)),
        2: window((3, 4, 0.1)),
        -1: window((0, 6, 1.0)),
    }
    answers = merged(card, [0, 0, 1, 2], partials, three)
    assert [(one.id, one.prediction) for one in answers] == [("C", "乙丙"), ("A", "丁"), ("B", "甲")]
    # 甲乙 appears twice; it counts its better span
    first = answers[0]
    assert [text for text, _ in first.alternatives] == ["乙丙", "丙", "甲乙"]
    assert [chance for _, chance in first.alternatives] == pytest.approx([0.5, 0.3, 0.25])
    assert first.probability == pytest.approx(0.5)


def test_of_equal_spans_the_earlier_window_wins(card: Card) -> None:
    records = records_of(record(CONTEXT))
    partials = {1: window((1, 2, 0.5)), 0: window((0, 1, 0.5))}
    assert merged(card, [0, 0], partials, records)[0].prediction == "甲"


def test_a_lost_window_is_our_bug(card: Card, three: Records[ReadingRecord]) -> None:
    owners = [0, 0, 1, 2]
    whole = {0: window((0, 1, 0.5)), 1: window((0, 1, 0.5)), 2: window(), 3: window()}
    assert len(merged(card, owners, whole, three)) == 3
    for lost in whole:
        with pytest.raises(RuntimeError, match="1 of 4 windows have no prediction"):
            merged(card, owners, {row: one for row, one in whole.items() if row != lost}, three)
    with pytest.raises(RuntimeError, match="of 4 windows"):
        merged(card, owners, whole | {4: window()}, three)


def test_masked_spans_are_no_candidates(card: Card, tokenizer: Tokenizer) -> None:
    records = records_of(record("甲"), record(" \n"))
    rows = load_adapter(card, settings()).encode(records, tokenizer)

    def outputs(batch: dict[str, Any]) -> dict[str, Any]:
        scores = np.full((len(batch["row"]), 2), -1e9, np.float32)
        scores[batch["row"] == 0, 0] = -0.5
        place = np.repeat(batch["text_start"][:, None], 2, axis=1)
        return {"best_first": place, "best_last": place, "best_scores": scores}

    first, empty = answers_of(rows, records, card, outputs)
    assert (first.prediction, len(first.alternatives)) == ("甲", 1)
    assert (empty.prediction, empty.probability, empty.alternatives) == ("", 0.0, ())


def test_ensemble_averages_the_listed_answers(card: Card, three: Records[ReadingRecord]) -> None:
    def member(**chances: float) -> list[Prediction]:
        listed = tuple(sorted(chances.items(), key=lambda item: -item[1]))
        return [Prediction(one.id, *listed[0], alternatives=listed) for one in three.items]

    joint = load_adapter(card).ensemble([member(甲=0.6, 乙=0.3), member(丙=0.5, 乙=0.45)], three)
    assert [one.prediction for one in joint] == ["乙"] * 3
    assert joint[0].probability == pytest.approx(0.375)
    with pytest.raises(DataError, match="run 2 of the ensemble answers records other"):
        load_adapter(card).ensemble([member(甲=1.0), member(甲=1.0)[::-1]], three)


# ---------------------------------------------------------------------------- score and submit


def test_scores_as_the_published_script_counts(card: Card, three: Records[ReadingRecord]) -> None:
    given = [Prediction("C", "乙丙。"), Prediction("A", "乙丙丁甲"), Prediction("B", "丁")]
    scores = load_adapter(card).score(given, three)
    assert scores.main == "exact_match" and scores.score == pytest.approx(100 / 3)
    assert scores.values["f1"] == pytest.approx(100 * (1 + 2 / 3) / 3)
    assert scores.values["average"] == pytest.approx((scores.score + scores.values["f1"]) / 2)
    low, high = scores.confidence_interval
    assert 0 <= low < scores.score < high <= 100 and 0 <= scores.chance < 100
    by_f1 = load_adapter(card.model_copy(update={"metric": "f1"})).score(given, three)
    assert by_f1.score == scores.values["f1"]


def test_score_needs_answers_and_order(card: Card, three: Records[ReadingRecord]) -> None:
    with pytest.raises(DataError, match=r"dev\.json: a split without answers"):
        load_adapter(card).score([Prediction("Q", "甲")], records_of(record(CONTEXT)))
    with pytest.raises(RuntimeError, match="order"):
        load_adapter(card).score([Prediction(name, "甲") for name in "ABC"], three)


def test_the_submission_is_one_object_in_file_order(card: Card) -> None:
    records = load_adapter(card).read(locate(card, "sample"), "test")
    given = [Prediction(one.id, one.context[:3]) for one in records.items]
    raw = load_adapter(card).submit(given, card.submissions[0])
    assert list(json.loads(raw)) == [one.id for one in records.items]
    assert check_file(card, card.submissions[0], raw, records, sample=True) == []


def test_predictions_carry_the_best_answers(card: Card) -> None:
    given = [Prediction("Q", "甲", 0.5, alternatives=(("甲", 0.5), ("乙", 0.25)))]
    line = json.loads(predictions_bytes(given, probabilities=True))
    assert line["n_best"] == [
        {"prediction": "甲", "probability": 0.5},
        {"prediction": "乙", "probability": 0.25},
    ]
    assert set(json.loads(predictions_bytes(given, probabilities=False))) == {"id", "prediction"}


# ---------------------------------------------------------------------------- bad input, as a user meets it


def data_folder(tmp_path: Path, change: Callable[[str], str]) -> Path:
    card = find_card("cmrc2018")
    for split in ("train", "dev", "test"):
        text = (card.folder / "sample" / f"{split}.json").read_text(encoding="utf-8")
        (tmp_path / f"{split}.json").write_text(change(text) if split == "train" else text, encoding="utf-8")
    return tmp_path


def strange_answer(text: str) -> str:
    document = json.loads(text)
    document["data"][2]["paragraphs"][0]["qas"][0]["answers"][0]["text"] = "此语不在文中"
    return json.dumps(document, ensure_ascii=False, indent=1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (strange_answer, "the answer '此语不在文中' is not in the context"),
        (lambda text: text[: len(text) // 2], "train.json:"),
    ],
    ids=["strange answer", "cut"],
)
def test_bad_files_are_named_with_their_line(
    clue: Callable[..., Any], tmp_path: Path, change: Callable[[str], str], told: str
) -> None:
    folder = data_folder(tmp_path, change)
    outcome = clue(
        "train", "--task", "cmrc2018", "--model", "test", "--data", folder, "--output", tmp_path / "r"
    )
    assert outcome.exit_code == 3
    assert told in outcome.stderr and "Traceback" not in outcome.stderr
    assert any(char.isdigit() for char in outcome.stderr.split("train.json:")[1][:6])


def test_training_on_a_zip_without_train_names_the_file(clue: Callable[..., Any], tmp_path: Path) -> None:
    folder = data_folder(tmp_path, lambda text: text)
    (folder / "train.json").unlink()
    outcome = clue("train", "--task", "drcd", "--model", "test", "--data", folder, "--output", tmp_path / "r")
    assert outcome.exit_code == 3 and "train.json" in outcome.stderr


def test_a_row_longer_than_the_positions_is_refused(clue: Callable[..., Any], tmp_path: Path) -> None:
    outcome = clue(
        *("train", "--task", "cmrc2018", "--model", "test", "--data", "sample"),
        *("--set", "data.max_length=1024", "--output", tmp_path / "r"),
    )
    assert outcome.exit_code == 2
    assert "data.max_length" in outcome.stderr and "model.max_positions" in outcome.stderr
