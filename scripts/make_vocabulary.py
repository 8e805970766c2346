"""Make configs/models/vocab/zh.txt, the vocabulary that ships with the project.

In: public character standards alone (ASCII, ISO 8859-1, GB 2312 as Python's codecs know them) and rules.
Out: one piece a line, UTF-8, the same bytes every time. No corpus and no other vocabulary is read.

Run: python scripts/make_vocabulary.py [FILE]
"""

from __future__ import annotations

import string
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

DEFAULT = Path(__file__).resolve().parents[1] / "configs" / "models" / "vocab" / "zh.txt"

VOWELS = "aeiou"
CONSONANTS = "".join(sorted(set(string.ascii_lowercase) - set(VOWELS)))
ENDINGS = "able age al ance ary ed ence er ers est ful ing ion ist ity ive less ly ment ness ous tion"
# GB 2312 writes these with code points that Chinese text on the web does not use (U+2015, U+30FB, ...).
WEB_PUNCTUATION = (
    "\u2010\u2011\u2013\u2014\u2015\u2018\u2019\u201c\u201d\u2022\u2026\u2032\u2033\u22ef\u203b\u20ac\u2122"
)


def main() -> None:
    """Write the vocabulary and say how long it is."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    pieces = build()
    path.write_bytes(("\n".join(pieces) + "\n").encode("utf-8"))
    print(f"{path}: {len(pieces)} pieces")


def build() -> list[str]:
    """Return all pieces in id order; the first 104 are where BERT's Chinese vocabulary has them."""
    special = [
        "[PAD]",
        *(f"[unused{number}]" for number in range(1, 100)),
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
    ]
    parts = [special, ascii_pieces(), digit_pieces(), letter_pieces(), symbol_pieces(), gb2312_characters()]
    # dict keeps the first of equal pieces and the order
    return list(dict.fromkeys(piece for part in parts for piece in part))


def ascii_pieces() -> Iterator[str]:
    """Yield every printable ASCII character, letters and digits also as continuations.

    Capitals serve models that keep case; with lower-casing they are never produced.
    """
    yield from (chr(code) for code in range(0x21, 0x7F))
    yield from (f"##{character}" for character in string.digits + string.ascii_letters)


def digit_pieces() -> Iterator[str]:
    """Yield every pair of digits, alone and as a continuation: a year is two pieces."""
    for first, second in product(string.digits, repeat=2):
        yield from both(first + second)


def letter_pieces() -> Iterator[str]:
    """Yield short syllables (consonant and vowel in either order, two vowels), and common English endings."""
    pairs = [*product(CONSONANTS, VOWELS), *product(VOWELS, CONSONANTS), *product(VOWELS, VOWELS)]
    for first, second in pairs:
        yield from both(first + second)
    yield from (f"##{ending}" for ending in ENDINGS.split())


def symbol_pieces() -> Iterator[str]:
    """Yield the symbols of GB 2312 (rows 1 to 8), of ISO 8859-1 and of web text, normalised as BERT does.

    A character that is not punctuation is no word border for BERT, so it also occurs as a continuation.
    """
    latin = bytes(range(0xA1, 0xC0)).decode("latin-1") + "×÷"
    for character in sorted(set(WEB_PUNCTUATION + latin + "".join(gb2312(range(1, 9))))):
        piece = normalised(character)
        if len(piece) != 1 or unicodedata.category(piece)[0] in "ZC":
            continue
        yield piece
        if unicodedata.category(piece)[0] != "P":
            yield f"##{piece}"


def gb2312_characters() -> Iterator[str]:
    """Yield the 6,763 Chinese characters of GB 2312 (rows 16 to 87); each is a word of its own for BERT."""
    yield from gb2312(range(16, 88))


def gb2312(rows: Iterable[int]) -> Iterator[str]:
    """Yield the characters of some rows of the code table, unassigned cells left out."""
    for row, cell in product(rows, range(1, 95)):
        try:
            yield bytes((0xA0 + row, 0xA0 + cell)).decode("gb2312")
        except UnicodeDecodeError:
            continue


def normalised(character: str) -> str:
    """Return a character lower-cased and without accents, as BERT's normaliser leaves it."""
    decomposed = unicodedata.normalize("NFD", character.lower())
    return "".join(one for one in decomposed if unicodedata.category(one) != "Mn")


def both(piece: str) -> tuple[str, str]:
    """Return a piece as the beginning of a word and as its continuation."""
    return piece, f"##{piece}"


if __name__ == "__main__":
    main()
