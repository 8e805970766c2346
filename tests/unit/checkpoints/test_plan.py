"""The name table and the rules, on made-up and on real tensor names."""

from __future__ import annotations

import time

import pytest

from clue_runner.architectures.bert.names import NAMES
from clue_runner.checkpoints.plan import Wanted, make_plan
from clue_runner.checkpoints.rules import rule_for

LAYOUTS = ["google", "huggingface", "native"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_name_stands_once(layout):
    names = [name for entry in NAMES.entries(12) for name in entry.spellings(layout)]
    assert len(names) == len(set(names))
    assert len(list(NAMES.entries(12))) == 5 + 12 * 16 + 2


def test_our_names_are_stable():
    """Saved runs hold these names; a change here makes them unreadable."""
    names = [entry.ours for entry in NAMES.entries(1)]
    assert names == [
        "backbone/embeddings/word",
        "backbone/embeddings/position",
        "backbone/embeddings/segment",
        "backbone/embeddings/norm/scale",
        "backbone/embeddings/norm/offset",
        "backbone/block_0/attention/query/kernel",
        "backbone/block_0/attention/query/bias",
        "backbone/block_0/attention/key/kernel",
        "backbone/block_0/attention/key/bias",
        "backbone/block_0/attention/value/kernel",
        "backbone/block_0/attention/value/bias",
        "backbone/block_0/attention/output/kernel",
        "backbone/block_0/attention/output/bias",
        "backbone/block_0/attention/norm/scale",
        "backbone/block_0/attention/norm/offset",
        "backbone/block_0/feed_forward/inner/kernel",
        "backbone/block_0/feed_forward/inner/bias",
        "backbone/block_0/feed_forward/outer/kernel",
        "backbone/block_0/feed_forward/outer/bias",
        "backbone/block_0/feed_forward/norm/scale",
        "backbone/block_0/feed_forward/norm/offset",
        "backbone/pooler/kernel",
        "backbone/pooler/bias",
    ]


def found_in(folders, layout, prefix=""):
    wanted = folders.WANTED
    return {
        entry.spellings(layout, prefix)[0]: entry.shape(wanted.axes)[:: -1 if entry.transposed(layout) else 1]
        for entry in wanted.entries()
    }


@pytest.mark.parametrize(
    ("layout", "prefix"), [("google", ""), ("huggingface", ""), ("huggingface", "bert."), ("native", "")]
)
def test_a_whole_checkpoint_maps(folders, layout, prefix):
    plan = make_plan(found_in(folders, layout, prefix), folders.WANTED, layout)
    assert not plan.problems
    assert not plan.absent
    assert sorted(plan.sources) == sorted(entry.ours for entry in NAMES.entries(2))
    assert all(use.used_as for use in plan.report)


def test_hugging_face_kernels_are_swapped_and_tables_are_not(folders):
    plan = make_plan(found_in(folders, "huggingface"), folders.WANTED, "huggingface")
    assert plan.sources["backbone/block_1/feed_forward/inner/kernel"].transposed
    assert not plan.sources["backbone/embeddings/word"].transposed
    assert not any(
        source.transposed
        for source in make_plan(found_in(folders, "google"), folders.WANTED, "google").sources.values()
    )


def test_old_layer_norm_spelling_is_read(folders):
    found = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): shape
        for name, shape in found_in(folders, "huggingface", "bert.").items()
    }
    assert "bert.embeddings.LayerNorm.gamma" in found
    plan = make_plan(found, folders.WANTED, "huggingface")
    assert not plan.problems
    assert plan.sources["backbone/embeddings/norm/scale"].name == "bert.embeddings.LayerNorm.gamma"


def test_both_spellings_at_once_are_a_problem(folders):
    found = found_in(folders, "huggingface")
    found["embeddings.LayerNorm.gamma"] = (32,)
    (problem,) = make_plan(found, folders.WANTED, "huggingface").problems
    assert "embeddings.LayerNorm.weight and embeddings.LayerNorm.gamma" in str(problem)


def test_half_a_prefix_is_a_problem(folders):
    """One tensor without ``bert.`` among others with it is not guessed to be the same."""
    found = found_in(folders, "huggingface", "bert.")
    found["pooler.dense.bias"] = found.pop("bert.pooler.dense.bias")
    problems = [str(problem) for problem in make_plan(found, folders.WANTED, "huggingface").problems]
    assert "bert.pooler.dense.bias: missing tensor" in problems
    assert any(problem.startswith("pooler.dense.bias: unmapped tensor") for problem in problems)


def test_all_problems_come_at_once_with_a_guess(folders):
    found = found_in(folders, "google")
    found["bert/encoder/layer_1/output/dense/kernl"] = found.pop("bert/encoder/layer_1/output/dense/kernel")
    del found["bert/embeddings/position_embeddings"]
    found["bert/encoder/layer_0/intermediate/dense/kernel"] = (48, 32)
    problems = "\n".join(str(problem) for problem in make_plan(found, folders.WANTED, "google").problems)
    assert "bert/encoder/layer_1/output/dense/kernel: missing tensor" in problems
    assert "bert/embeddings/position_embeddings: missing tensor" in problems
    assert (
        "bert/encoder/layer_0/intermediate/dense/kernel: wrong shape, got [48, 32] (allowed: [32, 48])"
        in problems
    )
    assert "bert/encoder/layer_1/output/dense/kernl: unmapped tensor" in problems
    assert "is it bert/encoder/layer_1/output/dense/kernel" in problems
    assert problems.count("\n") == 3


def test_a_third_block_is_unmapped_where_the_config_says_two(folders):
    found = found_in(folders, "google")
    found["bert/encoder/layer_2/output/dense/bias"] = (32,)
    (problem,) = make_plan(found, folders.WANTED, "google").problems
    assert "bert/encoder/layer_2/output/dense/bias: unmapped" in str(problem)


def test_a_missing_pooler_is_a_named_rule_and_half_a_pooler_is_not(folders):
    found = found_in(folders, "google")
    del found["bert/pooler/dense/kernel"]
    (problem,) = make_plan(found, folders.WANTED, "google").problems
    assert str(problem) == "bert/pooler/dense/kernel: missing tensor"
    del found["bert/pooler/dense/bias"]
    plan = make_plan(found, folders.WANTED, "google")
    assert not plan.problems and plan.absent == {"pooler"}
    assert {use.name for use in plan.report if use.rule == "no-pooler"} == {
        "bert/pooler/dense/kernel",
        "bert/pooler/dense/bias",
    }
    assert not plan.sources.keys() & {entry.ours for entry in NAMES.group("pooler").entries(2)}


@pytest.mark.parametrize(
    ("layout", "name", "rule"),
    [
        ("google", "cls/predictions/transform/dense/kernel", "mlm-head"),
        ("google", "cls/seq_relationship/output_bias", "nsp-head"),
        ("google", "cls/squad/output_weights", "task-head"),
        ("google", "output_weights", "task-head"),
        ("google", "global_step", "step-counter"),
        ("google", "global_step_2", None),
        ("google", "bert/output_weights", None),
        ("huggingface", "cls.predictions.decoder.weight", "mlm-head"),
        ("huggingface", "classifier.weight", "task-head"),
        ("huggingface", "bert.embeddings.position_ids", "position-ids"),
        ("huggingface", "encoder.embeddings.position_ids", None),
        ("huggingface", "xclassifier.weight", None),
        ("native", "head/output/kernel", "task-head"),
        ("native", "backbone/other", None),
    ],
)
def test_rules_match_whole_names_and_folders_only(layout, name, rule):
    assert rule_for(name, {}, Wanted(NAMES, 2, {}).rules(), layout) == rule


def test_optimizer_slots_hang_below_known_variables_only(folders):
    found = found_in(folders, "google")
    found["bert/pooler/dense/bias/adam_m"] = (32,)
    found["cls/squad/output_bias/adam_v"] = (2,)
    found["bert/unknown/adam_m"] = (3,)
    plan = make_plan(found, folders.WANTED, "google")
    assert [str(problem).partition(":")[0] for problem in plan.problems] == ["bert/unknown/adam_m"]
    rules = {use.name: use.rule for use in plan.report if use.rule}
    assert rules == {
        "bert/pooler/dense/bias/adam_m": "optimizer-slot",
        "cls/squad/output_bias/adam_v": "optimizer-slot",
    }


def test_many_foreign_names_are_told_at_once(folders):
    """Comparing each of them with each missing one took minutes for 24 blocks."""
    wanted = Wanted(NAMES, 24, folders.WANTED.axes)
    found = {f"x.y_{name}": shape for name, shape in found_in(folders, "huggingface").items()}
    found |= {f"x.y_{number}": (3,) for number in range(400)}
    begin = time.perf_counter()
    plan = make_plan(found, wanted, "huggingface")
    assert len(plan.problems) > 700
    assert time.perf_counter() - begin < 2
