"""Which requests are a sign of a person; those of Lab's that come by themselves are none."""

from __future__ import annotations

import pytest

from gateway.proxy.activity import shows_person
from gateway.proxy.messages import RequestHead


def shows(method: bytes, target: bytes, *headers: tuple[bytes, bytes]) -> bool:
    return shows_person(RequestHead(method, target, 11, [(b"Host", b"h"), *headers]))


@pytest.mark.parametrize(
    ("method", "target"),
    [
        (b"GET", b"/nb/a/api/kernels?1"),
        (b"GET", b"/nb/a/lab/api/workspaces?1"),
        (b"PUT", b"/nb/a/lab/api/workspaces/default?1795302396066"),
        (b"PUT", b"/lab/api/workspaces/auto-X"),
    ],
)
def test_what_an_open_page_does_by_itself_is_none(method: bytes, target: bytes) -> None:
    assert not shows(method, target)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        (b"PUT", b"/nb/a/api/contents/a.ipynb?1"),
        (b"PUT", b"/nb/a/api/contents/lab/api/workspaces/a.ipynb"),
        (b"POST", b"/nb/a/api/sessions?1"),
        (b"DELETE", b"/nb/a/lab/api/workspaces/default"),
        (b"PUT", b"/nb/a/lab/api/settings/x"),
    ],
)
def test_what_changes_something_is_one(method: bytes, target: bytes) -> None:
    assert shows(method, target)


def test_navigation_is_one() -> None:
    assert shows(b"GET", b"/nb/a/lab", (b"Sec-Fetch-Mode", b"navigate"))
    assert shows(b"GET", b"/nb/a/lab", (b"Accept", b"text/html"))
    assert not shows(b"GET", b"/nb/a/x", (b"Sec-Fetch-Mode", b"cors"), (b"Accept", b"text/html"))
