"""The tokenizer files of a checkpoint folder: every key is followed, refused, or reported.

In: a folder with ``tokenizer_config.json``, ``special_tokens_map.json``, ``added_tokens.json`` and
``tokenizer.json``, any of which may be missing. Out: which file is the vocabulary, whether texts are
lower-cased, the tokens that these files add, or every key that asks for another tokenizer than BERT's.
Knows nothing about weights or texts.

``transformers`` reads the same files. If a key that moves a token boundary were ignored, the network would
silently get other ids than it was trained on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from clue_runner.checkpoints.files import read_json, require_file
from clue_runner.errors import CheckpointError, Problem
from clue_runner.tokens.tokenizer_json import ADVICE, TOKENIZER_JSON, beside_lowercase, read_tokenizer_json
from clue_runner.tokens.vocabulary import SPECIAL_TOKENS

VOCABULARY = "vocab.txt"
TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS_MAP = "special_tokens_map.json"
ADDED_TOKENS = "added_tokens.json"
DECISIVE_FILES = (VOCABULARY, TOKENIZER_CONFIG, SPECIAL_TOKENS_MAP, ADDED_TOKENS)

# Key -> the only value that our tokenizer follows, which is also what a missing key means.
FIXED: dict[str, object] = {
    "do_basic_tokenize": True,
    "tokenize_chinese_chars": True,
    "clean_text": True,
    "wordpieces_prefix": "##",
    "max_input_chars_per_word": 100,
}
# Classes that split texts as BERT does; RoFormer's, Japanese BERT's and others split in their own ways.
CLASSES = (
    "BertTokenizer",
    "BertTokenizerFast",
    "DistilBertTokenizer",
    "DistilBertTokenizerFast",
    "ElectraTokenizer",
    "ElectraTokenizerFast",
)
# Classes that simply follow their tokenizer.json.
OF_THE_FILE = ("PreTrainedTokenizerFast", "TokenizersBackend")
SPECIAL_KEYS = {f"{name[1:-1].lower()}_token": name for name in SPECIAL_TOKENS}
FURTHER_KEYS = ("additional_special_tokens", "extra_special_tokens")
ID = re.compile("[0-9]{1,9}")
SHOWN = 80  # characters of a value in a message


def vocabulary_file(folder: Path) -> Path | None:
    """Return the file that a folder's vocabulary is read from; None: it has none."""
    return next((folder / name for name in (VOCABULARY, TOKENIZER_JSON) if (folder / name).exists()), None)


def read_lowercase(folder: Path) -> tuple[bool, bool]:
    """Return whether texts are lower-cased, and whether the folder says so or it is BERT's default.

    Raises:
        CheckpointError: a file cannot be read, or asks for a tokenizer that splits texts differently from
            ours; all keys are named.
    """
    config = _read(folder, TOKENIZER_CONFIG)
    whole = vocabulary_file(folder) == folder / TOKENIZER_JSON
    problems = [
        Problem(problem.what, f"{file}: {problem.where}", problem.received, problem.allowed)
        for file, found in (
            (TOKENIZER_CONFIG, [*_config_problems(config, of_file=whole), *_special_problems(config)]),
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
    said = config.get("do_lower_case")
    if whole:
        require_file(folder / TOKENIZER_JSON)
        lowercase = read_tokenizer_json(folder / TOKENIZER_JSON).lowercase
        if said is not None and said != lowercase:
            raise _two_answers(folder, lowercase=lowercase, said=said)
        return lowercase, True
    if said is None and (folder / TOKENIZER_JSON).exists():
        said = beside_lowercase(folder / TOKENIZER_JSON)
    return said is not False, said is not None


def added_tokens(folder: Path) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield file -> token -> id, of each file that lists tokens beside the vocabulary.

    Raises:
        CheckpointError: a file contains something else.
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
    if vocabulary_file(folder) == folder / TOKENIZER_JSON:
        yield TOKENIZER_JSON, dict(read_tokenizer_json(folder / TOKENIZER_JSON).added)


def further_special_tokens(folder: Path) -> list[str]:
    """Return special tokens that the files name besides BERT's five.

    Raises:
        CheckpointError: a file contains something else.
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


def _config_problems(config: Mapping[str, Any], *, of_file: bool) -> Iterator[Problem]:
    """Yield the keys of tokenizer_config.json that ask for what our tokenizer does not do.

    Args:
        config: the file's content.
        of_file: the tokenizer is the one of ``tokenizer.json``, which is checked by itself.
    """
    lowercase = config.get("do_lower_case", True)
    if not isinstance(lowercase, bool):
        yield Problem("not true or false", "do_lower_case", _shown(lowercase), "true, false")
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
    classes = CLASSES + OF_THE_FILE * of_file
    if kind is not None and kind not in classes:
        yield Problem("splits texts differently", "tokenizer_class", _shown(kind), ", ".join(classes))
    if config.get("auto_map"):
        yield Problem(
            "a tokenizer that comes with its own code", "auto_map", _shown(config["auto_map"]), "no such key"
        )


def _special_problems(mapping: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the special tokens that are not BERT's; null leaves one open."""
    for key, name in SPECIAL_KEYS.items():
        value = mapping.get(key)
        if value is not None and _content(value) != name:
            yield Problem("an unsupported special token", key, _shown(value), _shown(name))


def _content(token: object) -> object:
    """Return the text of a token, which may appear in an object with options."""
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


def _two_answers(folder: Path, *, lowercase: bool, said: object) -> CheckpointError:
    return CheckpointError(
        f"{TOKENIZER_JSON} and {TOKENIZER_CONFIG} disagree about lower-casing",
        where=str(folder),
        received=f"lowercase {_shown(lowercase)} and do_lower_case {_shown(said)}",
        next_step="correct the one that does not match the training of the weights",
    )
