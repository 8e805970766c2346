"""Devices of one process share each batch (JAX): any number gives the update of one, from any state."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sharing_steps
from small_networks import BACKEND, random_update
from support.engines import largest_difference

pytestmark = pytest.mark.skipif(BACKEND != "jax", reason="only JAX shares a batch among devices")
WITHIN = 1e-6


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two and four devices give, each a part of this processor."""
    folder = tmp_path_factory.mktemp("shared")
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    paths = os.pathsep.join(path for path in sys.path if path)
    subprocess.run(
        [sys.executable, sharing_steps.__file__, str(folder)],
        check=True,
        env={**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": paths, "KERAS_BACKEND": "jax"},
    )
    return folder


@pytest.mark.parametrize("network", list(sharing_steps.CASES))
def test_any_number_of_devices_gives_the_update_of_one(network: str, shared: Path) -> None:
    """Of six rows, two devices have three each; four have two, two of them padding. Dropout is on."""
    engine = sharing_steps.started(network, devices=1)
    expected = sharing_steps.walk(engine)
    later = {name: value for name, value in expected.items() if not name.startswith("saved/")}
    for devices in ("2", "4"):
        found = load(shared / f"{network}-{devices}.npz")
        assert largest_difference(expected, found) <= WITHIN
        assert {name: value.shape for name, value in found.items()} == {
            name: value.shape for name, value in expected.items()
        }
    assert largest_difference(later, load(shared / f"{network}-2-4.npz")) <= WITHIN
    engine.set_state(sharing_steps.state_of(load(shared / f"{network}-2.npz")))
    assert largest_difference(later, sharing_steps.walk(engine, sharing_steps.SAVED_AT)) <= WITHIN


def test_one_device_computes_what_it_always_has() -> None:
    """Nothing is moved, padded or said to XLA: the compiled step and its bits are those without sharing."""
    from clue_runner.engines.jax_devices import Devices

    update, one = random_update(0), Devices(1)
    assert one.compile_options() == {}
    given = one.share(update, 1)
    assert given.keys() == update.keys() and all(given[name] is update[name] for name in update)
    text = sharing_steps.started("classification", devices=1).lowered(update).as_text()
    assert "sharding" not in text and "sdy." not in text


def load(file: Path) -> dict[str, Any]:
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)
