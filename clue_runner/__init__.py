"""Train, score and submit for CLUE.

The commands as Python calls: ``train``, ``pretrain``, ``predict``, ``evaluate``, ``generate``, ``bench``,
``load_backbone``, ``load_decoder``, ``load_tokenizer``, ``load_run``, ``load_result``.
They are imported when first asked for, so that ``import clue_runner`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_CALLS = {
    "load_backbone": "clue_runner.commands.loading",
    "load_tokenizer": "clue_runner.commands.loading",
    "train": "clue_runner.api",
    "pretrain": "clue_runner.api",
    "predict": "clue_runner.api",
    "evaluate": "clue_runner.api",
    "generate": "clue_runner.api",
    "load_decoder": "clue_runner.commands.generation.calls",
    "bench": "clue_runner.api",
    "load_run": "clue_runner.commands.loading",
    "load_result": "clue_runner.runs.find",
}

__all__ = ["__version__", *_CALLS]


def __getattr__(name: str) -> Any:
    """Import a call when it is first asked for."""
    if name not in _CALLS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_CALLS[name]), name)


def __dir__() -> list[str]:
    """List the calls too."""
    return sorted([*globals(), *_CALLS])
