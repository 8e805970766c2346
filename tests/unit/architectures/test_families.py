"""Which family a checkpoint is of: its config says it, keys or the file's name do, or an error tells."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from clue_runner.architectures.base import family_of, load_architecture
from clue_runner.architectures.raw_config import RawConfig
from clue_runner.checkpoints.importer import read_checkpoint, read_settings
from clue_runner.checkpoints.plan import Wanted, make_plan
from clue_runner.errors import CheckpointError

GOLDENS = Path(__file__).parents[2] / "goldens" / "encoders"
SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
    "type_vocab_size": 2,
}


@pytest.mark.parametrize(
    ("raw", "named", "family"),
    [
        ({}, None, "bert"),
        ({"model_type": "bert"}, "albert", "bert"),
        ({"model_type": "deberta-v2"}, None, "deberta_v2"),
        ({"model_type": "xlnet"}, None, None),
        ({}, "electra", "electra"),
        ({}, "roformer_v2", "roformer"),
        ({}, "xlnet", None),
        # several publishers kept the file name bert_config.json
        ({"use_relative_position": True}, "bert", "nezha"),
        ({"use_relative_position": False}, "bert", "bert"),
        ({"ln_type": "postln", "embedding_size": 128, "hidden_size": 312}, "bert", "albert"),
        ({"ln_type": "postln", "hidden_size": 312}, "bert", "bert"),
        ({"num_hidden_groups": 1}, None, "albert"),
    ],
)
def test_a_config_says_its_family(raw: dict[str, Any], named: str | None, family: str | None) -> None:
    assert family_of(raw, named) == family


def shape_from(family: str, **more: Any) -> Any:
    return load_architecture(family).shape.from_config(RawConfig({**SIZES, **more}, "config.json"))


def test_what_configs_say_of_a_family_s_own_fields() -> None:
    assert shape_from("electra", embedding_size=16).embedding_dim == 16
    assert shape_from("electra").embedding_dim == 128  # as ElectraConfig has it
    assert shape_from("ernie", use_task_id=True).num_task_types == 3
    assert shape_from("ernie", task_type_vocab_size=3).num_task_types == 0  # stored or not, it is not used
    assert shape_from("nezha", max_relative_position=9).max_distance == 9
    second = shape_from("roformer", model_type="roformer_v2")
    assert (second.version, second.layer_norm_epsilon) == ("2", 1e-7)
    first = shape_from("roformer", embedding_size=16)
    assert (first.version, first.layer_norm_epsilon, first.embedding_dim) == ("1", 1e-12, 16)
    told = {"relative_attention": True, "pos_att_type": "p2c|c2p", "norm_rel_ebd": "layer_norm"}
    shape = shape_from(
        "deberta_v2", **told, position_buckets=8, position_biased_input=False, type_vocab_size=0
    )
    assert (shape.span, shape.max_distance, shape.absolute, shape.position_terms) == (8, 24, False, "both")
    assert shape.num_segments == 0 and shape.position_limit > 10**9


@pytest.mark.parametrize(
    ("family", "change", "parts"),
    [
        ("albert", {"embedding_size": 16, "num_hidden_groups": 2}, ["num_hidden_groups", "(allowed: 1)"]),
        ("albert", {"embedding_size": 16, "ln_type": "preln"}, ["ln_type", "'postln'"]),
        ("albert", {"embedding_size": 32}, ["embedding_size", "where publishers differ"]),
        ("roformer", {"rotary_value": True}, ["rotary_value"]),
        ("nezha", {"use_relative_position": False}, ["use_relative_position"]),
        ("deberta_v2", {}, ["relative_attention", "pos_att_type"]),
        ("deberta_v2", {"relative_attention": True, "pos_att_type": ["p2p"]}, ["pos_att_type", "c2p, p2c"]),
        (
            "deberta_v2",
            {"relative_attention": True, "pos_att_type": "c2p", "conv_kernel_size": 3},
            ["conv_kernel_size"],
        ),
        ("ernie", {"use_task_id": "yes"}, ["use_task_id", "true or false"]),
        ("electra", {"embedding_size": 0}, ["embedding_size", "1 to 65536"]),
        ("ernie", {"hidden_size": 30}, ["30 is not a multiple of it"]),
    ],
)
def test_networks_that_a_family_does_not_have_are_refused(
    family: str, change: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(CheckpointError) as caught:
        shape_from(family, **change)
    for part in parts:
        assert part in str(caught.value)


def renamed(golden: str, folder: Path, name: str) -> Path:
    """A copy of a golden whose config says nothing of its family."""
    shutil.copytree(GOLDENS / golden, folder)
    config = folder / "bert_config.json"
    raw = json.loads(config.read_text(encoding="utf-8"))
    raw.pop("model_type")
    config.unlink()
    (folder / name).write_text(json.dumps(raw), encoding="utf-8")
    return folder


def test_tensors_under_another_family_s_names_are_told(tmp_path: Path) -> None:
    """bert4keras stores RoFormer as BERT without positions, and its second version without biases."""
    pytest.importorskip("tensorflow")
    # NEZHA and RoFormer store the same: neither is guessed
    for golden, said in (("roformer-bert4keras", ["nezha", "roformer"]), ("roformer-v2", ["roformer_v2"])):
        folder = renamed(golden, tmp_path / golden, "bert_config.json")
        with pytest.raises(CheckpointError, match=f"are the tensors of {' or '.join(said)}, but") as caught:
            read_checkpoint(folder)
        for one in said:
            assert f'"model_type": "{one}"' in str(caught.value)
    folder = renamed("roformer-v2", tmp_path / "named", "roformer_v2_config.json")
    assert read_settings(folder)["version"] == "2"
    assert len(read_checkpoint(folder).weights) == 2 + 2 * 6


HEADS = {
    # as google-research/electra and Hugging Face's classes for pre-training name them
    "electra": (
        "electra/",
        [
            "discriminator_predictions/dense/kernel",
            "discriminator_predictions/dense_1/bias",
            "generator/encoder/layer_0/attention/self/query/kernel",
            "generator/embeddings_project/kernel",
            "generator_predictions/output_bias",
            "electra/embeddings/word_embeddings/adam_m",
            "global_step",
        ],
        [
            "discriminator_predictions.dense_prediction.weight",
            "generator_lm_head.bias",
            "classifier.dense.bias",
        ],
    ),
    "albert": (
        "bert/",
        [
            "cls/predictions/output_bias",
            "cls/seq_relationship/output_weights",
            "bert/pooler/dense/bias/adam_v",
        ],
        ["predictions.decoder.weight", "predictions.bias", "sop_classifier.classifier.weight"],
    ),
    "nezha": (
        "bert/",
        ["cls/predictions/transform/dense/kernel"],
        ["nezha.encoder.layer.1.attention.self.relative_positions_encoding.positions_encoding"],
    ),
    "roformer": ("bert/", ["cls/seq_relationship/output_bias"], ["roformer.encoder.embed_positions.weight"]),
    "ernie": (
        "",
        [],
        ["cls.predictions.decoder.bias", "cls.seq_relationship.weight", "ernie.embeddings.position_ids"],
    ),
    "deberta_v2": ("", [], ["lm_predictions.lm_head.dense.weight", "pooler.dense.bias", "classifier.weight"]),
}


@pytest.mark.parametrize("layout", ["google", "huggingface"])
@pytest.mark.parametrize("family", sorted(HEADS))
def test_heads_and_slots_are_left_out_by_name(family: str, layout: Any) -> None:
    """All tensors of a pre-training checkpoint are accounted for; one more is not."""
    scope, google, face = HEADS[family]
    own = {"relative_attention": True, "pos_att_type": "c2p", "embedding_size": 16, "use_task_id": True}
    if family == "deberta_v2":
        del own["embedding_size"]
    shape = shape_from(family, **own)
    architecture = load_architecture(family).table_of(shape)
    names, axes = architecture.names, shape.axes(60)
    extra = google if layout == "google" else face
    prefix = "" if layout == "google" else names.prefix
    stored = {
        entry.spellings(layout, prefix)[0]: (
            entry.shape(axes)[::-1] if entry.transposed(layout) else entry.shape(axes)
        )
        for entry in names.entries(shape.num_layers)
        if entry.spellings(layout, prefix)
    }
    if layout == "google" and not scope:
        assert not stored  # never published so
        return
    assert all(name.startswith(scope if layout == "google" else prefix) for name in stored)
    found = {**stored, **dict.fromkeys(extra, (3, 5))}
    plan = make_plan(found, Wanted(names, shape.num_layers, axes), layout)
    assert not plan.problems
    assert {use.name for use in plan.report if use.rule and use.name in extra} == set(extra)
    plan = make_plan({**found, "another/kernel": (3, 5)}, Wanted(names, shape.num_layers, axes), layout)
    assert [problem.where for problem in plan.problems] == ["another/kernel"]
