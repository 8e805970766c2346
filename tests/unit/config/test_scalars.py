"""YAML 1.2 core scalars, where PyYAML's 1.1 rules would surprise."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clue_runner.config.scalars import format_scalar, parse_scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("2e5", 2e5),
        ("5.e-05", 5e-5),
        (".5", 0.5),
        ("-3", -3),
        ("+7", 7),
        ("012", 12),
        ("0o17", 15),
        ("0xff", 255),
        ("no", "no"),
        ("off", "off"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"),
        ("0b1", "0b1"),
        ("true", True),
        ("FALSE", False),
        ("tRUE", "tRUE"),
        ("~", None),
        ("null", None),
        ("", None),
        ("e5", "e5"),
        ("٣", "٣"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_plain_scalars(text: str, value: object) -> None:
    parsed = parse_scalar(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_not_finite() -> None:
    assert parse_scalar("-.inf") == -math.inf
    assert math.isnan(parse_scalar(".nan"))


@given(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**30), 10**30),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(),
    )
)
def test_a_written_scalar_reads_back_the_same(value: object) -> None:
    from clue_runner.config.yaml_reader import read_yaml

    read = read_yaml(f"key: {format_scalar(value)}\n").values["key"]
    assert read == value
    assert type(read) is type(value)
