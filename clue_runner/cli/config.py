"""Show, check and describe the settings of a run.

In: task, model, recipes, overrides. Out: resolved YAML, findings, or a JSON Schema.
Knows nothing about records, tokens or tensors.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import click

from clue_runner.cli.main import context_console

INDENT = "    "


@click.group()
def command() -> None:
    """Show, check and describe the settings of a run."""


@command.command()
@click.option("--task", help="A task's name or folder; without it no card is read.")
@click.option("--model", help="A preset (clue models) or a checkpoint folder.")
@click.option(
    "--config",
    "configs",
    multiple=True,
    metavar="NAME|FILE",
    help="A recipe (clue config recipes) or a file; repeatable.",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting; repeatable.")
@click.option("--explain", is_flag=True, help="Explain what each setting means and allows.")
@click.option("--json", is_flag=True, help="One JSON object: values and where each came from.")
@click.pass_context
def show(
    ctx: click.Context,
    task: str | None,
    model: str | None,
    configs: tuple[str, ...],
    overrides: tuple[str, ...],
    explain: bool,
    json: bool,
) -> None:
    """Print the resolved settings, and the layer that each value came from."""
    console = context_console(ctx, json=json)
    from clue_runner.adapters.sections import SECTIONS
    from clue_runner.checkpoints.importer import read_settings
    from clue_runner.config.describe import settings
    from clue_runner.config.loader import dump_run, flat, resolve_run

    name, adapter, card_settings = _card_settings(task)
    resolved = resolve_run(
        task=name,
        adapter=adapter,
        sections=SECTIONS,
        card_settings=card_settings,
        model=model,
        configs=configs,
        overrides=overrides,
        checkpoint_reader=read_settings,
    )
    if json:
        values = flat(resolved.run)
        console.event(
            {
                "event": "result",
                "ok": True,
                "settings": {key: {"value": values[key], "from": resolved.origins[key]} for key in values},
            }
        )
    else:
        comments = {
            key: f"{setting.description} [{setting.allowed}]" if explain else resolved.origins[key]
            for key, setting in settings(resolved.schema).items()
        }
        console.result(dump_run(resolved.run, comments).rstrip("\n"))


def _card_settings(task: str | None) -> tuple[str, str, dict[str, object]]:
    """Return the task's name, its kind, and the settings that its card recommends."""
    if task is None:
        return "none", "", {}
    from clue_runner.data.cards import find_card, recommended_settings

    card = find_card(task)
    return card.name, card.adapter, dict(recommended_settings(card))


@command.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", is_flag=True, help="One JSON object per file.")
@click.pass_context
def check(ctx: click.Context, files: tuple[Path, ...], json: bool) -> None:
    """Check recipes, model presets, task cards and suites; folders are walked."""
    console = context_console(ctx, json=json)
    from clue_runner.adapters.sections import SECTIONS, card_file_problems
    from clue_runner.config.check import check_file, yaml_files
    from clue_runner.errors import Problem, UsageError

    problems: list[Problem] = []
    checked = yaml_files(files)
    for path in checked:
        kind, found = check_file(path, SECTIONS)
        if kind == "card":
            found = card_file_problems(path)
        elif kind == "suite":
            from clue_runner.commands.bench.planning import suite_problems

            found = suite_problems(path)
        problems += found
        console.event(
            {
                "event": "check",
                "file": path,
                "kind": kind,
                "ok": not found,
                "problems": [str(item) for item in found],
            }
        )
        console.say(f"{path}: {kind}, {f'{len(found)} problems' if found else 'ok'}")
    if problems:
        raise UsageError(f"{len(problems)} problems in {len(checked)} files", problems=problems)
    console.event({"event": "result", "ok": True, "files": len(checked)})


@command.command()
@click.option("--json", is_flag=True, help="One JSON object.")
@click.pass_context
def recipes(ctx: click.Context, json: bool) -> None:
    """List the recipes that --config takes by name: what each is for, and what it sets."""
    console = context_console(ctx, json=json)
    from clue_runner.config.recipes import find_config, recipe_layers, recipe_names, recipe_words

    listed: list[dict[str, Any]] = [
        {
            "name": name,
            "words": recipe_words(name),
            "settings": {
                (key if task is None else f"{key} ({task})"): value
                for task, layer in recipe_layers(find_config(name), [])
                for key, value in layer.values.items()
            },
        }
        for name in recipe_names()
    ]
    console.event({"event": "result", "ok": True, "recipes": listed})
    if json:
        return
    for entry in listed:
        settings = ", ".join(f"{key}={_scalar(value)}" for key, value in entry["settings"].items())
        words = textwrap.fill(entry["words"], 100, initial_indent=INDENT, subsequent_indent=INDENT)
        console.result(f"{entry['name']}\n{words}\n{INDENT}sets {settings}")
    console.say("use one with: clue train --task NAME --config RECIPE; add single settings with --set")


def _scalar(value: object) -> str:
    """Return a value as ``--set`` takes it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


@command.command()
@click.option("--events", is_flag=True, help="Of the lines of events.jsonl and of --json instead.")
@click.option("--result", is_flag=True, help="Of metrics.json instead.")
@click.pass_context
def schema(ctx: click.Context, events: bool, result: bool) -> None:
    """Print the JSON Schema of a resolved run, for editors; or that of events, or of a result."""
    console = context_console(ctx, json=False)
    import json

    if events and result:
        raise click.UsageError("--events and --result are two schemas: give one of them", ctx)
    if result:
        from clue_runner.runs.results import result_schema

        described = result_schema()
    elif events:
        from clue_runner.runs.events import events_schema

        described = events_schema()
    else:
        from clue_runner.adapters.sections import SECTIONS

        described = SECTIONS.json_schema()
    console.result(json.dumps(described, ensure_ascii=False, indent=2))
