"""Characters to tokens and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clue_runner.tokens.layouts.spans import chars_to_tokens, covering_tokens, tokens_to_chars
from clue_runner.tokens.tokenizer import Encoded, Tokenizer


def of_spans(spans: list[tuple[int, int]]) -> Encoded:
    starts, ends = (np.array([span[side] for span in spans], np.int32) for side in (0, 1))
    return Encoded(np.zeros(len(spans), np.int32), starts, ends)


def test_hand_cases() -> None:
    # "iPhone7 发布": iphone | ##7 | 发 | 布, with a space at 7
    encoded = of_spans([(0, 6), (6, 7), (8, 9), (9, 10)])
    assert chars_to_tokens(encoded, 0, 5) == (0, 0)
    assert chars_to_tokens(encoded, 0, 6) == (0, 1)
    assert chars_to_tokens(encoded, 8, 9) == (2, 3)
    assert chars_to_tokens(encoded, 0, 9) == (0, 3)
    assert chars_to_tokens(encoded, 0, 3) is None  # ends inside a token
    assert chars_to_tokens(encoded, 2, 6) is None  # begins inside a token
    assert chars_to_tokens(encoded, 7, 9) is None  # begins on the space
    assert chars_to_tokens(encoded, 6, 7) is None  # ends on the space
    assert chars_to_tokens(encoded, 7, 7) is None
    assert chars_to_tokens(encoded, 9, 8) is None
    assert chars_to_tokens(encoded, 0, 10) is None  # past the text
    assert chars_to_tokens(of_spans([]), 0, 0) is None
    assert tokens_to_chars(encoded, 0, 1) == (0, 6)


def test_tokens_that_touch_characters() -> None:
    # "iPhone7 发布": iphone | ##7 | 发 | 布, with a space at 7
    encoded = of_spans([(0, 6), (6, 7), (8, 9), (9, 10)])
    assert covering_tokens(encoded, 1, 8) == (0, 2)  # begins inside a token
    assert covering_tokens(encoded, 7, 9) == (2, 3)  # begins with the space
    assert covering_tokens(encoded, 6, 7) == (1, 1)
    assert covering_tokens(encoded, 7, 7) is None
    assert covering_tokens(encoded, 0, 6) == chars_to_tokens(encoded, 0, 6)


def test_one_character_of_several_tokens() -> None:
    encoded = of_spans([(0, 1), (0, 1), (0, 1), (1, 2)])
    assert chars_to_tokens(encoded, 0, 0) == (0, 2)
    assert chars_to_tokens(encoded, 0, 1) == (0, 3)
    assert tokens_to_chars(encoded, 0, 2) == (0, 0)


@pytest.mark.parametrize("span", [(-1, 0), (1, 0), (0, 2)])
def test_token_spans_outside_the_text_are_refused(span: tuple[int, int]) -> None:
    with pytest.raises(IndexError):
        tokens_to_chars(of_spans([(0, 1), (1, 2)]), *span)


@given(st.text(max_size=30), st.integers(0, 31), st.integers(0, 31))
def test_a_span_comes_back_unchanged_or_has_no_tokens(
    tokenizer: Tokenizer, text: str, first: int, last: int
) -> None:
    [encoded] = tokenizer.encode_texts([text])
    tokens = chars_to_tokens(encoded, first, last)
    starts, ends = encoded.starts.tolist(), encoded.ends.tolist()
    assert (tokens is not None) == (first <= last and first in starts and last + 1 in ends)
    if tokens is not None:
        assert tokens_to_chars(encoded, *tokens) == (first, last)


@given(st.text(min_size=1, max_size=30), st.data())
def test_whole_tokens_always_have_a_span(tokenizer: Tokenizer, text: str, data: st.DataObject) -> None:
    [encoded] = tokenizer.encode_texts([text])
    if not len(encoded):
        return
    first = data.draw(st.integers(0, len(encoded) - 1))
    last = data.draw(st.integers(first, len(encoded) - 1))
    characters = tokens_to_chars(encoded, first, last)
    tokens = chars_to_tokens(encoded, *characters)
    assert tokens is not None
    assert tokens[0] <= first <= last <= tokens[1]
    assert tokens_to_chars(encoded, *tokens) == characters
