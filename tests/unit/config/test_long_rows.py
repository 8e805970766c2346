"""Settings that go together with long rows: positions, budgets, forms of attention."""

from __future__ import annotations

from pathlib import Path

import pytest

from clue_runner.adapters.sections import load_run
from clue_runner.checkpoints.importer import read_settings
from clue_runner.errors import UsageError

HIERARCHICAL = "model.positions=hierarchical"
FUSED = ["model.attention=fused", "backend=jax", "model.attention_dropout=0", "model.num_heads=13"]


def mistakes(*overrides: str, model: str | None = None) -> str:
    with pytest.raises(UsageError) as refused:
        load_run(task="iflytek", card_settings={}, model=model, overrides=overrides)
    return str(refused.value)


def test_rows_past_the_table_need_stretched_positions() -> None:
    text = mistakes("data.max_length=1024")
    assert "data.max_length (--set), model.max_positions (model tiny)" in text
    assert "--set model.positions=hierarchical reads up to 262,144" in text
    run = load_run(task="iflytek", card_settings={}, overrides=["data.max_length=1024", HIERARCHICAL])
    assert (run.model.position_limit, run.model.max_positions) == (262144, 512)


def test_stretched_positions_end_at_the_square() -> None:
    budgets = ["train.token_budget=300000", "train.evaluate_tokens=300000", HIERARCHICAL]
    text = mistakes("data.max_length=262145", *budgets)
    assert "up to 262,144" in text and "fix" not in text
    load_run(task="iflytek", card_settings={}, overrides=["data.max_length=262144", *budgets])


@pytest.mark.parametrize("alpha", ["0.5", "0.50001", "0", "1"])
def test_shares_that_make_positions_alike_are_refused(alpha: str) -> None:
    assert "above 0 below 1, not 0.5" in mistakes(f"model.positions_alpha={alpha}")


def test_a_model_without_a_table_has_nothing_to_stretch() -> None:
    assert "of models of the family albert, bert, " in mistakes(HIERARCHICAL, model="dgcnn")
    assert "hierarchical" not in mistakes("data.max_length=5000", model="dgcnn")


@pytest.mark.parametrize("golden", ["nezha", "roformer", "deberta"])
def test_positions_that_are_computed_cannot_be_stretched_and_reach_any_length(golden: str) -> None:
    folder = Path(__file__).parents[2] / "goldens" / "encoders" / golden
    model = {"task": "iflytek", "card_settings": {}, "model": str(folder), "checkpoint_reader": read_settings}
    run = load_run(**model, overrides=["data.max_length=900"])
    assert run.model.position_limit > 10**9
    with pytest.raises(UsageError, match="no position table to extend: its rows may be of any length"):
        load_run(**model, overrides=[HIERARCHICAL])


def test_a_model_without_attention_has_no_form_of_it() -> None:
    assert "of models of the family albert, bert, " in mistakes("model.attention=fused", model="dgcnn")
    load_run(task="iflytek", card_settings={}, model="dgcnn")


def test_a_budget_must_hold_a_row_and_says_which() -> None:
    text = mistakes("data.max_length=9000", HIERARCHICAL)
    assert "--set train.token_budget=9000" in text and "--set train.evaluate_tokens=9000" in text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("backend=tensorflow", "needs JAX"),
        ("device=cpu", "needs a GPU"),
        ("train.precision=float32", "computes in bfloat16"),
        ("model.num_heads=12", "cannot take heads of this width"),
        ("model.attention_dropout=0.1", "--set model.attention_dropout=0"),
    ],
)
def test_the_fused_kernel_is_never_asked_for_in_vain(change: str, expected: str) -> None:
    load_run(task="iflytek", card_settings={}, overrides=FUSED)
    assert expected in mistakes(*FUSED, change)
