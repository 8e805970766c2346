"""Where the shipped data and the user's cache lie.

In: nothing but the environment. Out: folders. Knows nothing about what is in them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

PACKAGE = Path(__file__).resolve().parent.parent


def shipped_folder(kind: Literal["tasks", "configs"]) -> Path:
    """Return the folder of the shipped cards or configs.

    A wheel carries them in ``clue_runner/_shipped``; an editable install reads the visible ones at the
    top of the repository. A built copy is looked for first, so an installed wheel never reads a stray folder.
    """
    shipped = PACKAGE / "_shipped" / kind
    return shipped if shipped.is_dir() else PACKAGE.parent / kind


def clue_home() -> Path:
    """Return the folder for downloads, checkpoints and caches: ``$CLUE_HOME``, else ``~/.cache/clue``."""
    home = os.environ.get("CLUE_HOME")
    return Path(home).expanduser() if home else Path.home() / ".cache" / "clue"
