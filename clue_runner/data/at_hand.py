"""Whether and where a task's data lies on this machine; its content is not looked at.

In: a card. Out: folders. Knows nothing about the content of the files, or about downloads.
"""

from __future__ import annotations

import os
from pathlib import Path

from clue_runner.config.shipped import clue_home
from clue_runner.data.card import Card


def data_folder(card: Card) -> Path:
    """Return where ``clue data get`` puts the task's zip: ``$CLUE_HOME/data/<task>``."""
    return clue_home() / "data" / card.name


def data_at_hand(card: Card) -> Path | None:
    """Return the folder with the card's data if none is named, or None.

    Files beside a user's own card come first: another task's data of the same name may lie in the cache.
    """
    folders = (card.folder, card.folder / "data", data_folder(card))
    return next((folder for folder in folders if folder.is_dir() and _holds_data(folder, card)), None)


def _holds_data(folder: Path, card: Card) -> bool:
    """Return whether the folder itself holds a file or the zip of the card."""
    names = {name for split in card.splits.values() for name in split.file_names}
    if card.download:
        names.add(card.download.file)
    return any((folder / name).is_file() for name in names)


def is_offline(offline: bool | None = None) -> bool:
    """Return whether downloads are off, by the flag or by ``$CLUE_OFFLINE``."""
    return offline if offline is not None else os.environ.get("CLUE_OFFLINE", "") not in {"", "0"}
