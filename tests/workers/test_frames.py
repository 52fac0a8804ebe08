"""Frames: what goes in comes out, however the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.workers.frames import LARGEST, BadFrame, Decoder, Message, encode

MESSAGES = st.lists(
    st.dictionaries(st.text(), st.integers() | st.text() | st.none()).map(
        lambda members: {**members, "t": "x"}
    ),
    max_size=5,
)


@given(MESSAGES, st.lists(st.integers(1, 40), max_size=20))
def test_messages_survive_any_cut(messages: list[Message], cuts: list[int]) -> None:
    data = b"".join(map(encode, messages))
    decoder, found = Decoder(), []
    for cut in cuts:
        found += decoder.feed(data[:cut])
        data = data[cut:]
    assert found + decoder.feed(data) == messages


@pytest.mark.parametrize(
    "data",
    [
        (LARGEST + 1).to_bytes(4, "big"),
        b"\0\0\0\2{]",
        b"\0\0\0\2[]",
        b"\0\0\0\2{}",
        b"\0\0\0\7" + b'{"t":1}',
        b"\0\0\0\1\xff",
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(BadFrame):
        Decoder().feed(data)
