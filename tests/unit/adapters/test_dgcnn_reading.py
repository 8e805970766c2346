"""The reader's adapter: settings that reach it, answers with evidence, the joint answer of several runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clue_runner.adapters.base import Prediction, load_adapter
from clue_runner.adapters.fitting import require_family
from clue_runner.adapters.sections import load_run
from clue_runner.config.schema import Run
from clue_runner.data.cards import find_card, recommended_settings
from clue_runner.data.locate import locate
from clue_runner.data.records import Passage, PassagesRecord, Records
from clue_runner.errors import DataError, NotFiniteError, UsageError
from clue_runner.metrics.votes import gated_probabilities

CARD = find_card("webqa")


def settings(*overrides: str, task: str = "webqa", model: str | None = None) -> Run:
    card = find_card(task)
    return load_run(
        task=task,
        card_settings=recommended_settings(card),
        model=model,
        configs=[],
        overrides=overrides,
        flags={},
    )


def records(*items: PassagesRecord) -> Records[PassagesRecord]:
    return Records("dev", items, "dev.json", "0", len(items))


def asked(name: str, *texts: str, answers: tuple[str, ...] = ()) -> PassagesRecord:
    return PassagesRecord(name, "谁？", tuple(Passage(text) for text in texts), answers)


def logits(rows: int, length: int, *spans: tuple[int, int, int, float]) -> dict[str, Any]:
    outputs = {
        "gate": np.full(rows, 20.0, np.float32),
        "start": np.full((rows, length), -20.0, np.float32),
        "end": np.full((rows, length), -20.0, np.float32),
    }
    for row, first, last, chance in spans:
        outputs["start"][row, first] = np.log(chance / (1 - chance))
        outputs["end"][row, last] = 20.0
    return outputs


def answer(adapter: Any, found: Records[PassagesRecord], outputs: dict[str, Any]) -> Any:
    lengths = [len(passage.text) for record in found.items for passage in record.passages]
    batch = {"lengths": np.array(lengths, np.int32)}
    return adapter.merge(dict(enumerate(adapter.decode_batch(outputs, batch))), None, found)


def test_the_card_brings_its_own_model() -> None:
    run = settings()
    assert run.model.name == "dgcnn" and run.model.family == "dgcnn" and run.train.optimizer == "radam"
    assert run.train.ema == 0.9999 and load_adapter(CARD, run).settings.max_answer_length == 12
    assert load_adapter(CARD, run).family == "dgcnn"
    other = load_adapter(find_card("afqmc"), settings(task="afqmc"))
    assert other.family is None and other.own_tokenizer({}) is None
    assert other.own_network(vocab_size=9, precision="float32") is None


def test_a_model_of_another_family_is_refused() -> None:
    with pytest.raises(UsageError, match="webqa needs a model of the family dgcnn") as caught:
        require_family(CARD, "base", "bert")
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match="afqmc needs an encoder"):
        require_family(find_card("afqmc"), "dgcnn", "dgcnn")


def test_passages_vote_and_the_evidence_says_where() -> None:
    found = records(asked("a", "我是张三啊", "是李四", "张三"), asked("b"), asked("c", "无"))
    outputs = logits(4, 5, (0, 2, 3, 0.6), (1, 1, 2, 0.85), (2, 0, 1, 0.8))
    first, second, third = answer(load_adapter(CARD), found, outputs)
    assert first.prediction == "张三" and first.probability == pytest.approx((0.36 + 0.64) / 2.4, abs=1e-5)
    assert [one[:3] for one in first.evidence] == [(2, 0, 2), (0, 2, 4)]
    assert (second.prediction, second.evidence) == ("", ()) and third.prediction == ""


def test_settings_decide_the_threshold_the_length_and_the_vote() -> None:
    found = records(asked("a", "我是张三啊", "是李四", "张三"))
    outputs = logits(3, 5, (0, 2, 3, 0.6), (1, 1, 2, 0.9), (2, 0, 1, 0.8))
    by_best = load_adapter(CARD, settings("model.answer_vote=max"))
    assert answer(by_best, found, outputs)[0].prediction == "李四"
    strict = load_adapter(CARD, settings("model.answer_threshold=0.95"))
    assert answer(strict, found, outputs)[0].prediction == ""
    short = load_adapter(CARD, settings("data.max_answer_length=1"))
    assert answer(short, found, outputs)[0].prediction == ""


def test_padding_cannot_hold_an_answer() -> None:
    outputs = logits(1, 9, (0, 7, 8, 0.9))
    assert answer(load_adapter(CARD), records(asked("a", "我是张三啊")), outputs)[0].prediction == ""


def test_logits_that_are_not_numbers_are_refused() -> None:
    outputs = logits(1, 3)
    outputs["gate"][0] = np.nan
    with pytest.raises(NotFiniteError):
        gated_probabilities(**outputs)


def test_several_runs_add_their_votes() -> None:
    adapter, found = load_adapter(CARD), records(asked("a", "x", answers=("甲",)))
    members = [[Prediction("a", text, vote)] for text, vote in (("乙", 0.5), ("甲", 0.3), ("甲", 0.3))]
    joint = adapter.ensemble(members, found)
    assert joint[0].prediction == "甲" and joint[0].probability == pytest.approx(0.2)
    with pytest.raises(DataError, match="run 1"):
        adapter.ensemble([[]], found)


def test_the_vocabulary_is_trains_alone_and_reads_back(tmp_path: Any) -> None:
    run = settings("data.min_count=3")
    adapter = load_adapter(CARD, run)
    splits = {split: adapter.read(locate(CARD, "sample"), split) for split in ("train", "dev")}
    tokenizer: Any = adapter.own_tokenizer(splits)
    counted = "".join(r.question + "".join(p.text for p in r.passages) for r in splits["train"].items)
    assert all(counted.count(one) >= 3 for one in tokenizer.characters)
    path = tmp_path / "vocab.txt"
    path.write_bytes(tokenizer.vocab_bytes)
    again = adapter.load_own_tokenizer(path)
    assert again is not None and again.sha256 == tokenizer.sha256
    with pytest.raises(DataError, match="the vocabulary is empty"):
        load_adapter(CARD, settings("data.min_count=1000000")).own_tokenizer(splits)


def test_a_question_of_the_users_is_a_record() -> None:
    adapter: Any = load_adapter(CARD)
    found = adapter.question_records("谁？", ["甲", "乙"])
    assert len(found) == 1 and found.items[0].passages == (Passage("甲"), Passage("乙"))
    assert found.sha256 != adapter.question_records("谁？", ["甲乙"]).sha256
