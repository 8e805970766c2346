from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from clue_runner.adapters.base import load_adapter
from clue_runner.adapters.sections import load_run
from clue_runner.config.schema import Run
from clue_runner.config.shipped import shipped_folder
from clue_runner.data.cards import find_card
from clue_runner.data.locate import open_sample, open_source
from clue_runner.errors import DataError
from clue_runner.tokens.rows import UNKNOWN_TOKENS, Rows
from clue_runner.tokens.tokenizer import Tokenizer
from clue_runner.training.lenders import answer_by_another, lenders
from clue_runner.training.prepare import (
    encode_records,
    encoding_warnings,
    find_vocabulary,
    padded_lengths,
    read_splits,
)

MakeRun = Callable[..., Run]
CARD = find_card("afqmc")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return Path(shutil.copytree(shipped_folder("tasks") / "afqmc" / "sample", tmp_path / "data"))


def test_sample_counts_are_not_held_against_the_card(make_run: MakeRun) -> None:
    found = read_splits(load_adapter(CARD, make_run()), open_sample(CARD))
    assert found.warnings == ()
    assert not found.complete
    assert {split: len(records) for split, records in found.records.items()} == {
        "train": 1024,
        "dev": 256,
        "test": 64,
    }


def test_gold_answers_that_rows_lose_are_warned_of_with_their_share() -> None:
    def encode(longest: int) -> dict[str, Rows]:
        run = load_run(task="cmrc2018", model="test", overrides=[f"task.max_answer_length={longest}"])
        adapter = load_adapter(find_card("cmrc2018"), run)
        tokenizer = Tokenizer(find_vocabulary(run, None), lowercase=True)
        data = read_splits(adapter, open_sample(adapter.card))
        return {
            split: encode_records(adapter, records, tokenizer, cache=False, warn=pytest.fail)
            for split, records in data.records.items()
        }

    rows = encode(3)
    gold = rows["dev"].gold
    assert 0 < gold.lost < gold.total
    (text,) = (text for text in encoding_warnings(rows) if text.startswith("dev"))
    share = f"dev: {gold.lost} of {gold.total} gold answers ({100 * gold.lost_share:.1f}%)"
    assert text.startswith(share) and "more than 3 tokens" in text
    with pytest.raises(DataError, match="none of the") as caught:
        encode(1)
    assert caught.value.exit_code == 3


def test_other_counts_are_said_for_each_split(make_run: MakeRun, data: Path) -> None:
    found = read_splits(load_adapter(CARD, make_run()), open_source(data, CARD))
    assert len(found.warnings) == 3
    assert "train.json has 1,024 records, the official file has 34,334" in found.warnings[0]
    assert not found.complete


def test_an_odd_test_file_leaves_the_dev_score_comparable(make_run: MakeRun, data: Path) -> None:
    splits = {
        name: split.model_copy(update={"records": [count]})
        for (name, split), count in zip(CARD.splits.items(), (1024, 256, 65), strict=True)
    }
    card = CARD.model_copy(update={"splits": splits})
    found = read_splits(load_adapter(card, make_run()), open_source(data, card))
    assert "test.json has 64 records" in found.warnings[0]
    assert found.complete


def test_the_cards_own_counts_are_complete_unless_limited(make_run: MakeRun, data: Path) -> None:
    splits = {
        name: split.model_copy(update={"records": [count]})
        for (name, split), count in zip(CARD.splits.items(), (1024, 256, 64), strict=True)
    }
    card = CARD.model_copy(update={"splits": splits})
    source = open_source(data, card)
    assert read_splits(load_adapter(card, make_run()), source).complete
    limited = read_splits(load_adapter(card, make_run("data.limit_train=10")), source)
    assert not limited.complete
    assert len(limited.records["train"]) == 10
    assert limited.records["train"].total == 1024
    assert read_splits(load_adapter(card, make_run("data.limit_dev=99999")), source).complete


def test_a_missing_test_file_is_noted_and_a_missing_dev_file_is_an_error(
    make_run: MakeRun, data: Path
) -> None:
    (data / "test.json").unlink()
    found = read_splits(load_adapter(CARD, make_run()), open_source(data, CARD))
    assert found.missing == {"test": "test.json"}
    (data / "dev.json").unlink()
    with pytest.raises(DataError, match="dev.json"):
        read_splits(load_adapter(CARD, make_run()), open_source(data, CARD))


def test_a_missing_train_file_names_the_tasks_that_can_answer(tmp_path: Path) -> None:
    card = find_card("drcd")
    shutil.copytree(card.folder / "sample", tmp_path / "drcd")
    (tmp_path / "drcd" / card.splits["train"].file).unlink()
    with pytest.raises(DataError) as caught:
        read_splits(load_adapter(card, load_run(task="drcd")), open_source(tmp_path / "drcd", card))
    assert "cmrc2018" in str(caught.value) and "--task drcd --split dev" in str(caught.value)


def test_tasks_of_one_kind_and_with_the_same_labels_lend_to_each_other() -> None:
    assert set(lenders(find_card("diagnostics"))) == {"cmnli", "ocnli"}
    assert answer_by_another(find_card("tnews")) is None  # no other task has its labels


def test_rows_are_cached_by_everything_that_decides_them(
    make_run: MakeRun, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLUE_HOME", str(tmp_path / "home"))
    entries = tmp_path / "home" / "cache" / "rows"

    def encode(*overrides: str) -> int:
        run = make_run("data.cache=true", *overrides)
        tokenizer = Tokenizer(find_vocabulary(run, None), run.model.lowercase)
        adapter = load_adapter(CARD, run)
        for records in read_splits(adapter, open_source(data, CARD)).records.values():
            encode_records(adapter, records, tokenizer, cache=True, warn=pytest.fail)
        return len(list(entries.glob("*.npz")))

    assert encode() == 3
    assert encode("train.learning_rate=1", "seed=9") == 3
    assert encode("data.max_length=12") == 6
    assert encode("model.segments=zero") == 9
    assert encode("model.lowercase=false") == 12
    assert encode("data.limit_train=10") == 13
    lines = (data / "train.json").read_text(encoding="utf-8").split("\n")
    first = {**json.loads(lines[0]), "sentence1": "改了一个字"}
    (data / "train.json").write_text(
        "\n".join([json.dumps(first, ensure_ascii=False), *lines[1:]]), encoding="utf-8"
    )
    assert encode() == 14


def test_tokens_that_the_vocabulary_does_not_know_are_noted_for_every_adapter(
    make_run: MakeRun, tmp_path: Path
) -> None:
    whole = (shipped_folder("configs") / "models" / "vocab" / "zh.txt").read_text(encoding="utf-8")
    (tmp_path / "vocab.txt").write_text(whole.replace("\n的\n", "\n[unused100]\n"), encoding="utf-8")
    run = make_run(f"model.vocab={tmp_path / 'vocab.txt'}")
    tokenizer = Tokenizer(find_vocabulary(run, None), run.model.lowercase)
    records = read_splits(load_adapter(CARD, run), open_sample(CARD)).records["train"]
    rows = encode_records(load_adapter(CARD, run), records, tokenizer, cache=False, warn=pytest.fail)
    unknown = int((rows.tokens["token_ids"] == tokenizer.unk_id).sum())
    assert unknown > 0 and rows.notes[UNKNOWN_TOKENS] == unknown


def test_buckets_follow_from_the_train_rows_and_the_setting(make_run: MakeRun, data: Path) -> None:
    run = make_run()
    tokenizer = Tokenizer(find_vocabulary(run, None), run.model.lowercase)
    adapter = load_adapter(CARD, run)
    records = read_splits(adapter, open_sample(CARD)).records["train"]
    rows = encode_records(adapter, records, tokenizer, cache=False, warn=pytest.fail)
    assert padded_lengths(rows, run, jit=False) is None
    assert padded_lengths(rows, make_run("train.lengths=exact"), jit=True) is None
    buckets = padded_lengths(rows, run, jit=True)
    assert buckets is not None
    assert buckets[-1] == 16
    assert padded_lengths(rows, make_run("train.lengths=buckets"), jit=False) == buckets


def test_vocabulary_named_beats_the_checkpoints_beats_the_shipped(make_run: MakeRun, tmp_path: Path) -> None:
    own = tmp_path / "vocab.txt"
    assert find_vocabulary(make_run(), None).name == "zh.txt"
    assert find_vocabulary(make_run(), own) == own
    assert find_vocabulary(make_run(f"model.vocab={tmp_path / 'named.txt'}"), own) == tmp_path / "named.txt"
