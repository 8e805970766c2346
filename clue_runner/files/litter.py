"""What lies in folders and archives and is nobody's content: one rule for every listing.

In: names as they are in a folder or an archive. Out: whether to pass over them, or what is left.
Knows nothing about what the other files mean.
"""

from __future__ import annotations

from pathlib import Path

# Compared in lower case: what macOS, Windows, network drives and notebooks leave behind.
LITTER = {
    "__macosx",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "icon\r",
    "$recycle.bin",
    "system volume information",
    "@eadir",
}


def is_litter(name: str) -> bool:
    """Return whether a name, or any folder on a path inside an archive, is litter.

    Litter is whatever starts with a dot (``._x``, ``.DS_Store``, ``.x.swp``, ``.#x``: hidden files are no
    content), the names in ``LITTER``, and what editors and office programs keep beside a file (``x~``,
    ``#x#``, ``~$x``).

    Examples:
        >>> [is_litter(name) for name in ("train.json", "__MACOSX/train.json", "data/._train.json")]
        [False, True, True]
    """
    return any(_is_litter(part) for part in name.replace("\\", "/").split("/") if part not in {"", ".", ".."})


def entries(folder: Path) -> list[Path]:
    """Return what lies in ``folder``, sorted by name, without litter; raises ``OSError``."""
    return sorted(path for path in folder.iterdir() if not is_litter(path.name))


def _is_litter(part: str) -> bool:
    """Return whether one part of a path is litter."""
    between_hashes = len(part) > 2 and part.startswith("#") and part.endswith("#")
    return part.startswith((".", "~$")) or part.endswith("~") or between_hashes or part.lower() in LITTER
