"""Forecast how much memory training needs, what fits into a budget, and what to set.

In: argv. Out: a table of batch size, length and recompute mode; one line of settings, ready to use.
Knows nothing about how the need is forecast.
"""

from __future__ import annotations

import click

from clue_runner.cli.main import context_console


@click.command()
@click.option("--task", required=True, metavar="NAME|DIR", help="A task's name or folder.")
@click.option("--model", metavar="NAME|DIR", help="A preset or a checkpoint folder; default: tiny.")
@click.option(
    "--config",
    multiple=True,
    metavar="NAME|FILE",
    help="A recipe (clue config recipes) or a file; repeatable.",
)
@click.option("--set", "set_", multiple=True, metavar="KEY=VALUE", help="One setting; repeatable.")
@click.option(
    "--budget", metavar="SIZE", help="Such as 24GB, used in full; default: 80 % of what is free now."
)
@click.option("--backend", type=click.Choice(["tensorflow", "jax"]), help="Default: tensorflow.")
@click.option(
    "--device",
    metavar="auto|cpu|gpu|gpu:N",
    help="Where to compute; a GPU not in this machine needs --budget.",
)
@click.option("--counted", is_flag=True, help="Do not ask the compiler (JAX): faster, less accurate.")
@click.option("--json", is_flag=True, help="The result as one JSON object on stdout.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    task: str,
    model: str | None,
    config: tuple[str, ...],
    set_: tuple[str, ...],
    budget: str | None,
    backend: str | None,
    device: str | None,
    counted: bool,
    json: bool,
) -> None:
    """Forecast the memory of training: what a step needs, what fits, which settings to use.

    Forecasts for BERT's shape are accurate to 15 %; what techniques and generation add is counted, not
    measured. A plan for the memory that is free now leaves a fifth of it; a plan for
    --budget fills it, so give less than the device has.
    """
    console = context_console(ctx, json=json)
    from clue_runner.commands.memory import show_memory
    from clue_runner.commands.train import TrainRequest

    request = TrainRequest(task=task, model=model, config=config, set=set_, backend=backend, device=device)
    show_memory(request, console, budget=budget, only_counted=counted)
