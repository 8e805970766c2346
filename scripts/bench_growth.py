"""Does anything grow faster than the work? Time and memory along each axis, with a fitted exponent.

    python scripts/bench_growth.py --json growth.json [--axis layers tokens ...] [--output docs/growth.svg]
    python scripts/bench_growth.py --rehearse            # small sizes: does it run

Axes: train rows (a synthetic set 1, 4 and 16 times, small network, whole ``clue train``), layers and tokens
(training steps of the ``tiny`` shape), labels, test rows, and the run folders that ``submit pack``,
``report`` and ``bench collect`` find beside each other. Each size is a process of its own (``growth_cells``);
those in the file of ``--json`` are not measured again, unless the program has changed. One file for one
machine.

A size costs something that does not depend on it (tracing, a first block), which would hide what grows. So
the exponent is fitted to what is added to the smallest size: log(cost - first cost) against log(work - first
work), where less than a twentieth of the first cost counts as that twentieth: noise. 1 is in proportion to
the work, 0 does not grow. The work is the size, but for tokens, where it is the FLOPs of the step's products
for time, and for memory the tokens or, where whole score matrices are kept, their square. Time is the clock's
or the processor's, whichever grew less: others on the machine disturbed it less.

Exit code 1 where an exponent is above 1.15, or a size could not be measured.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench_steps import SHAPES, product_flops
from cells import MIB, Figures, save_svg, svg_plots

CELLS = str(Path(__file__).with_name("growth_cells.py"))
MOST = 1.15
NOISE = 0.05  # of the first cost, or, where that is next to nothing, so much time and memory:
SECONDS, BYTES = 0.02, 2 * MIB
SHAPE = "tiny"
COMMANDS = ("submit", "report", "collect")
RUN = {"kind": "run", "train": 320, "dev": 200, "test": 1, "labels": 2}
STEP = {"kind": "step", "shape": SHAPE, "form": "einsum", "rows": 4, "length": 64, "precision": "float32"}


def flops(length: int) -> float:
    """Return the work of one row of so many tokens."""
    return float(product_flops(SHAPES[SHAPE], 1, length))


class Axis(NamedTuple):
    """What grows: sizes, a size's job, and what its time and its memory may grow with."""

    name: str
    unit: str
    sizes: Sequence[int]
    job: Callable[[int], dict[str, Any]]
    work: Callable[[int], float] = float
    room: Callable[[int], float] = float
    part: str | None = None  # of a job's figures, if it measures several things


def axes(*, rehearse: bool) -> Iterator[Axis]:
    """Yield all axes; a rehearsal has small sizes."""
    base = 64 if rehearse else 3200
    tests, folders = ((1, 40, 400), (1, 2, 4)) if rehearse else ((1, 1_000, 10_000, 100_000), (1, 10, 100))
    labels, layers = ((2, 8, 32), (1, 2, 4)) if rehearse else ((2, 10, 100, 1000), (1, 2, 4, 8, 16))
    short, long = (
        ((32, 64, 128), (128, 256, 512)) if rehearse else ((32, 128, 512, 1024), (512, 1024, 2048, 4096))
    )
    run, step = RUN | {"base": base}, STEP | {"count": 2 if rehearse else 5}
    yield Axis("train rows", "rows", [base, 4 * base, 16 * base], lambda size: run | {"train": size})
    yield Axis("layers", "layers", layers, lambda size: step | {"changes": {"num_layers": size}})
    for form, lengths, power in (("einsum", short, 2), ("chunked", long, 1)):
        job = step | {"form": form, "rows": 1}
        yield Axis(
            f"tokens, {form}",
            "tokens",
            lengths,
            lambda size, job=job: job | {"length": size},
            flops,
            lambda size, power=power: float(size) ** power,
        )
    more = run | {"train": max(base, 2 * labels[-1]), "dev": max(RUN["dev"], labels[-1])}
    yield Axis("labels", "labels", labels, lambda size: more | {"labels": size})
    yield Axis("test rows", "rows", tests, lambda size: run | {"train": 320, "test": size})
    for command in COMMANDS:  # the same processes: their figures are found for the second and the third
        side_by_side = Axis(f"folders, {command}", "folders", folders, folders_job)
        yield side_by_side._replace(part=command)


def folders_job(size: int) -> dict[str, Any]:
    """Return the job of so many run folders."""
    return {"kind": "folders", "folders": size}


# ------------------------------------------------------------------------ exponents


def exponent(works: Sequence[float], costs: Sequence[float], least: float) -> float:
    """Return the power of the work that what is added to the first cost grows with; 0: nothing is added.

    Args:
        works: rising.
        costs: of each.
        least: what is noise in any case.
    """
    least = max(least, NOISE * costs[0])
    added = [max(cost - costs[0], least) for cost in costs[1:]]
    if max(added) <= least:
        return 0.0
    x = [math.log(work - works[0]) for work in works[1:]]
    y = [math.log(one) for one in added]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    both = sum((one - mean_x) * (other - mean_y) for one, other in zip(x, y, strict=True))
    return both / sum((one - mean_x) ** 2 for one in x)


class Grown(NamedTuple):
    """An axis measured: the exponents of time and memory, and the figures of each size."""

    axis: Axis
    time: float
    memory: float
    figures: list[dict[str, Any]]


def part_of(found: dict[str, Any], part: str | None) -> dict[str, Any]:
    """Return the figures of an axis out of a job's; an error stands for all of them."""
    return found if part is None or "error" in found else found[part]


def judge(axis: Axis, figures: list[dict[str, Any]]) -> Grown:
    """Return the exponents of an axis whose sizes have all been measured."""
    works, rooms = [axis.work(size) for size in axis.sizes], [axis.room(size) for size in axis.sizes]
    clocks = [name for name in ("seconds", "processor") if name in figures[0]]
    time = min(exponent(works, [one[name] for one in figures], SECONDS) for name in clocks)
    return Grown(axis, time, exponent(rooms, [one["growth"] for one in figures], BYTES), figures)


# ------------------------------------------------------------------------ what is printed and drawn


def lines_of(axis: Axis, figures: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the rows of an axis."""
    for size, one in zip(axis.sizes, figures, strict=True):
        if "error" in one:
            yield f"| {axis.name} | {size:,} | failed: {one['error']} | | | |"
            continue
        used = f"{one['processor']:.2f}" if "processor" in one else ""
        cells = [f"{one['seconds']:.3f}", used, f"{size / one['seconds']:,.1f} {axis.unit}"]
        cells.append(f"{one['growth'] / MIB:,.0f}")
        yield f"| {axis.name} | {size:,} | {' | '.join(cells)} |"


def verdicts(grown: Sequence[Grown]) -> tuple[list[str], list[str]]:
    """Return a table of exponents, and the claims that fail."""
    lines, wrong = ["\n| axis | time grows with work to the power | memory | |", "|---|---|---|---|"], []
    for one in grown:
        above = max(one.time, one.memory) > MOST
        word = "FASTER THAN THE WORK" if above else "ok"
        lines.append(f"| {one.axis.name} | {one.time:.2f} | {one.memory:.2f} | {word} |")
        wrong += [lines[-1]] if above else []
    return lines, wrong


def plot(grown: Sequence[Grown], path: Path) -> None:
    """Draw time and memory of every axis over the work, relative to the first size; dotted: proportion."""
    rows, columns = -(-len(grown) // 3), 3
    size = {"figsize": (9, 2.6 * rows), "layout": "constrained", "squeeze": False}
    figure, panels = svg_plots().subplots(rows, columns, **size)
    for panel in panels.flat[len(grown) :]:
        panel.remove()
    for one, panel in zip(grown, panels.flat, strict=False):
        works = [one.axis.work(size) / one.axis.work(one.axis.sizes[0]) for size in one.axis.sizes]
        for name, color in (("seconds", "C0"), ("growth", "C1")):
            costs = [found[name] / max(one.figures[0][name], 1e-9) for found in one.figures]
            panel.plot(works, costs, marker="o", color=color, label="time" if name == "seconds" else "memory")
        panel.plot(works, works, linestyle=":", color="grey", label="in proportion")
        panel.set(xscale="log", yscale="log", title=one.axis.name, xlabel="times the work")
    panels.flat[0].legend(fontsize="small")
    save_svg(figure, path)


def program() -> str:
    """Return a hash over the program: figures of another one are not continued."""
    digest = hashlib.sha256()
    package = Path(__file__).resolve().parents[1] / "clue_runner"
    for path in sorted(package.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


class Sizes(Figures):
    """Figures of the sizes of axes."""

    def words(self, job: Mapping[str, Any]) -> str:
        """Return what tells a job from its neighbours."""
        return ", ".join(f"{name} {value}" for name, value in job.items() if name not in {"program", "kind"})


def main() -> int:
    """Measure, print, draw; return the exit code."""
    known = [axis.name for axis in axes(rehearse=False)]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--axis", nargs="+", choices=known, default=known, metavar="AXIS", help=", ".join(known)
    )
    parser.add_argument("--backend", choices=["tensorflow", "jax"], default="tensorflow")
    parser.add_argument("--rehearse", action="store_true", help="small sizes, whose exponents mean nothing")
    parser.add_argument("--json", type=Path, help="all figures; those already in it are not measured again")
    parser.add_argument("--output", type=Path, help="the plot, such as docs/growth.svg (needs matplotlib)")
    options = parser.parse_args()
    sizes = Sizes(options.json, CELLS)
    common = {"backend": options.backend, "program": program()}
    if options.rehearse:
        print("REHEARSAL: the sizes are too small for their exponents to mean anything\n")
    print("| axis | size | seconds | processor s | per second | memory MiB |")
    print("|---|---|---|---|---|---|")
    grown, failed = [], []
    for axis in (one for one in axes(rehearse=options.rehearse) if one.name in options.axis):
        figures = [part_of(sizes.of(common | axis.job(size)), axis.part) for size in axis.sizes]
        print("\n".join(lines_of(axis, figures)), flush=True)
        if any("error" in one for one in figures):
            failed.append(f"{axis.name}: not every size could be measured")
        else:
            grown.append(judge(axis, figures))
    lines, wrong = verdicts(grown)
    print("\n".join(lines))
    if options.output and grown:
        plot(grown, options.output)
    failed += [] if options.rehearse else wrong
    print("\nall claims hold" if not failed else "\n".join(["\nthese claims fail:", *failed]))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
