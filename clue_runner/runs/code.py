"""Which program this is: its version, and one hash over the source that affects scores.

In: this package's own files. Out: a text such as ``0.1.0+3f9c0a12b7de``.
Knows nothing about runs. A commit would not do: a wheel has none, and a changed working tree has an old one.
"""

from __future__ import annotations

import hashlib
from functools import cache

from clue_runner import __version__
from clue_runner.config.shipped import PACKAGE

# Packages that affect neither weights nor scores: printing, options, planning and drawing.
INDIFFERENT = frozenset({"cli", "commands", "console", "memory", "reports", "suites", "_shipped"})


@cache
def code_version() -> str:
    """Return the version and the hash of the program that runs in this process."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        inner = path.relative_to(PACKAGE)
        if len(inner.parts) > 1 and inner.parts[0] not in INDIFFERENT:
            digest.update(f"{inner.as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return f"{__version__}+{digest.hexdigest()[:12]}"
