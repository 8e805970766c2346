"""Open a checkpoint of any known layout and account for every tensor before one is used.

In: a path, whose files tell the layout. Out: a ``Checkpoint``, or all problems at once.
Knows nothing about how networks are built.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_runner.architectures.name_table import below
from clue_runner.checkpoints.advice.diagnose import Case, diagnose
from clue_runner.checkpoints.checkpoint import EXACT, Checkpoint, Weights, wrong_types
from clue_runner.checkpoints.config_file import Described, read_config
from clue_runner.checkpoints.files import TensorReader, read_json, require_file
from clue_runner.checkpoints.formats.recognise import open_weights
from clue_runner.checkpoints.formats.run_weights import RunReader
from clue_runner.checkpoints.locate import Located, locate
from clue_runner.checkpoints.plan import Plan, Wanted, make_plan
from clue_runner.checkpoints.rules import IGNORE_RULE
from clue_runner.checkpoints.tokenizer_files import DECISIVE_FILES, read_lowercase, vocabulary_file
from clue_runner.checkpoints.vocabularies import no_vocab, vocabulary_notices
from clue_runner.errors import CheckpointError

NO_POOLER_NOTICE = "the checkpoint has no pooler: with pooling 'pooler' a new one starts from random weights"

MOST_TENSORS = 5_000  # 48 blocks with three slots of an optimizer for each weight have 3,100


@dataclass(frozen=True)
class _Opened:
    """A layout's description before its tensors are matched."""

    reader: TensorReader
    described: Described
    lowercase: bool | None = None
    ids_sha256: str | None = None


def read_checkpoint(path: str | Path, *, heads: Sequence[str] = (), ignore: Sequence[str] = ()) -> Checkpoint:
    """Open a checkpoint: Google's, Hugging Face's, or the best weights of one of our runs.

    Args:
        path: its folder, or the prefix of a TensorFlow checkpoint.
        heads: pre-training heads in the family's table that are used too, if present.
        ignore: tensors to leave out beside those of the rules: names, or prefixes that end with ``.`` or
            ``/``.

    Raises:
        CheckpointError: no such folder, no known layout, an unsupported family, or any tensor that is
            unmapped, missing, or of a wrong shape or type (all named at once).
        RefusedFileError: a malformed file.
        StorageError: a file cannot be read now.
    """
    located = locate(path)
    folder = located.folder
    opened = _open(located)
    described = opened.described
    wanted = Wanted(
        described.architecture.names,
        described.shape.num_layers,
        described.shape.axes(described.vocab_size),
        tuple(heads),
        tuple(ignore),
    )
    _refuse_many(opened.reader.shapes(), located)
    plan = make_plan(opened.reader.shapes(), wanted, located.layout)
    _refuse(plan, wanted, located, opened)
    notices = [*located.notices, *_notices(plan, wanted)]
    lowercase = opened.lowercase
    if lowercase is None:
        lowercase, _ = read_lowercase(folder)
    vocab = vocabulary_file(folder)
    if vocab:
        require_file(vocab)
        if not described.shape.OWN_VOCABULARY:
            notices += vocabulary_notices(vocab, described.vocab_size)
    own = (folder / name for name in DECISIVE_FILES)
    files = dict.fromkeys((*opened.reader.files, located.config, *own, vocab))
    return Checkpoint(
        folder=folder,
        layout=located.layout,
        architecture=described.architecture,
        shape=described.shape,
        config=_settings(described, lowercase),
        vocab_size=described.vocab_size,
        vocab=vocab,
        lowercase=lowercase,
        weights=Weights(opened.reader, plan.sources, folder),
        report=plan.report,
        absent=plan.absent,
        notices=tuple(notices),
        files=tuple(file for file in files if file is not None and file.exists()),
        heads=tuple(heads),
        ids_sha256=opened.ids_sha256,
        pinned=located.pinned,
    )


def read_settings(path: str | Path) -> dict[str, Any]:
    """Return the settings of ``model:`` that a checkpoint fixes; opens no weights, needs no TensorFlow.

    Raises:
        CheckpointError: as ``read_checkpoint``, except for what only the weights can show.
    """
    located = locate(path)
    if located.config is None:
        saved = RunReader(located.folder).saved
        return _settings(Described(saved.architecture, saved.shape, saved.vocab_size), saved.lowercase)
    return _settings(read_config(located.config), read_lowercase(located.folder)[0])


def find_vocab(path: str | Path) -> tuple[Path, bool]:
    """Return the vocabulary of a checkpoint and whether its texts are lower-cased; opens no weights.

    Raises:
        CheckpointError: there is none.
    """
    located = locate(path)
    vocab = vocabulary_file(located.folder)
    if vocab is None:
        raise no_vocab(located.folder)
    require_file(vocab)
    if located.config is None:
        return vocab, RunReader(located.folder).saved.lowercase
    return vocab, read_lowercase(located.folder)[0]


def _open(located: Located) -> _Opened:
    """Open the weights; no value is read."""
    if located.config is None:
        reader = RunReader(located.folder)
        saved = reader.saved
        described = Described(saved.architecture, saved.shape, saved.vocab_size)
        return _Opened(reader, described, saved.lowercase, _ids_of(reader))
    described = read_config(located.config)
    return _Opened(open_weights(located.weights), described)


def _ids_of(reader: RunReader) -> str | None:
    """Return the hash of what made the ids of a run's texts, where they are not word pieces."""
    return reader.ids_sha256 if reader.saved.shape.OWN_VOCABULARY else None


def _settings(described: Described, lowercase: bool) -> dict[str, Any]:
    """Return the settings that a checkpoint fixes."""
    shape = described.shape
    said = shape.model_fields_set - shape.WAYS
    return {
        "family": described.architecture.name,
        **shape.model_dump(include=set(said)),
        "lowercase": lowercase,
    }


def _refuse_many(shapes: Mapping[str, tuple[int, ...]], located: Located) -> None:
    """Stop at more tensors than a network has: to match each with the tables takes long."""
    if len(shapes) > MOST_TENSORS:
        raise CheckpointError(
            "the file contains more tensors than any known network",
            where=str(located.weights),
            received=f"{len(shapes):,}",
            allowed=f"{MOST_TENSORS:,} at most",
            next_step="take the published weights alone, without what else was saved with them",
        )


def _refuse(plan: Plan, wanted: Wanted, located: Located, opened: _Opened) -> None:
    """Stop at a checkpoint with problems, all of them named, or with types that cannot be used."""
    if plan.problems:
        config = (located.config or located.weights).name
        shapes, family = opened.reader.shapes(), opened.described.architecture.name
        raw = {} if located.config is None else read_json(located.config)
        finding = diagnose(Case(shapes, plan, wanted, located.layout, family, config, raw))
        raise CheckpointError(
            finding.what,
            where=str(located.folder),
            problems=finding.problems,
            next_step=finding.next_step,
        )
    types = opened.reader.types()
    wrong = {source.name: types[source.name] for source in plan.sources.values()}
    wrong = {name: kind for name, kind in wrong.items() if kind not in EXACT}
    if wrong:
        raise wrong_types(located.folder, wrong)


def _notices(plan: Plan, wanted: Wanted) -> Iterator[str]:
    """Yield notices about the tensors for the user."""
    if plan.prefix:
        yield f"all tensor names begin with {plan.prefix}, which was removed"
    if "pooler" in plan.absent:
        yield NO_POOLER_NOTICE
    ignored = [use.name for use in plan.report if use.rule == IGNORE_RULE]
    if ignored:
        yield f"{len(ignored)} tensors are left out by model.ignore"
    for pattern in wanted.ignore:
        if not any(
            below(name, pattern) or below(name.removeprefix(plan.prefix), pattern) for name in ignored
        ):
            yield f"model.ignore: the checkpoint has no tensor called {pattern}"
