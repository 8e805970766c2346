"""A checkpoint's own vocabulary: whether it is complete and in use, and what other files add to it.

In: a folder, the vocabulary in use, the rows of the token embeddings. Out: notices, or why the vocabulary is
refused. Knows nothing about weights or texts.

Ids are line numbers: with another file of equal length every embedding row means something else,
and the network still trains.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from clue_runner.checkpoints.tokenizer_files import VOCABULARY, added_tokens, further_special_tokens
from clue_runner.errors import CheckpointError, Problem
from clue_runner.tokens.tokenizer_json import TOKENIZER_JSON, beside_pieces
from clue_runner.tokens.vocabulary import (
    SPECIAL_TOKENS,
    Vocabulary,
    parse_vocabulary,
    read_vocabulary_file,
)

BELONGS = "use the vocab.txt that belongs to the checkpoint"
TRUST = "if you know that its ids match the training of the weights: --set model.vocab_trust=true"
ROUNDED_TO = (8, 16, 32, 64, 128)  # published embedding tables are padded to a multiple of these
SPARE_SHARE = 0.005  # or have a few spare rows: ERNIE 1.0 has 17,964 pieces and 18,000 rows


def vocabulary_notices(path: Path, vocab_size: int) -> list[str]:
    """Compare a checkpoint's own vocabulary with its token embeddings and with the tokens added to it.

    Raises:
        CheckpointError: the vocabulary cannot be used, is longer than the table, or has a special token at
            another id than in the folder's other files.
    """
    vocabulary = parse_vocabulary(read_vocabulary_file(path), path)
    if len(vocabulary) > vocab_size:
        raise _longer(path, len(vocabulary), vocab_size)
    notices = _added_notices(path, vocabulary)
    if len(vocabulary) < vocab_size:
        notices.append(
            f"{path} has {len(vocabulary):,} lines, the embeddings {vocab_size:,} rows: the last go unused"
        )
    return notices


def refuse_other_vocabulary(
    path: Path, vocabulary: Vocabulary, folder: Path, vocab_size: int, *, trusted: bool
) -> None:
    """Refuse a vocabulary that is not the one the weights of a checkpoint were trained with.

    Args:
        path: the file in use, for messages.
        vocabulary: what it holds.
        folder: the checkpoint's folder; its own vocabulary, where it has one, is what counts.
        vocab_size: rows of the token embeddings.
        trusted: ``model.vocab_trust``; a vocabulary longer than the table is refused all the same.

    Raises:
        CheckpointError: it is longer than the table, differs from the folder's own, or leaves more rows of
            the table unused than tables are padded with.
    """
    if len(vocabulary) > vocab_size:
        raise _longer(path, len(vocabulary), vocab_size)
    if trusted:
        return
    for name, own in _own_vocabularies(folder):
        if own != vocabulary.ids:
            raise CheckpointError(
                f"the vocabulary differs from the checkpoint's own {name}",
                where=str(path),
                received=_difference(vocabulary, own),
                allowed=f"the pieces and ids of {folder / name}",
                next_step=f"{BELONGS} (--set model.vocab=auto); {TRUST}",
            )
    unused = vocab_size - len(vocabulary)
    rounded = {-(-len(vocabulary) // multiple) * multiple for multiple in ROUNDED_TO}
    if unused and vocab_size not in rounded and unused > SPARE_SHARE * vocab_size:
        raise CheckpointError(
            "the vocabulary is too short for these token embeddings",
            where=str(path),
            received=f"{len(vocabulary):,} lines",
            allowed=f"{vocab_size:,}, the rows of the table, or slightly fewer if the table is padded",
            next_step=f"{BELONGS}; {TRUST}",
        )


def no_vocab(folder: Path) -> CheckpointError:
    """Return the error for a checkpoint without a vocabulary."""
    return CheckpointError(
        f"the checkpoint has no {VOCABULARY} and no {TOKENIZER_JSON}",
        where=str(folder),
        next_step=f"put its {VOCABULARY} into the folder, or name one with --set model.vocab=FILE",
    )


def _added_notices(path: Path, vocabulary: Vocabulary) -> list[str]:
    """Return notices about tokens listed in other files of the folder.

    Raises:
        CheckpointError: a file contains something else, or gives a special token another id.
    """
    notices = []
    for file, added in added_tokens(path.parent):
        problems = [
            Problem(name, file, str(added[name]), f"{vocabulary.ids[name]}, its line in {path.name}")
            for name in SPECIAL_TOKENS
            if added.get(name, vocabulary.ids[name]) != vocabulary.ids[name]
        ]
        if problems:
            raise CheckpointError(
                f"{path.name} and {file} give a special token different ids",
                where=str(path.parent),
                problems=problems,
                next_step=BELONGS,
            )
        other = [token for token, index in added.items() if vocabulary.ids.get(token) != index]
        if other:
            notices.append(
                f"{path.parent / file} adds tokens that {path.name} does not have ({_listed(other)}): "
                f"texts are still split into the pieces of {path.name}"
            )
    if further := further_special_tokens(path.parent):
        notices.append(
            f"{path.parent} names further special tokens ({_listed(further)}): "
            "in texts they are treated as plain text"
        )
    return notices


def _listed(tokens: Sequence[str]) -> str:
    """Return the number of tokens and the first of them."""
    return f"{len(tokens):,}: {', '.join(map(repr, tokens[:3]))}{', ...' * (len(tokens) > 3)}"


def _own_vocabularies(folder: Path) -> Iterator[tuple[str, Mapping[str, int]]]:
    """Yield file -> piece -> id of the vocabularies in a checkpoint's folder."""
    path = folder / VOCABULARY
    if path.exists():
        yield VOCABULARY, parse_vocabulary(read_vocabulary_file(path), path).ids
    if (folder / TOKENIZER_JSON).exists():
        pieces = beside_pieces(folder / TOKENIZER_JSON)
        if pieces is not None:
            yield TOKENIZER_JSON, pieces


def _difference(vocabulary: Vocabulary, own: Mapping[str, int]) -> str:
    """Return how many pieces differ, and the first of them."""
    different = [piece for piece, index in own.items() if vocabulary.ids.get(piece) != index]
    added = [piece for piece in vocabulary.ids if piece not in own]
    first = next(iter(different or added))
    there, here = own.get(first, "none"), vocabulary.ids.get(first, "none")
    count = len(different) + len(added)
    return f"{count:,} pieces differ, such as {first!r}: id {there} there, {here} here"


def _longer(path: Path, lines: int, rows: int) -> CheckpointError:
    return CheckpointError(
        "the vocabulary is longer than the token embeddings",
        where=str(path),
        received=f"{lines} lines",
        allowed=f"up to {rows}",
        next_step=BELONGS,
    )
