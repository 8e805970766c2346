"""Word vectors from the training questions and passages alone, for the reader's hybrid embedding.

In: the data of webqa or sogouqa, as ``clue train --data`` takes it. Out: a file in word2vec's text format for
``model.word_vectors``. The dev and test texts are not looked at.
Needs ``gensim`` (pip install gensim), which nothing else here needs; words are cut by jieba without its HMM.

    python scripts/train_vectors.py --task webqa --data me_test.ann.json.gz --output vectors.txt
    clue train --task webqa --data me_test.ann.json.gz --set model.word_vectors=vectors.txt
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from clue_runner.data.cards import find_card
from clue_runner.data.locate import locate
from clue_runner.data.readers.passages import read_passage_records
from clue_runner.data.records import PassagesRecord
from clue_runner.tokens.characters import open_segmenter
from clue_runner.tokens.vectors import write_word_vectors


def texts_of(records: Sequence[PassagesRecord]) -> Iterator[str]:
    """Yield every question and every passage."""
    for record in records:
        yield record.question
        yield from (passage.text for passage in record.passages)


def cut(texts: Iterator[str]) -> list[list[str]]:
    """Return the words of each text; white space is no word, because the file's format parts with it."""
    segmenter = open_segmenter()
    words = (segmenter.lcut(text, HMM=False) for text in texts)
    return [[word for word in line if word.strip() == word != ""] for line in words]


def trained(sentences: list[list[str]], options: argparse.Namespace) -> Any:
    """Return gensim's vectors; one worker, so that the same seed gives the same file."""
    try:
        from gensim.models import Word2Vec
    except ImportError:
        sys.exit("train_vectors.py needs gensim: pip install gensim")
    model = Word2Vec(
        sentences=sentences,
        vector_size=options.size,
        window=options.window,
        min_count=options.min_count,
        negative=options.negative,
        epochs=options.epochs,
        sg=1,
        seed=options.seed,
        workers=1,
    )
    return model.wv


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", choices=["webqa", "sogouqa"], default="webqa")
    parser.add_argument("--data", required=True, help="a folder, a single file, or sample")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--size", type=int, default=128, help="numbers in a vector")
    parser.add_argument("--window", type=int, default=2, help="narrow: words of one kind become alike")
    parser.add_argument("--negative", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=30, help="8 suit a large corpus")
    parser.add_argument("--min-count", type=int, default=2)
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()
    card = find_card(options.task)
    records = read_passage_records(card, locate(card, options.data), "train")
    sentences = cut(texts_of(records.items))
    found = trained(sentences, options)
    write_word_vectors(options.output, list(found.index_to_key), found.vectors)
    words = sum(map(len, sentences))
    known = sum(word in found.key_to_index for sentence in sentences for word in sentence)
    count = len(found.index_to_key)
    print(f"{count:,} vectors of {options.size} from {words:,} words, {known / words:.1%} of them known")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
