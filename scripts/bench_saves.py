"""What a save costs the loop: updates alone, with a save in the loop, with a save by the thread, in turn.

    python scripts/bench_saves.py --backend tensorflow [--shape tiny base] [--rows 8] [--length 64]

One process, one network with random weights and AdamW, states of weights and two moments. "waits": from the
end of one update to the beginning of the next. "longer": what the updates of a round and a save took beyond
the same updates alone, so with the thread's share of the cores. Beside both, processor time, since on a
shared machine it moves less than the clock does.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bench_steps import SHAPES, classifier_engine, make_update, model_settings


class Round(NamedTuple):
    """Seconds: the loop waited for the save; of its processor then; the round took; all processors did."""

    waited: float
    copying: float
    took: float
    used: float


KINDS = ("alone", "in the loop", "by the thread")


class Saver:
    """Saves an engine's state again and again, each time as another step's."""

    def __init__(self, engine: Any, root: Path) -> None:
        """Take the memory for the copies, as a run does before its first update."""
        from clue_runner.runs.saving import Saved, StateWriter

        self.engine, self.step, self.wrote = engine, 0, list[Saved]()
        self.writer = StateWriter(root, 1, self.wrote.append)
        self.writer.prepare(engine.room())
        self.writer.settle(wait=True)

    def save(self, copy: Callable[..., Any]) -> None:
        """Begin to write the present state."""
        from clue_runner.runs.identity import Identity
        from clue_runner.runs.progress import Progress
        from clue_runner.runs.states import SavedState

        self.step += 1
        state = SavedState(progress=Progress(step=self.step), identity=Identity())
        self.writer.save(copy, state, best=False, header={}, files={})


def one_round(kind: str, saver: Saver, update: Any, updates: int) -> Round:
    """Do the updates of a round, with a save after the first one."""
    engine, waited, copying = saver.engine, 0.0, 0.0
    started, used = time.perf_counter(), time.process_time()
    for index in range(updates):
        if index == 1 and kind != "alone":
            before, busy = time.perf_counter(), time.thread_time()
            if kind == "in the loop":
                saver.save(lambda room: engine.get_state())  # into memory that is new each time
                saver.writer.settle(wait=True)
            else:
                saver.save(engine.get_state)
            waited, copying = time.perf_counter() - before, time.thread_time() - busy
        engine.step(update, update_index=index, learning_rate=1e-5)()
    took, used = time.perf_counter() - started, time.process_time() - used
    saver.writer.settle(wait=True)
    return Round(waited, copying, took, used)


def measure(shape: str, options: argparse.Namespace) -> None:
    """Print the line of one shape for each kind of save."""
    model = model_settings(shape, options.backend)
    jit = options.backend == "jax"
    engine = classifier_engine(model, backend=options.backend, precision=options.precision, jit=jit)
    update = make_update(options.rows, options.length)
    root = Path(tempfile.mkdtemp(prefix="bench-saves-", dir=options.folder))
    try:
        saver = Saver(engine, root)
        size = sum(values.nbytes for values in engine.room().values())
        one_round("alone", saver, update, 2)
        found: dict[str, list[Round]] = {kind: [] for kind in KINDS}
        for number in range(options.rounds):
            for kind in KINDS if number % 2 else reversed(KINDS):
                found[kind].append(one_round(kind, saver, update, options.updates))
        medians = {kind: Round(*map(statistics.median, zip(*found[kind], strict=True))) for kind in KINDS}
        alone = medians["alone"]
        for kind in KINDS[1:]:
            one, waited = medians[kind], [one.waited for one in found[kind]]
            print(
                f"| {shape}, {size / 1e9:.2f} GB | {kind} "
                f"| {one.waited:.2f} ({min(waited):.2f} to {max(waited):.2f}) | {one.copying:.2f} "
                f"| {one.took - alone.took:+.2f} | {one.used - alone.used:+.2f} "
                f"| {alone.took / options.updates:.2f} |",
                flush=True,
            )
        wrote = statistics.median(one.seconds for one in saver.wrote)
        print(f"  a state was written in {wrote:.2f} s (median)")
    finally:
        shutil.rmtree(root, ignore_errors=True)


def main() -> None:
    """Measure every shape and print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=["tensorflow", "jax"], default="tensorflow")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--shape", nargs="*", choices=sorted(SHAPES), default=["base"])
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--updates", type=int, default=6, help="in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--folder", type=Path, help="on the disk to write to; default: the system's temporary one"
    )
    options = parser.parse_args()

    from clue_runner.engines.devices import set_backend

    set_backend(options.backend)
    print("| state | save | the loop waits, s | on its processor | longer, s | on all | an update alone, s |")
    print("|---|---|---|---|---|---|---|")
    for shape in options.shape:
        measure(shape, options)


if __name__ == "__main__":
    main()
