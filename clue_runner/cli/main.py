"""The ``clue`` command: finds the command's file, runs it, turns failures into messages and exit codes.

In: argv. Out: an exit code. A command is a public module in this folder with an attribute ``command``;
the first line of its docstring is its line in ``clue --help``. Knows nothing about what the commands do.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from clue_runner.cli._failures import click_message, fail, report

if TYPE_CHECKING:
    from clue_runner.console import Console

# Help lists commands in the order of use; a new file in this folder comes after them without a change here.
ORDER = (
    "doctor",
    "tasks",
    "models",
    "convert",
    "data",
    "train",
    "pretrain",
    "bench",
    "probe",
    "memory",
    "predict",
    "ask",
    "generate",
    "evaluate",
    "submit",
    "config",
    "cache",
)


NAMES = re.compile("FILE|DIR|NAME")  # in the metavar of an option whose value names something


class CommandFolder(click.Group):
    """A group whose commands are files; a file is imported when its command is named, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all command files."""
        names = [path.stem.replace("_", "-") for path in Path(__file__).parent.glob("*.py")]
        found = [name for name in names if name != "main" and not name.startswith("-")]
        return sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = import_module(f"clue_runner.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        command.name = cmd_name
        _accept_global_options(command)
        _refuse_repeats(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or fail with the name that was probably meant."""
        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx):
            import difflib

            close = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f"did you mean {close[0]}?" if close else "all commands: clue --help"
            ctx.fail(f"no command called {name!r}, {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by their files' docstrings, without importing them."""
        rows = [(name, short_help(name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def short_help(name: str) -> str:
    """Return the first line of a command file's docstring, without a leading ```clue name``:``."""
    path = Path(__file__).parent / f"{name.replace('-', '_')}.py"
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    line = docstring.partition("\n")[0].strip()
    if line.startswith(("`clue", "``clue")):
        line = line.partition(":")[2].strip()
    line = line.replace("``", "").rstrip(".")
    return line[:1].upper() + line[1:]


def context_console(ctx: click.Context, *, json: bool) -> Console:
    """Return the command's console, switched to JSON events where ``--json`` was given."""
    console: Console = ctx.obj["console"]
    console.json = console.json or json
    return console


def _set_global(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Note ``--debug`` or ``--quiet``, wherever it appears on the command line."""
    if value:
        state = ctx.ensure_object(dict)
        state[str(parameter.name)] = True
        if parameter.name == "quiet" and "console" in state:
            state["console"].quiet = True


def _global_options() -> list[click.Option]:
    """Return the options that every command takes."""
    return [
        click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            callback=_set_global,
            help="Show tracebacks.",
        ),
        click.Option(
            ["--quiet"],
            is_flag=True,
            expose_value=False,
            callback=_set_global,
            help="Print warnings and errors only.",
        ),
    ]


def _accept_global_options(command: click.Command) -> None:
    """Let ``clue train --quiet`` mean ``clue --quiet train``; hidden, since ``clue --help`` has them."""
    present = {name for parameter in command.params for name in parameter.opts}
    for option in _global_options():
        if not present & set(option.opts):
            option.hidden = True
            command.params.append(option)
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _accept_global_options(inner)


def _refuse_repeats(command: click.Command) -> None:
    """Refuse a repeated option that takes one value (click would silently take the last) and empty names."""
    if "parse_args" in vars(command):
        return  # prepared by an earlier call in this process
    parse = command.parse_args

    def parse_once(ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            values, _, order = command.make_parser(ctx).parse_args(args=list(args))
            _check_repeats(ctx, order)
            _check_empty(ctx, command.params, values)
        return parse(ctx, args)

    command.parse_args = parse_once  # type: ignore[method-assign]  # of this one object
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _refuse_repeats(inner)


def _check_repeats(ctx: click.Context, order: Sequence[click.Parameter]) -> None:
    """Refuse the first option in ``order`` that takes one value and is given twice."""
    given: set[str | None] = set()
    for parameter in order:
        if not isinstance(parameter, click.Option) or parameter.multiple or parameter.count:
            continue
        if not parameter.is_flag and parameter.name in given:
            raise click.UsageError(f"{max(parameter.opts, key=len)} takes one value and is given twice", ctx)
        given.add(parameter.name)


def _check_empty(
    ctx: click.Context, parameters: Sequence[click.Parameter], values: Mapping[str, Any]
) -> None:
    """Refuse an empty name or path, which is an unset variable of a shell: as a path it means this folder."""
    for parameter in parameters:
        given = values.get(str(parameter.name))
        if "" not in (given if isinstance(given, list | tuple) else [given]):
            continue
        if isinstance(parameter, click.Argument):
            name = f"argument {parameter.metavar or str(parameter.name).upper()}"
        elif NAMES.search(parameter.metavar or ""):
            name = max(parameter.opts, key=len)
        else:
            continue
        raise click.UsageError(f"{name} is empty: is a variable of the shell unset?", ctx)


def _print_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Print the version and exit."""
    if value:
        from clue_runner import __version__

        click.echo(f"clue-runner {__version__}")
        ctx.exit()


command_folder = CommandFolder(
    name="clue",
    help="Train, score and submit for CLUE, the Chinese language understanding evaluation.",
    epilog="First steps: clue doctor, clue tasks, clue train --task afqmc --data sample",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    params=[
        *_global_options(),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_version,
            help="Show the version.",
        ),
    ],
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run ``clue`` and exit with its exit code."""
    _make_streams_safe()
    if "_CLUE_COMPLETE" in os.environ:
        command_folder.main(prog_name="clue")
    raise SystemExit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; tracebacks only with ``--debug``."""
    state: dict[str, Any] = {"debug": False}
    if arguments and not {"-h", "--help", "--version"} & set(arguments):
        from clue_runner.console import Console
        from clue_runner.console.streams import occupy_standard_descriptors

        occupy_standard_descriptors()
        # Known before parsing, so that a misspelt option beside --json is reported as an event too.
        state["console"] = Console(json="--json" in arguments, quiet="--quiet" in arguments)
    try:
        with command_folder.make_context("clue", arguments, obj=state) as context:
            command_folder.invoke(context)
    except click.exceptions.NoArgsIsHelpError as help_wanted:
        click.echo(help_wanted.ctx.get_help() if help_wanted.ctx else "")
        return 0 if not arguments else 2
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        return fail(state, click_message(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return fail(state, "interrupted", 130)
    except BrokenPipeError:
        from clue_runner.console import leave_broken_pipe

        leave_broken_pipe()
    except Exception as error:
        return report(state, error)
    return 0


def _make_streams_safe() -> None:
    """Make no character fail to print: an ASCII or GBK terminal gets escapes instead of a traceback."""
    for stream in (sys.stdout, sys.stderr):  # each is None where it was closed
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")
