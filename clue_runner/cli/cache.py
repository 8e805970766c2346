"""Show what lies under $CLUE_HOME, and delete what can be made again.

In: the kind to clear. Out: sizes. Knows nothing about what the files hold.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from clue_runner.cli.main import context_console

# Checkpoints are never cleared: they took the user's own trouble to get.
FOLDERS = {
    "rows": "cache/rows",
    "texts": "cache/texts",
    "compiled": "cache/compiled",
    "data": "data",
    "logs": "logs",
    "models": "models",
}
CLEARED_BY = {
    "rows": ("rows",),
    "texts": ("texts",),
    "compiled": ("compiled",),
    "data": ("data",),
    "all": ("rows", "texts", "compiled", "data", "logs"),
}


@click.command()
@click.option(
    "--clear",
    type=click.Choice(list(CLEARED_BY)),
    help="Delete encoded rows, tokens of running text, compiled steps, downloads, or all of them and logs.",
)
@click.option("--json", is_flag=True, help="One JSON object.")
@click.pass_context
def command(ctx: click.Context, clear: str | None, json: bool) -> None:
    """Show the sizes of caches and downloads; delete them with --clear. Checkpoints are never deleted."""
    console = context_console(ctx, json=json)
    from clue_runner.config.shipped import clue_home
    from clue_runner.console import file_size

    home = clue_home()
    cleared = {name: _clear(home / FOLDERS[name]) for name in (CLEARED_BY[clear] if clear else ())}
    sizes = {name: _size(home / folder) for name, folder in FOLDERS.items()}
    console.event({"event": "result", "ok": True, "home": home, "bytes": sizes, "cleared_bytes": cleared})
    if json:
        return
    for name, size in cleared.items():
        console.say(f"deleted {file_size(size)} in {home / FOLDERS[name]}")
    console.table(
        ["kind", "size", "folder"],
        [[name, file_size(size), str(home / FOLDERS[name])] for name, size in sizes.items()],
    )


def _size(folder: Path) -> int:
    """Return the bytes of all files below; links count as themselves."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_symlink() or path.is_file())


def _clear(folder: Path) -> int:
    """Delete a folder and return how many bytes it held; a linked one is refused."""
    from clue_runner.errors import StorageError

    if folder.is_symlink():
        raise StorageError(
            f"{folder} is a link; its target is not deleted", next_step=f"clear {folder.readlink()} by hand"
        )
    size = _size(folder)
    if folder.is_dir():
        shutil.rmtree(folder)
    return size
