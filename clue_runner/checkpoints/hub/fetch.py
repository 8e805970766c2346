"""Download a model from the hub: only the files needed, each verified by its hash, and nothing twice.

In: a name. Out: its pin, with a folder that holds the files. Downloads are those of ``huggingface_hub``: its
cache, its resumption, its variables (HF_ENDPOINT, HF_HOME, HF_TOKEN, HF_HUB_OFFLINE).
Knows nothing about what the files hold.

A model downloaded once is never looked up again: a branch that moves on, or a file that was replaced
under the same name, would make the same command train another model.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_runner.checkpoints.files import MAX_JSON_BYTES, digest_of
from clue_runner.checkpoints.formats.google import INDEX, SHARD
from clue_runner.checkpoints.formats.recognise import face_weights
from clue_runner.checkpoints.formats.shards import shard_names
from clue_runner.checkpoints.hub.pins import HubName, Pin, read_pin, write_pin
from clue_runner.checkpoints.tokenizer_files import DECISIVE_FILES
from clue_runner.data.at_hand import is_offline
from clue_runner.errors import CheckpointError, ClueError, Problem, StorageError
from clue_runner.tokens.tokenizer_json import TOKENIZER_JSON

EXTRA = "pip install 'clue-runner[hub]'"
NO_CONFIGS = ("generation_config.json", "preprocessor_config.json")
SHARDED = ".index.json"
PATIENCE = float(os.environ.get("HF_HUB_ETAG_TIMEOUT", "10"))  # seconds; the library has none for a listing


@dataclass(frozen=True)
class Listing:
    """What the hub says of a revision: its commit, and file -> sha256, where it says one."""

    commit: str
    files: Mapping[str, str | None]


def fetch(name: HubName, *, update: bool = False) -> Pin:
    """Return the pin of a model after downloading what is missing.

    Args:
        name: the model's.
        update: look the revision up again instead of using the pinned commit.

    Raises:
        CheckpointError: the hub does not answer or has no such model, the model has no weights that can be
            read, or a file is not the pinned or announced one.
        StorageError: the disk refused.
    """
    pin = None if update else read_pin(name)
    if pin is not None and all((pin.folder / file).is_file() for file in pin.files):
        _compare(name, pin, small=True)
        return pin
    library = _library(name)
    with _told(name):
        listing = _listing(library, name, pin.commit if pin else name.revision)
    files = needed_files(list(listing.files))
    if not files:
        raise _no_weights(name, listing)
    folder, digests = None, {}
    while files:
        file = files.pop(0)
        path, digests[file] = _download(library, name, listing, file)
        folder = folder or path.parents[len(Path(file).parts) - 1]
        if file.endswith(SHARDED):
            files += [shard for shard in shard_names(path) if shard in listing.files]
    if folder is None:
        raise _no_weights(name, listing)
    found = Pin(listing.commit, folder, digests)
    if pin is not None:
        _compare(name, Pin(pin.commit, folder, pin.files), small=False)
    write_pin(name, found)
    return found


def needed_files(names: Sequence[str]) -> list[str]:
    """Return the files of a repository that a checkpoint is read from; none where it has no weights."""
    top = [name for name in names if "/" not in name]
    weights = face_weights(top)
    if len(weights) != 1:
        indexes = [name for name in top if name.endswith(INDEX)]
        weights = indexes[:1] if len(indexes) == 1 else []
        weights += [name for name in top if weights and SHARD.search(name)]
    configs = [name for name in top if name.endswith("config.json") and name not in NO_CONFIGS]
    tokenizer = [name for name in (*DECISIVE_FILES, TOKENIZER_JSON) if name in top]
    return list(dict.fromkeys((*configs, *tokenizer, *weights))) if weights and configs else []


def _compare(name: HubName, pin: Pin, *, small: bool) -> None:
    """Refuse files that are not the pinned ones; large ones are hashed when they are read."""
    different = []
    for file, digest in pin.files.items():
        path = pin.folder / file
        if (not small or path.stat().st_size <= MAX_JSON_BYTES) and digest_of(path) != digest:
            different.append(Problem("this is not the pinned file", file, allowed=f"sha256 {digest}"))
    if different:
        raise other_files(name, pin, different)


def other_files(name: HubName, pin: Pin, problems: Sequence[Problem]) -> CheckpointError:
    """Return the error for files that are not the pinned ones."""
    return CheckpointError(
        f"files of {name} have changed since they were first downloaded",
        where=str(pin.folder),
        problems=problems,
        next_step=f"delete that folder and run the same command again; to update on purpose: "
        f"clue models get {name} --update",
    )


def _listing(library: Any, name: HubName, revision: str) -> Listing:
    """Ask the hub what a revision holds; if it does not answer, use the library's cache."""
    if is_offline():
        kept = _kept(name, revision)
        if kept is None:
            raise CheckpointError(
                f"{name} is not downloaded yet, and downloads are disabled",
                where="CLUE_OFFLINE",
                next_step=f"download it with a network connection: clue models get {name}",
            )
        return kept
    endpoint = os.environ.get("HF_ENDPOINT")
    try:
        info = library.HfApi(endpoint=endpoint).model_info(
            name.repository, revision=revision, files_metadata=True, timeout=PATIENCE
        )
    except library.utils.HfHubHTTPError as error:
        if error.response is not None and error.response.status_code < 500:
            raise
        return _kept(name, revision) or _raise(error)
    except Exception as error:
        return _kept(name, revision) or _raise(error)
    files = {
        sibling.rfilename: sibling.lfs.sha256 if sibling.lfs is not None else None
        for sibling in info.siblings or ()
    }
    return Listing(str(info.sha), files)


def _raise(error: Exception) -> Listing:
    raise error


def _kept(name: HubName, revision: str) -> Listing | None:
    """Return what the library's cache holds of a revision, as another program left it; None: nothing."""
    model = cache_folder() / f"models--{name.repository.replace('/', '--')}"
    try:
        commit = (model / "refs" / revision).read_text(encoding="utf-8").strip()
    except OSError:
        commit = revision
    snapshot = model / "snapshots" / commit
    if not commit or "/" in commit or not snapshot.is_dir():
        return None
    return Listing(commit, {path.name: None for path in sorted(snapshot.iterdir()) if path.is_file()})


def cache_folder() -> Path:
    """Return the folder of the library's cache, by its own variables."""
    home = os.environ.get("HF_HOME")
    named = os.environ.get("HF_HUB_CACHE")
    default = Path(home).expanduser() if home else Path.home() / ".cache" / "huggingface"
    return Path(named).expanduser() if named else default / "hub"


def _download(library: Any, name: HubName, listing: Listing, file: str) -> tuple[Path, str]:
    """Return a file's path and sha256; one that differs from the hub's hash is downloaded again."""
    promised = listing.files[file]
    found = ""
    for again in (False, True):
        with _told(name):
            path = library.hf_hub_download(
                name.repository,
                file,
                revision=listing.commit,
                endpoint=os.environ.get("HF_ENDPOINT"),
                cache_dir=cache_folder(),
                force_download=again,
                local_files_only=promised is None and _is_kept(name, listing.commit, file),
            )
        found = digest_of(Path(path))
        if promised is None or found == promised:
            return Path(path), found
    Path(path).resolve().unlink(missing_ok=True)
    raise CheckpointError(
        f"{file} is not the file announced by the hub",
        where=str(name),
        received=f"sha256 {found}",
        allowed=f"sha256 {promised}",
        next_step="the transfer or the mirror is at fault: try again, or use another HF_ENDPOINT",
    )


def _is_kept(name: HubName, commit: str, file: str) -> bool:
    model = cache_folder() / f"models--{name.repository.replace('/', '--')}"
    return (model / "snapshots" / commit / file).is_file()


def _library(name: HubName) -> Any:
    """Return the hub's library."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise CheckpointError(
            "models from the hub need huggingface_hub, which is not installed",
            received=str(name),
            next_step=f"{EXTRA}, or download the model's files into a folder and name that",
        ) from error
    return huggingface_hub


@contextmanager
def _told(name: HubName) -> Iterator[None]:
    """Turn what the library raises into the user's error."""
    try:
        yield
    except ClueError:
        raise
    except OSError as error:
        if error.errno is not None and error.filename is not None:
            raise StorageError(f"cannot write: {error.strerror}", where=str(error.filename)) from error
        raise _unreached(name, error) from error
    # The library raises its own errors and those of its HTTP client, which share no base class.
    except Exception as error:
        raise _unreached(name, error) from error


def _unreached(name: HubName, error: Exception) -> CheckpointError:
    reason = str(error).strip().partition("\n")[0][:300]
    return CheckpointError(
        f"{name} cannot be downloaded: {type(error).__name__}",
        received=reason or None,
        next_step="check the name and the network; set a mirror with HF_ENDPOINT=https://...; a model "
        "behind a login needs HF_TOKEN; or download the files elsewhere and name their folder",
    )


def _no_weights(name: HubName, listing: Listing) -> CheckpointError:
    return CheckpointError(
        f"{name} has no readable config and weights",
        received=", ".join(sorted(listing.files)[:20]),
        allowed="config.json with model.safetensors, pytorch_model.bin or tf_model.h5",
        next_step="use another model, or convert this one with the program that made it",
    )
