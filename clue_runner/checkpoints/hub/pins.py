"""A model's name on the hub, and what was downloaded under it: one pin file per name, kept in $CLUE_HOME.

In: ``hf:OWNER/NAME[@REVISION]``. Out: the name, and its pin: commit, folder, the sha256 of each file.
Knows nothing about networks or about what the files hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clue_runner.config.shipped import clue_home
from clue_runner.errors import CheckpointError
from clue_runner.files.atomic import make_folder, write_json
from clue_runner.files.reading import DamagedFileError, read_object

SCHEME, MAIN = "hf:", "main"
PART = r"[A-Za-z0-9][\w.-]{0,95}"
NAME = re.compile(rf"hf:(?P<repository>{PART}/{PART})(?:@(?P<revision>[\w./-]{{1,200}}))?", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
PIN_SCHEMA = 1


@dataclass(frozen=True)
class HubName:
    """A model on the hub at a revision: a branch, a tag or a commit."""

    repository: str
    revision: str

    def __str__(self) -> str:
        """Return the name as a user writes it."""
        return f"{SCHEME}{self.repository}" + (f"@{self.revision}" if self.revision != MAIN else "")

    @property
    def pin_path(self) -> Path:
        """Return where its pin is kept."""
        name = f"{self.repository}@{self.revision}".replace("/", "--")
        return clue_home() / "models" / "pins" / f"{name}.json"


@dataclass(frozen=True)
class Pin:
    """What was downloaded under a name.

    Args:
        commit: the one that the revision meant when it was first looked up.
        folder: where the files lie.
        files: name -> sha256.
    """

    commit: str
    folder: Path
    files: Mapping[str, str]


def parse_name(text: str) -> HubName:
    """Return the model that a text names.

    Raises:
        CheckpointError: it is not a valid name.
    """
    found = NAME.fullmatch(text)
    if found is None or ".." in text or found["repository"].endswith((".git", ".ipynb")):
        raise CheckpointError(
            "not the name of a model on the Hugging Face hub",
            received=text,
            allowed="hf:OWNER/NAME or hf:OWNER/NAME@REVISION",
            next_step="use the name in the URL of its page: hf:hfl/chinese-macbert-base",
        )
    return HubName(found["repository"], found["revision"] or MAIN)


def read_pin(name: HubName) -> Pin | None:
    """Return what was downloaded under a name; None: nothing yet.

    Raises:
        CheckpointError: the pin file is damaged; replacing it must be the user's decision.
        StorageError: it cannot be read now.
    """
    try:
        content = read_object(name.pin_path)
        commit, folder, files = content["commit"], content["folder"], content["files"]
        if (
            content["schema"] != PIN_SCHEMA
            or not COMMIT.fullmatch(commit)
            or not all(SHA256.fullmatch(digest) for digest in files.values())
        ):
            raise ValueError("of another form")
        return Pin(commit, Path(folder), dict(files))
    except FileNotFoundError:
        return None
    except (DamagedFileError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"the pin of {name} is damaged",
            where=str(name.pin_path),
            received=str(error),
            next_step=f"replace it by the hub's current version: clue models get {name} --update",
        ) from error


def write_pin(name: HubName, pin: Pin) -> None:
    """Record what was downloaded under a name.

    Raises:
        StorageError: it cannot be written.
    """
    make_folder(name.pin_path.parent)
    content = {"commit": pin.commit, "folder": str(pin.folder), "files": dict(pin.files)}
    write_json(name.pin_path, {"schema": PIN_SCHEMA, **content})
