"""Tensors that are not the network's: left out by rule or by name, or refused with the cause told apart."""

from __future__ import annotations

import numpy as np
import pytest

from clue_runner.checkpoints.importer import read_checkpoint
from clue_runner.checkpoints.load import load_into
from clue_runner.errors import CheckpointError

ZERO = np.zeros(2, np.float32)
WORD = "backbone/embeddings/word"


def refused(folders, path, tensors, *parts, **config):
    """Assert that a folder with such tensors is refused with every part; return the error."""
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(folders.write_face(path, tensors, **config))
    text = str(caught.value)
    assert caught.value.exit_code == 4
    for part in parts:
        assert part in text
    return caught.value


def left_out(checkpoint):
    return {use.name: use.rule for use in checkpoint.report if use.rule}


# ------------------------------------------------------------------------ left out


@pytest.mark.parametrize(
    "slots",
    [
        ("Adam", "Adam_1"),
        ("adam_m", "adam_v"),
        ("AdamWeightDecayOptimizer", "AdamWeightDecayOptimizer_1"),
        ("LAMBOptimizer", "LAMBOptimizer_1"),
        ("lamb_m", "lamb_v"),
        ("adafactor_m", "adafactor_vr", "adafactor_vc", "adafactor_v"),
        ("Adafactor", "Adafactor_1"),
        ("Momentum",),
    ],
    ids=lambda slots: slots[0],
)
def test_slots_of_every_optimizer(folders, tmp_path, slots):
    pytest.importorskip("tensorflow")
    tensors = folders.google_weights()
    tensors["cls/predictions/output_bias"] = np.zeros(40, np.float32)
    own = ("bert/pooler/dense/kernel", "bert/embeddings/LayerNorm/gamma", "cls/predictions/output_bias")
    further = {f"{variable}/{slot}": ZERO for variable in own for slot in slots}
    counters = {
        name: np.asarray(0.9, np.float32)
        for name in ("beta1_power", "beta2_power", "beta1_power_1", "global_step", "loss_scale", "good_steps")
    }
    checkpoint = read_checkpoint(folders.write_google(tmp_path / "x", {**tensors, **further, **counters}))
    found = left_out(checkpoint)
    assert {name for name, rule in found.items() if rule == "optimizer-slot"} == set(further)
    assert {name for name, rule in found.items() if rule == "step-counter"} == set(counters)
    averaged = {f"{own[0]}/ExponentialMovingAverage": ZERO}
    checkpoint = read_checkpoint(folders.write_google(tmp_path / "y", {**tensors, **averaged}))
    assert left_out(checkpoint)[f"{own[0]}/ExponentialMovingAverage"] == "averaged-weight"


@pytest.mark.parametrize(
    "name", ["bert/unknown/Adam", "Adam", "beta3_power", "bert/pooler/dense/kernel/Adams"]
)
def test_what_only_resembles_a_slot_is_unmapped(folders, tmp_path, name):
    pytest.importorskip("tensorflow")
    with pytest.raises(CheckpointError, match=f"{name}: unmapped"):
        read_checkpoint(folders.write_google(tmp_path / "x", {**folders.google_weights(), name: ZERO}))


def test_buffers_of_hugging_face_files(folders, tmp_path):
    tensors = folders.face_weights("bert.")
    for name in ("position_ids", "token_type_ids"):
        tensors[f"bert.embeddings.{name}"] = np.zeros((1, 24), np.int64)
    checkpoint = read_checkpoint(folders.write_face(tmp_path / "x", tensors))
    assert left_out(checkpoint) == {
        "bert.embeddings.position_ids": "position-ids",
        "bert.embeddings.token_type_ids": "segment-ids",
    }


CRF = {"crf.transitions": ZERO, "crf.start": ZERO, "dense.weight": ZERO, "bert.adapter": ZERO}


def test_a_foreign_head_is_left_out_by_name(folders, tmp_path):
    tensors = {**folders.face_weights("bert."), **CRF}
    error = refused(folders, tmp_path / "x", tensors, "the network is complete, but 4 tensors beside it")
    assert error.next_step.endswith("--set model.ignore=bert.adapter,crf.,dense.")
    checkpoint = read_checkpoint(tmp_path / "x", ignore=["bert.adapter", "crf.", "dense."])
    assert left_out(checkpoint) == dict.fromkeys(CRF, "model.ignore")
    assert checkpoint.notices == ("4 tensors are left out by model.ignore",)
    np.testing.assert_array_equal(checkpoint.weights[WORD], folders.our_weights()[WORD])
    with pytest.raises(CheckpointError, match=r"crf.start: unmapped"):
        read_checkpoint(tmp_path / "x", ignore=["crf", "dense.", "bert.adapter"])  # a name, not a beginning


def test_the_setting_reaches_the_checkpoint(folders, tmp_path):
    from clue_runner.adapters.sections import load_run
    from clue_runner.training.pretrained.opening import open_checkpoint

    folder = folders.write_face(tmp_path / "x", {**folders.face_weights("bert."), **CRF})
    run = load_run(
        task="afqmc",
        card_settings={},
        model=str(folder),
        overrides=["model.ignore=bert.adapter, crf.,dense."],
    )
    checkpoint = open_checkpoint(run)
    assert checkpoint is not None and left_out(checkpoint) == dict.fromkeys(CRF, "model.ignore")


def test_nothing_of_the_network_can_be_ignored(folders, tmp_path):
    folders.write_face(tmp_path / "x")
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(tmp_path / "x", ignore=["pooler.dense.bias"])
    assert "pooler.dense.bias: model.ignore leaves out a tensor of the network" in str(caught.value)
    checkpoint = read_checkpoint(tmp_path / "x", ignore=["lstm."])
    assert checkpoint.notices == ("model.ignore: the checkpoint has no tensor called lstm.",)


@pytest.mark.parametrize("prefix", ["module.", "model.", "encoder.", "module.bert.", "model.encoder.bert."])
def test_a_common_prefix_is_stripped_and_said(folders, tmp_path, prefix):
    head = prefix.removesuffix("bert.")
    tensors = {**folders.face_weights(prefix), f"{head}classifier.weight": ZERO}
    checkpoint = read_checkpoint(folders.write_face(tmp_path / "x", tensors))
    stripped = prefix.removesuffix("bert.")
    assert checkpoint.notices == (f"all tensor names begin with {stripped}, which was removed",)
    assert left_out(checkpoint) == {f"{head}classifier.weight": "task-head"}
    for name, value in folders.our_weights().items():
        np.testing.assert_array_equal(checkpoint.weights[name], value, err_msg=name)
    used = {use.name for use in checkpoint.report if use.used_as}
    assert all(name.startswith(prefix) for name in used)


def test_a_common_prefix_of_a_tensorflow_checkpoint(folders, tmp_path):
    pytest.importorskip("tensorflow")
    tensors = {f"student/{name}": value for name, value in folders.google_weights().items()}
    tensors |= {"student/bert/pooler/dense/bias/Adam": ZERO, "global_step": np.asarray(3, np.int64)}
    checkpoint = read_checkpoint(folders.write_google(tmp_path / "x", tensors))
    assert checkpoint.notices == ("all tensor names begin with student/, which was removed",)
    assert left_out(checkpoint) == {
        "student/bert/pooler/dense/bias/Adam": "optimizer-slot",
        "global_step": "step-counter",
    }
    np.testing.assert_array_equal(checkpoint.weights[WORD], folders.our_weights()[WORD])


def test_a_prefix_and_a_foreign_head_are_both_told(folders, tmp_path):
    tensors = {**folders.face_weights("module.bert."), "module.crf.start": ZERO}
    error = refused(
        folders,
        tmp_path / "x",
        tensors,
        "the names begin with module.; without it: the network is complete, but 1 tensor beside it",
    )
    assert "model.ignore=crf." in error.next_step
    assert len(error.problems) == 1
    for pattern in ("crf.", "module.crf."):
        checkpoint = read_checkpoint(tmp_path / "x", ignore=[pattern])
        assert left_out(checkpoint) == {"module.crf.start": "model.ignore"}


# ------------------------------------------------------------------------ told apart


def test_keras_objects(folders, tmp_path):
    pytest.importorskip("tensorflow")
    tensors = {
        "_CHECKPOINTABLE_OBJECT_GRAPH": np.asarray(b"graph"),
        "model/layer-1/kernel/.ATTRIBUTES/VARIABLE_VALUE": ZERO,
        "save_counter/.ATTRIBUTES/VARIABLE_VALUE": np.asarray(1, np.int64),
    }
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(folders.write_google(tmp_path / "x", tensors))
    assert "a checkpoint of Keras objects" in str(caught.value)
    assert "bert/embeddings/word_embeddings" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        (
            "encoder.layer.0.attention.self.relative_positions_encoding.positions_encoding",
            "relative positions",
        ),
        ("encoder.layer.0.attention.self.distance_embedding.weight", "relative positions"),
        ("encoder.embed_positions.weight", "rotary positions"),
        ("encoder.layer.0.crossattention.self.query.weight", "a decoder"),
        ("encoder.embedding_hidden_mapping_in.weight", "ALBERT"),
    ],
)
def test_networks_that_are_taken_for_bert(folders, tmp_path, name, what):
    refused(
        folders, tmp_path / "x", {**folders.face_weights(), name: ZERO}, "these tensors are not bert's", what
    )


@pytest.mark.parametrize(
    ("key", "tensor"),
    [
        ("vocab_size", "embeddings.word_embeddings.weight"),
        ("max_position_embeddings", "embeddings.position_embeddings.weight"),
        ("type_vocab_size", "embeddings.token_type_embeddings.weight"),
    ],
)
def test_a_table_of_another_length_than_the_config_says(folders, tmp_path, key, tensor):
    rows = folders.CONFIG[key]
    error = refused(
        folders,
        tmp_path / "x",
        None,
        f"{tensor} has {rows} rows, but config.json says {key} {rows + 5}",
        **{key: rows + 5},
    )
    assert f"correct {key} in it to {rows}" in error.next_step


def test_other_sizes_are_no_shorter_table(folders, tmp_path):
    error = refused(folders, tmp_path / "x", None, "does not fit its config.json", intermediate_size=64)
    assert "use the config.json that belongs to these weights" in error.next_step


def test_tensors_of_another_program(folders, tmp_path):
    tensors = {"transformer.h.0.attn.weight": ZERO, "transformer.h.0.mlp.weight": ZERO, "wte": ZERO}
    refused(
        folders, tmp_path / "x", tensors, "none of the 3 tensors has a name of bert", "transformer.h.0.attn"
    )


# ------------------------------------------------------------------------ heads of pre-training


def head_tensors(prefix, names):
    random = np.random.default_rng(3)
    shapes = ((32, 32), (32,), (32,), (32,), (40,))
    return {
        f"{prefix}{name}": random.normal(size=shape).astype(np.float32)
        for name, shape in zip(names, shapes, strict=True)
    }


GOOGLE_HEAD = (
    "transform/dense/kernel", "transform/dense/bias", "transform/LayerNorm/gamma", "transform/LayerNorm/beta",
    "output_bias",
)  # fmt: skip
FACE_HEAD = (
    "transform.dense.weight", "transform.dense.bias", "transform.LayerNorm.weight",
    "transform.LayerNorm.bias", "bias",
)  # fmt: skip
OURS = [
    f"head/masked_words/{name}"
    for name in (
        "transform/kernel",
        "transform/bias",
        "transform/norm/scale",
        "transform/norm/offset",
        "output/bias",
    )
]


@pytest.mark.parametrize("layout", ["google", "face", "old face"])
def test_the_masked_word_head_is_taken_when_asked_for(folders, tmp_path, layout):
    if layout == "google":
        pytest.importorskip("tensorflow")
        head = head_tensors("cls/predictions/", GOOGLE_HEAD)
        folder = folders.write_google(tmp_path / "x", {**folders.google_weights(), **head})
    else:
        head = head_tensors("cls.predictions.", FACE_HEAD)
        tensors = {**folders.face_weights("bert."), **head}
        tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"]
        tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"]
        if layout == "old face":
            tensors = {
                name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                    "LayerNorm.bias", "LayerNorm.beta"
                ): value
                for name, value in tensors.items()
            }
        folder = folders.write_face(tmp_path / "x", tensors)
    plain = read_checkpoint(folder)
    assert not plain.weights.keys() & set(OURS)
    assert set(left_out(plain).values()) == {"mlm-head"}
    checkpoint = read_checkpoint(folder, heads=["masked_words"])
    assert not checkpoint.absent
    values = list(head.values())
    for name, value in zip(OURS, values, strict=True):
        stored = value.T if layout != "google" and name.endswith("kernel") else value
        np.testing.assert_array_equal(checkpoint.weights[name], stored)
    variables = {name: Variable(checkpoint.weights.shape(name)) for name in checkpoint.weights}
    assert load_into(variables, checkpoint) == []
    np.testing.assert_array_equal(variables[OURS[-1]].value, values[-1])


class Variable:
    dtype = "float32"

    def __init__(self, shape):
        self.shape, self.value = shape, None

    def assign(self, value):
        self.value = value


def test_a_checkpoint_without_the_head_says_so(folders, tmp_path):
    checkpoint = read_checkpoint(folders.write_face(tmp_path / "x"), heads=["masked_words"])
    assert checkpoint.absent == {"masked_words"}
    variables = {name: Variable(value.shape) for name, value in folders.our_weights().items()}
    variables |= {name: Variable((3,)) for name in OURS}
    assert load_into(variables, checkpoint) == sorted(OURS)


def test_half_a_head_and_a_head_of_another_kind_are_refused(folders, tmp_path):
    head = head_tensors("cls.predictions.", FACE_HEAD)
    half = {name: value for name, value in head.items() if name != "cls.predictions.bias"}
    folder = folders.write_face(tmp_path / "half", {**folders.face_weights("bert."), **half})
    with pytest.raises(CheckpointError, match=r"cls.predictions.bias: missing tensor"):
        read_checkpoint(folder, heads=["masked_words"])
    more = {**folders.face_weights("bert."), **head, "cls.predictions.query.weight": ZERO}
    folder = folders.write_face(tmp_path / "more", more)
    assert read_checkpoint(folder)
    with pytest.raises(CheckpointError, match=r"cls.predictions.query.weight: unmapped"):
        read_checkpoint(folder, heads=["masked_words"])


def test_an_output_layer_of_its_own_is_not_silently_the_word_table(folders, tmp_path):
    tensors = {**folders.face_weights("bert."), **head_tensors("cls.predictions.", FACE_HEAD)}
    tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"] + 1
    checkpoint = read_checkpoint(folders.write_face(tmp_path / "x", tensors), heads=["masked_words"])
    variables = {name: Variable(checkpoint.weights.shape(name)) for name in checkpoint.weights}
    with pytest.raises(CheckpointError, match=r"cls.predictions.decoder.weight: it differs from backbone"):
        load_into(variables, checkpoint)
    assert all(variable.value is None for variable in variables.values())
