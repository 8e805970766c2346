"""Families: found by name, light to import, counted from their tables, described in saved weights."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from clue_runner.adapters.sections import load_run
from clue_runner.architectures.base import (
    architecture_names,
    architecture_of,
    load_architecture,
    nameless_family,
    parameter_count,
)
from clue_runner.architectures.settings import from_header, header, make_shape, shape_of
from clue_runner.errors import CheckpointError, UsageError

SMALL = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 12, "max_positions": 6}
WITHOUT_TABLE = {name: value for name, value in SMALL.items() if name != "max_positions"}


def test_families_are_found_by_their_folders() -> None:
    assert {"bert", "dgcnn"} <= set(architecture_names())
    assert nameless_family() == "bert"
    for name in architecture_names():
        assert architecture_of(make_shape(name)).name == name
    with pytest.raises(UsageError, match="no model family called 'brt'"):
        load_architecture("brt")


def test_shapes_and_names_load_no_backend() -> None:
    program = (
        "import sys\n"
        "from clue_runner.architectures.base import architecture_names, load_architecture, parameter_count\n"
        "from clue_runner.architectures.settings import make_shape\n"
        "for name in architecture_names():\n    parameter_count(make_shape(name), 100)\n"
        "print(sorted({'keras', 'tensorflow', 'jax'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("family", "values", "vocab_size"),
    [
        ("bert", SMALL, 11),
        ("bert", {**SMALL, "num_layers": 3, "num_segments": 5}, 40),
        ("bert", {"hidden_dim": 24, "num_heads": 3, "positions": "hierarchical"}, 17),
        ("albert", {**SMALL, "num_layers": 3, "embedding_width": 4}, 11),
        ("albert", {**SMALL, "embedding_width": 8}, 11),
        ("albert", {**SMALL, "embedding_width": 4, "widened": "words"}, 11),
        ("deberta_v2", {**SMALL, "buckets": 4, "max_distance": 9}, 11),
        ("deberta_v2", {**SMALL, "absolute": True, "num_segments": 2, "shared_projections": False}, 11),
        ("deberta_v2", {**SMALL, "distance_norm": False, "position_terms": "key", "buckets": 0}, 11),
        ("electra", SMALL, 11),
        ("electra", {**SMALL, "embedding_width": 4}, 11),
        ("ernie", SMALL, 11),
        ("ernie", {**SMALL, "num_task_types": 3}, 11),
        ("nezha", WITHOUT_TABLE, 11),
        ("roformer", {**WITHOUT_TABLE, "embedding_width": 4}, 11),
        ("roformer", {**WITHOUT_TABLE, "version": "2"}, 11),
        ("roformer", {**WITHOUT_TABLE, "version": "2", "embedding_width": 4}, 11),
        ("dgcnn", {}, 30),
        ("dgcnn", {"hidden_dim": 16}, 9),
    ],
)
@pytest.mark.parametrize("pooler", [True, False])
@pytest.mark.backend
def test_the_table_counts_and_names_what_is_built(
    family: str, values: dict[str, Any], vocab_size: int, pooler: bool
) -> None:
    from clue_runner.models.naming import named_variables

    shape = make_shape(family, **values)
    architecture = load_architecture(family).table_of(shape)
    network = architecture.build(shape, vocab_size, precision="float32", seed=0, pooler=pooler)
    built = {name: tuple(variable.shape) for name, variable in named_variables(network).items()}
    axes = shape.axes(vocab_size)
    table = {
        entry.ours: entry.shape(axes)
        for entry in architecture.names.entries(shape.num_layers)
        if pooler or architecture.names.group(entry.group).part != "pooler"
    }
    assert built == table
    assert parameter_count(shape, vocab_size, pooler=pooler) == sum(map(np.prod, built.values()))


@pytest.mark.backend
def test_the_map_of_word_vectors_is_in_the_table_where_it_is_asked_for() -> None:
    from clue_runner.models.naming import named_variables

    architecture, shape = load_architecture("dgcnn"), make_shape("dgcnn", hidden_dim=16)
    vectors = np.zeros((4, 5), np.float32)
    network = architecture.build(shape, 9, precision="float32", seed=0, vectors=vectors)
    built = {name: tuple(variable.shape) for name, variable in named_variables(network).items()}
    axes = {**shape.axes(9), "vector": vectors.shape[1]}
    entries = architecture.names.entries(shape.num_layers, heads=("words",))
    assert {entry.ours: entry.shape(axes) for entry in entries} == built


def test_what_saved_weights_say_comes_back() -> None:
    for family, values in (
        ("bert", {**SMALL, "positions": "hierarchical"}),
        ("dgcnn", {"hidden_dim": 16}),
        ("albert", {**SMALL, "embedding_width": 4, "widened": "words"}),
        ("deberta_v2", {**SMALL, "absolute": True, "shared_projections": False}),
        ("electra", {**SMALL, "embedding_width": 4}),
        ("ernie", {**SMALL, "num_task_types": 3, "task_type": 2}),
        ("nezha", {**WITHOUT_TABLE, "max_distance": 5}),
        ("roformer", {**WITHOUT_TABLE, "version": "2"}),
    ):
        shape = make_shape(family, **values)
        meta = header(shape, 77, lowercase=False)
        saved = from_header(meta, "weights")
        assert (saved.architecture.name, saved.vocab_size, saved.lowercase) == (family, 77, False)
        for name in saved.architecture.shape.model_fields:
            assert getattr(saved.shape, name) == getattr(shape, name)
    assert "attention" not in header(make_shape("bert"), 1, lowercase=True)["model"]


def test_headers_of_earlier_versions_are_read() -> None:
    """They name no family, and the oldest say nothing about positions."""
    meta = header(make_shape("bert", **SMALL), 77, lowercase=True)
    del meta["family"], meta["model"]["positions"], meta["model"]["positions_alpha"]
    saved = from_header(meta, "weights")
    assert (saved.architecture.name, saved.shape.positions, saved.shape.positions_alpha) == (
        "bert",
        "learned",
        0.4,
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"family": "xlnet"}, "a model family unknown to this version, got 'xlnet'"),
        ({"model": None}, "model.hidden_dim: missing"),
        ({"vocab_size": "77"}, "vocab_size: missing or of the wrong type, got '77'"),
        ({"model": {"rotary": True}}, "model.rotary"),
    ],
)
def test_headers_that_do_not_say_their_network_are_refused(change: dict[str, Any], said: str) -> None:
    meta = header(make_shape("bert", **SMALL), 77, lowercase=True)
    if isinstance(change.get("model"), dict):
        change = {"model": {**meta["model"], **change["model"]}}
    with pytest.raises(CheckpointError) as caught:
        from_header({**meta, **change}, "file")
    assert said in str(caught.value)


def test_a_run_s_settings_are_a_shape() -> None:
    run = load_run(
        task="afqmc", card_settings={}, model="test", overrides=["model.recompute=block", "model.dropout=0.2"]
    )
    shape = shape_of(run.model)
    assert (shape.num_layers, shape.hidden_dim, shape.dropout, shape.recompute) == (2, 32, 0.2, "block")
    assert shape.position_limit == run.model.position_limit
