"""The score of the linear baseline, if ``clue baseline`` has written one for the same dev records.

In: the folder of a task's runs, the hash of dev. Out: a score. Knows nothing about how it was computed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from clue_runner.errors import StorageError
from clue_runner.files.reading import DamagedFileError, read_object

NAME: Final = "linear"  # the folder next to a task's runs; ``-sample`` is added for sample data
FILE: Final = "baseline.json"


def baseline_score(runs: Path, dev_sha256: str | None) -> float | None:
    """Return the score on exactly these dev records; None if there is none that can be read.

    Args:
        runs: the folder of the task's runs.
        dev_sha256: hash of the dev file that is compared.
    """
    for name in (NAME, f"{NAME}-sample"):
        try:
            content = read_object(runs / name / FILE)
            if content["data_sha256"]["dev"] == dev_sha256:
                return float(content["score"])
        except (FileNotFoundError, DamagedFileError, StorageError, KeyError, TypeError, ValueError):
            continue  # only a comparison: the page is complete without it
    return None
