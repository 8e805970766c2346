"""List the model presets, or show one and how to get its weights.

In: a preset's name. Out: a table or one preset.
Knows nothing about tensors: sizes are computed from the shape.
"""

from __future__ import annotations

import click

from clue_runner.cli.main import context_console


@click.group(invoke_without_command=True)
@click.option("--json", is_flag=True, help="One JSON object per preset.")
@click.pass_context
def command(ctx: click.Context, json: bool) -> None:
    """List the model presets, or show one."""
    if ctx.invoked_subcommand is not None:
        return
    console = context_console(ctx, json=json)
    from clue_runner.commands.models import preset_facts
    from clue_runner.config.presets import model_preset, model_presets

    rows: list[list[object]] = []
    for name in model_presets():
        preset = model_preset(name)
        facts = preset_facts(preset)
        console.event({"event": "model", **facts})
        state = "random weights" if preset.kind == "random" else "no checkpoint here"
        millions = f"{facts['parameters'] / 1e6:.1f} M"
        state = "checkpoint available" if facts["local"] else state
        scores = [f"{one['task']} {one['score']:.2f} ({one['split']})" for one in facts["scores"][:1]]
        known = f"{scores[0]}, {len(facts['scores'])} in all" if scores else ""
        source = preset.huggingface or (f"github: {preset.github}" if preset.github else "")
        licence = (preset.licence or "").partition(",")[0]  # the source is in ``show``
        sizes = [facts["num_layers"], facts["hidden_dim"], millions]
        rows.append([name, *sizes, state, source, licence, known, preset.title])
    if json:
        console.event({"event": "result", "ok": True, "models": len(rows)})
        return
    columns = ["model", "layers", "width", "size", "weights", "source", "licence", "published", "title"]
    used = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    console.table([columns[place] for place in used], [[row[place] for place in used] for row in rows])
    console.say("\none model, its published scores and how to get it: clue models show NAME")


@command.command()
@click.argument("name")
@click.option("--json", is_flag=True, help="One JSON object.")
@click.pass_context
def show(ctx: click.Context, name: str, json: bool) -> None:
    """Show one preset and the ways to get its checkpoint."""
    console = context_console(ctx, json=json)
    from clue_runner.commands.models import preset_facts
    from clue_runner.config.presets import model_preset

    preset = model_preset(name)
    facts = preset_facts(preset)
    console.event({"event": "result", "ok": True, **facts})
    if json:
        return
    for key, value in facts.items():
        if value is not None and key not in {"local", "ways_to_get", "scores"}:
            text = f"{value:,}" if isinstance(value, int) else str(value)
            console.result(f"{key.replace('_', ' '):<17} {text}")
    if preset.licence is None and preset.kind == "published":
        console.result(
            f"{'licence':<17} not recorded here: read the publisher's page before you redistribute weights"
        )
    for one in facts["scores"]:
        place = f"{one['task']} {one['split']}"
        console.result(f"{'published score':<17} {place:<20} {one['score']:>6.2f}  {one['source']}")
    if facts["local"]:
        console.result(f"{'checkpoint':<17} {preset.local_folder}")
    elif preset.kind != "random":
        console.result(f"{'checkpoint':<17} none on this machine; ways to get it:")
        for way in preset.ways_to_get():
            console.result(f"  {way}")
    else:
        console.result(f"{'checkpoint':<17} none: the weights are drawn from the seed")
    console.say(f"use it: clue train --task afqmc --model {name}")


@command.command()
@click.argument("name")
@click.option("--update", is_flag=True, help="Take the hub's current version and pin it.")
@click.option("--json", is_flag=True, help="One JSON object.")
@click.pass_context
def get(ctx: click.Context, name: str, update: bool, json: bool) -> None:
    """Download the checkpoint of a preset, or of hf:OWNER/NAME, and pin its files by SHA-256."""
    console = context_console(ctx, json=json)
    from clue_runner.commands.models import get_model

    console.event({"event": "result", **get_model(name, console, update=update)})
