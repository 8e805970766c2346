"""Families of encoders against their own libraries, live: other sizes than the goldens have."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clue_runner import load_backbone

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_encoders.py"
LIMIT = 1e-5
LIBRARIES = {
    "transformers": ["albert", "deberta", "deberta-apart", "electra", "ernie", "roformer"],
    "bert4keras": ["nezha", "roformer-bert4keras", "roformer-v2"],
}
NEEDED = {"transformers": ("transformers", "torch"), "bert4keras": ("bert4keras", "tf_keras")}
pytestmark = pytest.mark.peer


@pytest.mark.parametrize("library", sorted(LIBRARIES))
def test_hidden_states_of_another_size_are_those_of_the_library(library: str, tmp_path: Path) -> None:
    """One process writes all checkpoints: the libraries take long to load."""
    for module in NEEDED[library]:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    names = LIBRARIES[library]
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    command = [sys.executable, str(SCRIPT), *names, "--size", "wide", "--into", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for name in names:
        with np.load(tmp_path / f"{name}.npz") as stored:
            peer = dict(stored)
        backbone = load_backbone(tmp_path / name)
        for case in ("unpadded", "padded"):
            sizes = peer[f"lengths/{case}"]
            seen = np.arange(peer["token_ids"].shape[1]) < sizes[:, None]
            sequence, _ = backbone(
                np.where(seen, peer["token_ids"], 0), np.where(seen, peer["segment_ids"], 0), sizes
            )
            expected = peer[f"{case}/sequence"]
            assert sequence.shape == expected.shape and sequence.shape[-1] == 60
            # a vector's numbers are sums that round by its largest ones; beyond 1 these have fewer places
            scale = np.maximum(1, np.abs(expected[seen]).max(axis=-1, keepdims=True))
            np.testing.assert_allclose(
                sequence[seen] / scale, expected[seen] / scale, rtol=0, atol=LIMIT, err_msg=name
            )
