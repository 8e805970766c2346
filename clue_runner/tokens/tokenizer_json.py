"""A ``tokenizer.json``, as ``transformers`` saves it today: BERT's WordPiece is read, any other refused.

In: the file. Out: pieces by id, whether texts are lower-cased, the tokens added to the vocabulary; or
every setting that would split texts differently, by its place. Knows nothing about weights.

The file describes a whole program of steps (normaliser, splitter, model, special tokens). If one of them were
ignored, the network would silently get other ids than it was trained on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_runner.errors import CheckpointError, Problem
from clue_runner.files.reading import DamagedFileError, read_object

TOKENIZER_JSON = "tokenizer.json"
LARGEST = 16 * 2**20  # bytes; 120,000 pieces of many languages have a fifth of it
SPARE_IDS = 0.01  # ids without a piece, as a share of the pieces: a file with a repeated line has them
KIND = "WordPiece"
ADVICE = "use a checkpoint whose tokenizer is the WordPiece of Google's Chinese models"
SHOWN = 80  # characters of a value in a message
# Place -> the only value that our tokenizer follows. Files of 2020 do not name the type of the model.
FIXED: Mapping[tuple[str, ...], object] = {
    ("normalizer", "type"): "BertNormalizer",
    ("normalizer", "clean_text"): True,
    ("normalizer", "handle_chinese_chars"): True,
    ("pre_tokenizer", "type"): "BertPreTokenizer",
    ("model", "unk_token"): "[UNK]",
    ("model", "continuing_subword_prefix"): "##",
    ("model", "max_input_chars_per_word"): 100,
}
TEMPLATES = {"single": ["[CLS]", "A", "[SEP]"], "pair": ["[CLS]", "A", "[SEP]", "B", "[SEP]"]}


@dataclass(frozen=True)
class TokenizerJson:
    """The content of a file.

    Args:
        pieces: every id's piece in order; "" where an id has none.
        lowercase: whether texts are lower-cased and accents removed.
        added: tokens outside the vocabulary or repeated from it, with their ids.
    """

    pieces: tuple[str, ...]
    lowercase: bool
    added: Mapping[str, int]

    @property
    def lines(self) -> bytes:
        """Return the vocabulary as a ``vocab.txt`` holds it."""
        return "".join(f"{piece}\n" for piece in self.pieces).encode("utf-8")


def read_tokenizer_json(path: Path) -> TokenizerJson:
    """Return the content of a ``tokenizer.json``.

    Raises:
        CheckpointError: missing, too large, damaged, or another tokenizer than BERT's; all settings that
            differ are named.
        StorageError: it cannot be read now.
    """
    content = _content(path)
    model = _object(content.get("model"))
    if (kind := model_kind(content)) != KIND:
        raise CheckpointError(
            "the tokenizer is not supported",
            where=f"{path}: model.type",
            received=_shown(kind),
            allowed=KIND,
            next_step=ADVICE,
        )
    problems = [*_setting_problems(content), *_template_problems(content.get("post_processor"))]
    pieces, faults = _pieces(model.get("vocab"))
    added, more = _added(content.get("added_tokens"))
    problems += [*faults, *more]
    if problems:
        raise CheckpointError(
            "the tokenizer is not supported", where=str(path), problems=problems, next_step=ADVICE
        )
    return TokenizerJson(tuple(pieces), content["normalizer"]["lowercase"], added)


def beside_lowercase(path: Path) -> bool | None:
    """Return whether a ``tokenizer.json`` that is not in use lower-cases; None if it does not say."""
    lowercase = _object(_content(path).get("normalizer")).get("lowercase")
    return lowercase if isinstance(lowercase, bool) else None


def beside_pieces(path: Path) -> Mapping[str, int] | None:
    """Return the pieces of a ``tokenizer.json`` that is not in use; None if it has no such table."""
    pieces = _object(_content(path).get("model")).get("vocab")
    return pieces if isinstance(pieces, dict) else None


def model_kind(content: Mapping[str, Any]) -> str:
    """Return which model a file holds."""
    model = _object(content.get("model"))
    kind = model.get("type")
    if kind is None and "continuing_subword_prefix" in model and "merges" not in model:
        return KIND
    return kind if isinstance(kind, str) else "unknown"


def _content(path: Path) -> dict[str, Any]:
    try:
        return read_object(path, LARGEST)
    except FileNotFoundError:
        reason = "no such file"
    except DamagedFileError as error:
        reason = f"the file {error}"
    raise CheckpointError(reason, where=str(path), next_step="copy or download the checkpoint again")


def _setting_problems(content: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the settings that are not BERT's."""
    for place, wanted in FIXED.items():
        value: object = content
        for key in place:
            value = _object(value).get(key)
        if not _same(value, wanted):
            yield Problem("not supported", ".".join(place), _shown(value), _shown(wanted))
    normalizer = _object(content.get("normalizer"))
    lowercase, strip = normalizer.get("lowercase"), normalizer.get("strip_accents")
    if not isinstance(lowercase, bool):
        yield Problem("not true or false", "normalizer.lowercase", _shown(lowercase), "true, false")
    elif strip is not None and not _same(strip, lowercase):
        allowed = f"null or {_shown(lowercase)}, the value of lowercase"
        yield Problem("not supported", "normalizer.strip_accents", _shown(strip), allowed)


def _template_problems(post: object) -> Iterator[Problem]:
    """Yield what is put around texts where that is not [CLS] A [SEP] B [SEP]; null: the program does it."""
    kind = _object(post).get("type")
    if post is None:
        return
    if kind == "BertProcessing":
        for key, token in (("cls", "[CLS]"), ("sep", "[SEP]")):
            value = _object(post).get(key)
            if not isinstance(value, list) or value[:1] != [token]:
                yield Problem("not supported", f"post_processor.{key}", _shown(value), _shown(token))
        return
    if kind != "TemplateProcessing":
        yield Problem(
            "not supported", "post_processor.type", _shown(kind), "TemplateProcessing, BertProcessing, null"
        )
        return
    for key, wanted in TEMPLATES.items():
        listed = _object(post).get(key)
        found = [_placed(part) for part in listed] if isinstance(listed, list) else []
        if found != wanted:
            yield Problem("not supported", f"post_processor.{key}", _shown(listed), " ".join(wanted))


def _placed(part: object) -> object:
    """Return the name of one part of a template: a special token's, or A or B."""
    [inner] = _object(part).values() if len(_object(part)) == 1 else [None]
    return _object(inner).get("id")


def _pieces(vocab: object) -> tuple[list[str], list[Problem]]:
    """Return the pieces by id, and why they cannot be used."""
    where = "model.vocab"
    if not isinstance(vocab, dict) or not vocab:
        return [], [Problem("not a mapping of piece to id", where, _shown(vocab))]
    odd = [piece for piece, index in vocab.items() if type(index) is not int or index < 0]
    if odd:
        return [], [Problem(f"not an id, at {_shown(odd[0])}", where, _shown(vocab[odd[0]]))]
    rows = max(vocab.values()) + 1
    if rows > len(vocab) + max(1, SPARE_IDS * len(vocab)):
        what = f"{rows:,} ids for {len(vocab):,} pieces"
        return [], [Problem("the ids have gaps", where, what, "one piece per id, from 0")]
    pieces = [""] * rows
    for piece, index in vocab.items():
        if pieces[index]:
            what = f"{_shown(pieces[index])} and {_shown(piece)}"
            return [], [Problem("two pieces share an id", where, f"{what}: {index}")]
        pieces[index] = piece
    # A run keeps its vocabulary as a vocab.txt, in which such a piece would be another one.
    for piece in (piece for piece in pieces if "\n" in piece or piece.endswith("\r") or not _is_text(piece)):
        return [], [Problem("a piece that a vocab.txt cannot hold", where, _shown(piece))]
    if not pieces[-1].strip(" \t") or pieces[0].startswith("\ufeff"):
        return [], [Problem("a first or last piece that a vocab.txt cannot hold", where)]
    return pieces, []


def _added(listed: object) -> tuple[dict[str, int], list[Problem]]:
    """Return the added tokens with their ids, and their problems."""
    added: dict[str, int] = {}
    for token in listed if isinstance(listed, list) else []:
        content, index = _object(token).get("content"), _object(token).get("id")
        if not isinstance(content, str) or type(index) is not int:
            return {}, [Problem("not a token and its id", "added_tokens", _shown(token))]
        added[content] = index
    if listed is not None and not isinstance(listed, list):
        return {}, [Problem("not a list of tokens", "added_tokens", _shown(listed))]
    return added, []


def _is_text(piece: str) -> bool:
    """Return whether a piece can be written as UTF-8: half a surrogate pair cannot."""
    return not any(0xD800 <= ord(character) < 0xE000 for character in piece)


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _same(value: object, wanted: object) -> bool:
    """Compare as JSON does: 1 is not true."""
    return type(value) is type(wanted) and value == wanted


def _shown(value: object) -> str:
    """Return a value as JSON writes it, cut where it is long; half a surrogate pair cannot be printed."""
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
