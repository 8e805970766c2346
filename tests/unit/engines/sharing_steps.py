"""Updates on devices that share each batch: imported by a test, and run by it on a processor as four devices.

python sharing_steps.py FOLDER: writes one file per (network, devices) of 2 and 4, and of resumed states.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from small_networks import NETWORKS, random_update, settings

from clue_runner.engines import create_engine
from clue_runner.engines.techniques import make_techniques

# network -> techniques; a chain's answer has tables that are no rows, a choice's groups leave padding out
CASES: dict[str, dict[str, Any]] = {"classification": {"fgm": 1.0}, "chain of tags": {}, "choice": {}}
STEPS, SAVED_AT = 4, 2
RATE = 1e-3


def started(network: str, devices: int) -> Any:
    """Return an engine; dropout is on, where the network has any."""
    engine = create_engine("jax")
    techniques = make_techniques(CASES[network])
    engine.init(
        lambda: NETWORKS[network]("float32"), settings(techniques=techniques, ema=0.9, devices=devices)
    )
    return engine


def walk(engine: Any, first: int = 0) -> dict[str, Any]:
    """Return losses, answers to one batch and the state after the steps from ``first``.

    The state after ``SAVED_AT`` is among them, its names after ``saved/``.
    """
    losses, saved = [], {}
    for number in range(first, STEPS):
        if number == SAVED_AT and number > first:
            saved = {f"saved/{name}": value for name, value in engine.get_state().items()}
        update = random_update(number, micro_batches=2)
        losses.append(engine.step(update, update_index=number, learning_rate=RATE)().loss)
    answers = engine.evaluate(batch(), averaged=True)
    return {
        **saved,
        **engine.get_state(),
        "losses": np.array(losses[-(STEPS - SAVED_AT) :]),
        **{f"answer/{name}": value for name, value in answers.items()},
    }


def batch() -> dict[str, Any]:
    """Return rows that four devices cannot share without padding."""
    return {name: values[0] for name, values in random_update(STEPS).items()}


def answer_without_tracing(engine: Any) -> None:
    """Answer a batch of a shape that was answered before; the network itself is gone."""
    engine.network.answer = None
    engine.evaluate(batch(), averaged=True)


def state_of(found: dict[str, Any]) -> dict[str, Any]:
    """Return the state that was saved on the way."""
    return {name.removeprefix("saved/"): value for name, value in found.items() if name.startswith("saved/")}


def main(folder: Path) -> None:
    """Write what the test compares."""
    for network in CASES:
        two, four = (started(network, devices) for devices in (2, 4))
        fresh, found = four.get_state(), walk(two)
        np.savez(folder / f"{network}-2.npz", **found)
        four.set_state(state_of(found))
        np.savez(folder / f"{network}-2-4.npz", **walk(four, first=SAVED_AT))
        four.set_state(fresh)
        np.savez(folder / f"{network}-4.npz", **walk(four))
        answer_without_tracing(four)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
