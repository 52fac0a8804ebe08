"""Which traffic is a sign of a person, for the idle culler. Pure.

Pages poll for ever: a GET of theirs is no sign, nor is that Lab writes down its layout, which it
does every ten seconds as long as a page of it is seen. A navigation, a request that changes
something, the bytes of an upload and what a client sends through a WebSocket are.
"""

from __future__ import annotations

from typing import Final

from gateway.proxy.messages import RequestHead

_SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PROPFIND", b"REPORT", b"SEARCH", b"QUERY"})
_LAYOUTS: Final = b"/lab/api/workspaces/"
_CLOSE, _PONG = 0x8, 0xA
_MASKED_HEAD: Final = 6


def is_navigation(head: RequestHead) -> bool:
    """Whether a person went to a page: Sec-Fetch-Mode says so, or Accept where it is not sent."""
    if head.method != b"GET":
        return False
    mode = head.get(b"sec-fetch-mode")
    if mode is not None:
        return mode == b"navigate"
    return b"text/html" in (head.get(b"accept") or b"")


def shows_person(head: RequestHead) -> bool:
    """Whether the request by itself is a sign of a person."""
    if head.method in _SAFE:
        return is_navigation(head)
    return head.method != b"PUT" or not _is_layout(head.target)


def _is_layout(target: bytes) -> bool:
    """Whether it is one of Lab's workspaces, not a file whose path looks like one."""
    found = target.find(_LAYOUTS)
    return found >= 0 and target.find(b"/api/") == found + len(b"/lab")


def only_control_frames(data: bytes) -> bool:
    """Whether `data` is nothing but whole WebSocket close, ping or pong frames of a client.

    Looks no further than a first frame of another kind. Data that begins within a frame is
    taken for what it looks like; a wrong guess costs one mark of activity among many.
    """
    position, size = 0, len(data)
    while position + _MASKED_HEAD <= size:
        opcode = data[position] & 0x0F
        length = data[position + 1] & 0x7F
        if not _CLOSE <= opcode <= _PONG or length > 125:
            return False
        position += _MASKED_HEAD + length
    return position == size
