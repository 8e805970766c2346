"""Check this machine: Python, libraries, devices, memory, disk, data on disk.

In: facts about the machine. Out: lines and a verdict. Knows nothing about how the facts are found.
"""

from __future__ import annotations

from typing import Any

import click

from clue_runner.cli.main import context_console


@click.command()
@click.option("--require", type=click.Choice(["gpu"]), help="Exit 2 unless a backend sees this device.")
@click.option("--json", is_flag=True, help="One JSON object.")
@click.pass_context
def command(ctx: click.Context, require: str | None, json: bool) -> None:
    """Check this machine; report what can train here."""
    console = context_console(ctx, json=json)
    from clue_runner.cli._machine import machine_facts

    facts = machine_facts()
    backends: dict[str, dict[str, Any]] = facts["backends"]
    has_gpu = any(device not in {"cpu"} for entry in backends.values() for device in entry["devices"])
    works = any(entry["devices"] for entry in backends.values())
    ok = works and (has_gpu or require is None)
    verdict = _verdict(facts, works=works, has_gpu=has_gpu)
    if not json:
        for line in _lines(facts):
            console.result(line)
        console.result(f"verdict      {verdict}")
    if not ok:
        from clue_runner.errors import Problem, UsageError

        raise UsageError(
            "no backend sees a GPU" if works else "no backend works on this machine",
            problems=[
                Problem(entry["error"] or f"devices: {', '.join(entry['devices']) or 'none'}", name)
                for name, entry in backends.items()
            ],
            next_step='check nvidia-smi, then install "clue-runner[gpu]" or "clue-runner[jax-cuda]"'
            if works
            else "install clue-runner again in a new environment",
        )
    console.event({"event": "result", "ok": True, **facts, "gpu": has_gpu, "verdict": verdict})


def _verdict(facts: dict[str, Any], *, works: bool, has_gpu: bool) -> str:
    """Return one line: what can train here."""
    if not works:
        return "nothing trains here: no backend works"
    if not facts["home_writable"]:
        return f"{facts['home']} cannot be written: set CLUE_HOME to a writable folder"
    if has_gpu:
        return "base and large models train here: --config gpu-24g"
    return "small models (tiny, rbt3) train here; base models take hours per task: --config laptop"


def _lines(facts: dict[str, Any]) -> list[str]:
    """Return the facts as lines for people."""
    from clue_runner.console import file_size

    versions = ", ".join(f"{name} {version or 'missing'}" for name, version in facts["versions"].items())
    lines = [f"python       {facts['python']}, {facts['system']}", f"libraries    {versions}"]
    for name, entry in facts["backends"].items():
        state = entry["error"] or ", ".join(entry["devices"])
        lines.append(f"{name:<12} {entry['version'] or ''}{' ' if entry['version'] else ''}{state}")
    memory = file_size(facts["memory_bytes"]) if facts["memory_bytes"] else "unknown"
    bfloat16 = {True: "has bfloat16", False: "no bfloat16", None: "bfloat16 unknown"}[facts["bfloat16"]]
    return [
        *lines,
        *(f"gpu          {gpu}" for gpu in facts["gpus"]),
        f"processor    {facts['cores']} cores, {bfloat16}; memory {memory}",
        f"home         {facts['home']}, {file_size(facts['disk_free_bytes'])} free"
        + ("" if facts["home_writable"] else ", not writable"),
        f"data         {', '.join(facts['data']) or 'none yet: clue data get NAME, or --data sample'}",
    ]
