"""The tokenizer files of a checkpoint folder: every key is followed, refused, or said.

In: a folder with ``tokenizer_config.json``, ``special_tokens_map.json`` and ``added_tokens.json``, any of
which may be missing. Out: whether texts are lower-cased, the tokens that these files add, or every key that
asks for another tokenizer than BERT's. Knows nothing about weights, vocabularies or texts.

``transformers`` reads the same files. If a key that moves a token boundary were ignored, the network would
get other ids than it was trained on, without a word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from clue_runner.checkpoints.files import read_json
from clue_runner.errors import CheckpointError, Problem
from clue_runner.tokens.vocabulary import SPECIAL_TOKENS

VOCABULARY = "vocab.txt"
TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS_MAP = "special_tokens_map.json"
ADDED_TOKENS = "added_tokens.json"
TOKENIZER_JSON = "tokenizer.json"
DECISIVE_FILES = (VOCABULARY, TOKENIZER_CONFIG, SPECIAL_TOKENS_MAP, ADDED_TOKENS)

# Key -> the only value that our tokenizer follows, which is also what a missing key means.
FIXED: dict[str, object] = {
    "do_basic_tokenize": True,
    "tokenize_chinese_chars": True,
    "clean_text": True,
    "wordpieces_prefix": "##",
    "max_input_chars_per_word": 100,
}
# Classes that split texts as BERT does; RoFormer's, Japanese BERT's and others split in ways of their own.
CLASSES = (
    "BertTokenizer",
    "BertTokenizerFast",
    "DistilBertTokenizer",
    "DistilBertTokenizerFast",
    "ElectraTokenizer",
    "ElectraTokenizerFast",
)
SPECIAL_KEYS = {f"{name[1:-1].lower()}_token": name for name in SPECIAL_TOKENS}
FURTHER_KEYS = ("additional_special_tokens", "extra_special_tokens")
ID = re.compile("[0-9]{1,9}")
SHOWN = 80  # characters of a value in a message
ADVICE = "take a checkpoint whose tokenizer is the WordPiece of Google's Chinese models"


def read_lowercase(folder: Path) -> tuple[bool, bool]:
    """Return whether texts are lower-cased, and whether the folder says so or it is BERT's default.

    Raises:
        CheckpointError: a file cannot be read, or asks for a tokenizer that splits texts in another way than
            ours; all keys are named.
    """
    config = _read(folder, TOKENIZER_CONFIG)
    problems = [
        Problem(problem.what, f"{file}: {problem.where}", problem.received, problem.allowed)
        for file, found in (
            (TOKENIZER_CONFIG, [*_config_problems(config), *_special_problems(config)]),
            (SPECIAL_TOKENS_MAP, [*_special_problems(_read(folder, SPECIAL_TOKENS_MAP))]),
        )
        for problem in found
    ]
    if problems:
        raise CheckpointError(
            "the checkpoint's tokenizer is not supported",
            where=str(folder),
            problems=problems,
            next_step=ADVICE,
        )
    return config.get("do_lower_case", True), "do_lower_case" in config


def added_tokens(folder: Path) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield file -> token -> id, of each file that lists tokens beside the vocabulary.

    Raises:
        CheckpointError: a file holds something else.
    """
    added = _read(folder, ADDED_TOKENS)
    for token, index in added.items():
        if not isinstance(index, int) or isinstance(index, bool):
            raise _not_a_token(folder, ADDED_TOKENS, token, index)
    yield ADDED_TOKENS, added
    decoder = _read(folder, TOKENIZER_CONFIG).get("added_tokens_decoder")
    if decoder is not None and not isinstance(decoder, dict):
        raise _not_a_token(folder, TOKENIZER_CONFIG, "added_tokens_decoder", decoder)
    tokens: dict[str, int] = {}
    for index, token in (decoder or {}).items():
        content = _content(token)
        if not isinstance(content, str) or not ID.fullmatch(index):
            raise _not_a_token(folder, TOKENIZER_CONFIG, f"added_tokens_decoder: {index}", token)
        tokens[content] = int(index)
    yield TOKENIZER_CONFIG, tokens


def further_special_tokens(folder: Path) -> list[str]:
    """Return special tokens that the files name besides BERT's five.

    Raises:
        CheckpointError: a file holds something else.
    """
    tokens: dict[str, None] = {}
    for file in (TOKENIZER_CONFIG, SPECIAL_TOKENS_MAP):
        content = _read(folder, file)
        for key in FURTHER_KEYS:
            value = content.get(key) or []
            listed = list(value.values()) if isinstance(value, dict) else value
            contents = [_content(token) for token in listed] if isinstance(listed, list) else [None]
            texts = [content for content in contents if isinstance(content, str)]
            if len(texts) < len(contents):
                raise CheckpointError(
                    "not a list of tokens",
                    where=f"{folder / file}: {key}",
                    received=_shown(value),
                    next_step=ADVICE,
                )
            tokens |= dict.fromkeys(texts)
    return [token for token in tokens if token not in SPECIAL_TOKENS]


def _read(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    return read_json(path) if path.exists() else {}


def _config_problems(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the keys of tokenizer_config.json that ask for what our tokenizer does not do."""
    lowercase = config.get("do_lower_case", True)
    if not isinstance(lowercase, bool):
        yield Problem("not a truth value", "do_lower_case", _shown(lowercase), "true, false")
    for key, value in FIXED.items():
        if key in config and not _same(config[key], value):
            yield Problem("not supported", key, _shown(config[key]), _shown(value))
    strip = config.get("strip_accents")
    if strip is not None and not _same(strip, lowercase):
        allowed = f"null or {_shown(lowercase)}, the value of do_lower_case"
        yield Problem("not supported", "strip_accents", _shown(strip), allowed)
    whole = config.get("never_split")
    if whole is not None and not (isinstance(whole, list) and all(word in SPECIAL_TOKENS for word in whole)):
        yield Problem("not supported", "never_split", _shown(whole), "null or a list of special tokens")
    kind = config.get("tokenizer_class")
    if kind is not None and kind not in CLASSES:
        yield Problem("splits texts in another way", "tokenizer_class", _shown(kind), ", ".join(CLASSES))
    if config.get("auto_map"):
        yield Problem(
            "a tokenizer that comes with its own code", "auto_map", _shown(config["auto_map"]), "no such key"
        )


def _special_problems(mapping: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the special tokens that are not BERT's; null leaves one open."""
    for key, name in SPECIAL_KEYS.items():
        value = mapping.get(key)
        if value is not None and _content(value) != name:
            yield Problem("another special token than this tokenizer has", key, _shown(value), _shown(name))


def _content(token: object) -> object:
    """Return the text of a token, which may stand in an object with options."""
    return token.get("content") if isinstance(token, dict) else token


def _same(value: object, wanted: object) -> bool:
    """Compare as JSON does: 1 is not true."""
    return type(value) is type(wanted) and value == wanted


def _shown(value: object) -> str:
    """Return a value as JSON writes it, cut where it is long; half a surrogate pair cannot be printed."""
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _not_a_token(folder: Path, file: str, key: str, value: object) -> CheckpointError:
    return CheckpointError(
        "not a token and its id", where=f"{folder / file}: {key}", received=_shown(value), next_step=ADVICE
    )
