"""Compare ids and character offsets with the fast BERT tokenizer of transformers on official files.

In: a folder of official zips, vocabularies. Out: how many texts were compared and the first differences;
exit status 1 where there is one. Needs the ``peers`` extra.

Run: python scripts/check_tokenizer.py FOLDER VOCAB...
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from clue_runner.tokens.tokenizer import Tokenizer

CHUNK = 4096


def main() -> None:
    """Compare every text of every zip, with every vocabulary, lower-cased and not."""
    folder, vocabularies = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
    different = 0
    for path in sorted(folder.glob("*.zip")):
        texts = official_texts(path)
        for vocabulary in vocabularies:
            for lowercase in (True, False):
                tokens, found = compare(texts, vocabulary, lowercase)
                different += len(found)
                print(
                    f"{path.name} {vocabulary.name} lowercase={lowercase}: {len(texts)} texts,"
                    f" {sum(map(len, texts))} characters, {tokens} tokens, {len(found)} texts differ",
                    flush=True,
                )
                for text in found[:5]:
                    print(f"  {text!r}")
    sys.exit(1 if different else 0)


def official_texts(path: Path) -> list[str]:
    """Return every different string in a zip's JSON files, keys left out, in file order."""
    texts: dict[str, None] = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".json") and "predict" not in name:  # the CLUENER prediction sample is not JSON
                for value in documents(archive.read(name).decode("utf-8")):
                    texts.update(dict.fromkeys(strings(value)))
    return list(texts)


def documents(text: str) -> list[Any]:
    """Return the values of a JSON file, or of a file with one JSON value a line."""
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.split("\n") if line.strip()]


def strings(value: Any) -> Iterator[str]:
    """Yield every string below a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from strings(one)


def compare(texts: Sequence[str], vocabulary: Path, lowercase: bool) -> tuple[int, list[str]]:
    """Return how many tokens were compared, and the texts whose ids or offsets differ."""
    from transformers import BertTokenizerFast

    peer = BertTokenizerFast(vocab=str(vocabulary), do_lower_case=lowercase)
    tokenizer = Tokenizer(vocabulary, lowercase=lowercase)
    tokens, different = 0, []
    for start in range(0, len(texts), CHUNK):
        chunk = list(texts[start : start + CHUNK])
        theirs = peer(chunk, add_special_tokens=False, return_offsets_mapping=True)
        ours = tokenizer.encode_texts(chunk)
        for text, one, ids, spans in zip(
            chunk, ours, theirs["input_ids"], theirs["offset_mapping"], strict=True
        ):
            tokens += len(one)
            pairs = list(zip(one.starts.tolist(), one.ends.tolist(), strict=True))
            if one.ids.tolist() != ids or pairs != [tuple(span) for span in spans]:
                different.append(text)
    return tokens, different


if __name__ == "__main__":
    main()
