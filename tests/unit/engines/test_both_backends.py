"""JAX computes in a process of its own what TensorFlow computes here: a classifier's steps, the reader's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_reader_engine as reader
from support.engines import BACKEND, make_engine, run, updates
from support.xla import fast_flags

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="compared once, from the TensorFlow side")
FOLDERS = (Path(__file__).parent, Path(__file__).parents[2])

PROGRAM = """
import sys
sys.path[:0] = sys.argv[2:]
import numpy as np
import test_both_backends as both
np.savez(sys.argv[1], **both.classifier("jax"), **both.reading())
"""


def classifier(backend: Any = BACKEND) -> dict[str, Any]:
    """Losses of six steps and the weights after them."""
    engine = make_engine(backend=backend, jit=backend == "jax", model={"num_layers": 2})
    losses = run(engine, updates(6, lengths=(16,)))
    return {"losses": losses, **engine.get_weights(averaged=False)}


def reading() -> dict[str, Any]:
    """What the reader says of a batch before three steps, and their losses."""
    engine = reader.engine(hybrid=True, dropout=0.0)
    batch = {name: values[0] for name, values in reader.update(5, hybrid=True).items()}
    said = engine.evaluate(batch, averaged=False)
    losses = reader.train(engine, 0, 3, hybrid=True)
    return {f"reader {name}": values for name, values in {**said, "losses": losses}.items()}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    pytest.importorskip("jax", reason="jax is not installed")
    file = tmp_path_factory.mktemp("other") / "other.npz"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": fast_flags("jax")}
    subprocess.run([sys.executable, "-c", PROGRAM, file, *FOLDERS], check=True, env=environment)
    return np.load(file, allow_pickle=False)


def test_the_classifier_takes_the_same_steps(theirs: Mapping[str, Any]) -> None:
    mine = classifier()
    assert np.abs(np.array(mine.pop("losses")) - theirs["losses"]).max() <= 1e-5
    for name, value in mine.items():
        np.testing.assert_allclose(value, theirs[name], atol=1e-5, err_msg=name)


def test_the_reader_says_and_learns_the_same(theirs: Mapping[str, Any]) -> None:
    mine = reading()
    np.testing.assert_allclose(mine.pop("reader losses"), theirs["reader losses"], rtol=1e-4)
    assert {"reader gate", "reader start", "reader end"} <= mine.keys()
    for name, values in mine.items():
        np.testing.assert_allclose(values, theirs[name], atol=1e-5, err_msg=name)
