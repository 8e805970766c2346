"""A run's weights of every family, in every layout that its publishers have: bit for bit, there and back."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clue_runner.architectures.base import architecture_names, load_architecture
from clue_runner.architectures.settings import header
from clue_runner.checkpoints.export import Target, export
from clue_runner.checkpoints.importer import read_checkpoint
from clue_runner.errors import CheckpointError
from clue_runner.files.tensors import save_weights

TINY = {"num_layers": 2, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 24}
VOCABULARY = 40
# Family -> the settings of its forms, none of a field its default, and the layouts that are published.
BOTH: tuple[Target, ...] = ("huggingface", "tensorflow")
FORMS: dict[str, list[tuple[dict[str, Any], tuple[Target, ...]]]] = {
    "bert": [({"max_positions": 24, "activation": "gelu_tanh", "dropout": 0.2}, BOTH)],
    "albert": [
        ({"max_positions": 24, "embedding_width": 8}, BOTH),
        ({"max_positions": 24, "embedding_width": 8, "widened": "words"}, ("tensorflow",)),
    ],
    "electra": [
        ({"max_positions": 24, "embedding_width": 8}, BOTH),
        ({"max_positions": 24, "embedding_width": None}, BOTH),
    ],
    "ernie": [
        ({"max_positions": 24, "num_task_types": 4, "task_type": 2}, ("huggingface",)),
        ({"max_positions": 24, "num_task_types": 0}, ("huggingface",)),
    ],
    "nezha": [({"max_distance": 5, "attention_dropout": 0.3}, BOTH)],
    "roformer": [
        ({"embedding_width": 8}, BOTH),
        ({"version": "2", "layer_norm_epsilon": 1e-6}, BOTH),
    ],
    "deberta_v2": [
        ({"max_distance": 12, "buckets": 4, "position_terms": "key"}, ("huggingface",)),
        (
            {
                "max_positions": 24,
                "absolute": True,
                "buckets": 0,
                "max_distance": 7,
                "shared_projections": False,
                "distance_norm": False,
                "num_segments": 3,
            },
            ("huggingface",),
        ),
    ],
    "gpt2_ml": [({"max_positions": 24, "attention_dropout": 0.1}, BOTH)],
}
CASES = [(family, *form) for family, forms in FORMS.items() for form in forms]


def write_state(folder: Path, family: str, **settings: Any) -> Path:
    """Write what a run of a family saves: its network at random weights, pooler and head included."""
    folder.mkdir()
    kind = load_architecture(family)
    shape = kind.shape.model_validate({**TINY, **settings})
    names, draw = kind.table_of(shape).names, np.random.default_rng(1)
    weights = {
        entry.ours: draw.normal(size=entry.shape(shape.axes(VOCABULARY))).astype(np.float32)
        for entry in names.entries(shape.num_layers)
    }
    weights["head/kernel"] = np.zeros((2, 2), np.float32)
    save_weights(folder / "weights.safetensors", weights, header(shape, VOCABULARY, lowercase=True))
    return folder


def values(path: Path) -> dict[str, bytes]:
    """Our names -> bytes, without a pooler that only this program's tasks have."""
    checkpoint = read_checkpoint(path)
    published = {entry.ours for entry in checkpoint.entries() if entry.google or entry.hugging_face}
    return {
        name: checkpoint.weights.exact(name).tobytes() for name in checkpoint.weights if name in published
    }


def test_every_family_is_here() -> None:
    published = {name for name in architecture_names() if load_architecture(name).names.published}
    assert set(FORMS) == published


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{'-'.join(case[1])}")
def test_a_run_goes_to_each_published_layout_and_back(tmp_path: Path, case: Any) -> None:
    family, settings, layouts = case
    state = write_state(tmp_path / "state", family, **settings)
    for layout in BOTH:
        if layout == "tensorflow" and importlib.util.find_spec("tensorflow") is None:
            continue
        there, back = tmp_path / layout, tmp_path / f"{layout}-back"
        if layout not in layouts:
            with pytest.raises(CheckpointError, match="cannot be written in this layout"):
                export(state, there, layout, "DST")
            assert not there.exists()
            continue
        export(state, there, layout, "DST")
        export(there, back, layouts[0], "DST")
        assert values(back) == values(there) == values(state)
        first, last = (read_checkpoint(path).shape for path in (state, back))
        for name in type(first).model_fields.keys() - first.UNPUBLISHED - first.WAYS:
            assert getattr(first, name) == getattr(last, name) or name == "embedding_width"
        assert read_checkpoint(back).vocab_size == VOCABULARY


def test_a_pooler_that_nobody_publishes_stays_behind_and_is_counted(tmp_path: Path) -> None:
    state = write_state(tmp_path / "state", "electra", max_positions=24)
    assert export(state, tmp_path / "face", "huggingface", "DST").left_out == {
        "task-head": 1,
        "task-pooler": 2,
    }
    assert not read_checkpoint(tmp_path / "face").has_pooler


def test_settings_that_no_config_holds_are_said(tmp_path: Path) -> None:
    state = write_state(tmp_path / "state", "ernie", max_positions=24, num_task_types=3, task_type=1)
    notices = export(state, tmp_path / "face", "huggingface", "DST").notices
    assert any("model.task_type=1" in notice for notice in notices)


def test_a_family_that_nobody_publishes_is_refused_with_the_reason(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    kind = load_architecture("dgcnn")
    shape = kind.shape()
    axes = shape.axes(VOCABULARY)
    entries = kind.table_of(shape).names.entries(shape.num_layers)
    weights = {entry.ours: np.zeros(entry.shape(axes), np.float32) for entry in entries}
    save_weights(folder / "weights.safetensors", weights, header(shape, VOCABULARY, lowercase=True))
    with pytest.raises(CheckpointError, match="no published layout"):
        export(folder, tmp_path / "face", "huggingface", "DST")
