"""Durations as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.durations import LONGEST, in_words, parse_duration
from gateway.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("90", 90.0),
        ("2.5s", 2.5),
        ("30m", 1800.0),
        ("12h", 43200.0),
        (" 1H30m ", 5400.0),
        ("2d", 172800.0),
    ],
)
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "-1", "1x", "1 h", "30m5", "1e3", "nan", "inf", "٣m", "11y", "9" * 5000]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="for example 30m"):
        parse_duration(text)


def test_ten_years_are_the_longest() -> None:
    assert parse_duration("3650d") == LONGEST
    with pytest.raises(InvalidInput, match="ten years"):
        parse_duration("3651d")


@given(st.integers(0, int(LONGEST)))
def test_what_is_shown_is_what_was_given(seconds: int) -> None:
    assert parse_duration(in_words(float(seconds))) == seconds
