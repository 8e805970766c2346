"""Stretched positions against bert4keras's ``hierarchical_position`` (tests/goldens/positions.npz)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import ops

from clue_runner.architectures.settings import build_backbone
from clue_runner.config.loader import load_run
from clue_runner.models.naming import named_variables

GOLDEN = Path(__file__).parents[1] / "goldens" / "positions.npz"
SHAPE = {"num_layers": 2, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 24, "max_positions": 16}
VARIANTS = {
    "learned": {"positions": "learned"},
    "hierarchical": {"positions": "hierarchical"},
    "other": {"positions": "hierarchical", "positions_alpha": 0.2},
}


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    with np.load(GOLDEN, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_outputs_equal_bert4keras_from_16_to_64_tokens(golden: dict[str, Any], variant: str) -> None:
    assert "bert4keras 0.11.5" in str(golden["versions"])
    shape = {f"model.{name}": value for name, value in {**SHAPE, **VARIANTS[variant]}.items()}
    overrides = ["data.max_length=16", *(f"{name}={value}" for name, value in shape.items())]
    model = load_run(task="afqmc", card_settings={}, model="test", overrides=overrides).model
    backbone = build_backbone(model, 30, precision="float32", seed=0, pooler=False)
    for name, variable in named_variables(backbone).items():
        variable.assign(golden[f"weights/{name}"])
    lengths = [int(name.partition("/")[2]) for name in golden if name.startswith(f"{variant}/")]
    assert lengths == ([16] if variant == "learned" else [16, 17, 40, 64])
    for length in lengths:
        token_ids = golden[f"token_ids/{length}"]
        segment_ids = np.broadcast_to(np.arange(length) > length // 2, token_ids.shape).astype(np.int32)
        tokens = {"token_ids": token_ids, "segment_ids": segment_ids}
        found = backbone(tokens, mask=np.ones((2, length), bool)).sequence
        expected = golden[f"{variant}/{length}"]
        assert np.abs(ops.convert_to_numpy(found) - expected).max() < 1e-5
