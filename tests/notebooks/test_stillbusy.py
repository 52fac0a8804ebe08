"""A project's own check: a URL, or a command."""

from __future__ import annotations

import pytest

from gateway.errors import InvalidInput
from gateway.notebooks.stillbusy import check_still_busy, is_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://jobs.example.org/busy?of={slug}", True),
        ("HTTP://127.0.0.1:9/", True),
        ("/opt/still-busy --quiet", False),
        ("sh -c 'pgrep -x train'", False),
        ("http-check", False),
    ],
)
def test_it_is_a_url_or_a_command(text: str, url: bool) -> None:
    assert (check_still_busy(f" {text} "), is_url(text)) == (text, url)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "''",
        "sh -c 'unfinished",
        "ftp://example.org/",
        "file:///etc/passwd",
        "unix:///run/docker.sock",
        "http://",
        "http://:80/",
        "http://a:0/",
        "http://a:99999/",
        "http://[::1/",
        "http://user:secret@example.org/",
        "http://example.org/a b",
    ],
)
def test_all_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        check_still_busy(text)
