"""The access log: forms, what is kept out of it."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.accesslog import AccessLog, Form
from gateway.proxy.interface import Client
from gateway.proxy.messages import RequestHead
from gateway.proxy.redaction import redacted

NOON = 1_767_355_200.25  # 2026-01-02 12:00:00 UTC
CLIENT = Client("192.0.2.7", "https", "nb.example.org", 443)
COMBINED = re.compile(
    r'(\S+) - (\S+) \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "((?:[^"\\]|\\x..)*)" '
    r'(\d{3}) (\d+) "((?:[^"\\]|\\x..)*)" "((?:[^"\\]|\\x..)*)" (\S+) (\d+\.\d{3}) (\S+)'
)


def line_of(form: Form, head: RequestHead, user: str | None = "alice") -> str:
    """Return the line that is logged for `head`."""
    lines: list[bytes] = []
    AccessLog(form, lines.append, lambda: NOON).record(
        head, CLIENT, status=200, sent=1234, seconds=0.0123, user=user, request_id=b"r-1"
    )
    (line,) = lines
    assert line.endswith(b"\n")
    assert line.isascii()
    assert line.count(b"\n") == 1
    return line.decode()[:-1]


def request(target: bytes = b"/nb/a?x=1", **headers: bytes) -> RequestHead:
    named = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
    return RequestHead(b"GET", target, 11, [(b"Host", b"nb.example.org"), *named])


def test_combined_is_the_usual_form_with_host_seconds_and_request_id_behind() -> None:
    head = request(referer=b"https://nb.example.org/", user_agent=b"Firefox/1 (X11)")
    assert line_of("combined", head) == (
        '192.0.2.7 - alice [02/Jan/2026:12:00:00 +0000] "GET /nb/a?x=1 HTTP/1.1" 200 1234 '
        '"https://nb.example.org/" "Firefox/1 (X11)" nb.example.org 0.012 r-1'
    )
    assert line_of("combined", request(), user=None).startswith("192.0.2.7 - - [")
    assert COMBINED.fullmatch(line_of("combined", request()))


def test_json_is_one_object_with_the_same() -> None:
    assert json.loads(line_of("json", request(user_agent=b"Firefox/1"))) == {
        "time": "2026-01-02T12:00:00.250Z",
        "client": "192.0.2.7",
        "user": "alice",
        "method": "GET",
        "host": "nb.example.org",
        "target": "/nb/a?x=1",
        "protocol": "HTTP/1.1",
        "referer": None,
        "user_agent": "Firefox/1",
        "status": 200,
        "sent": 1234,
        "seconds": 0.0123,
        "request_id": "r-1",
    }


def test_cookies_and_credentials_are_in_no_line() -> None:
    head = request(cookie=b"nbgate-session=hunter2", authorization=b"token hunter2")
    for form in ("combined", "json"):
        assert "hunter2" not in line_of(form, head)


@given(target=st.binary(max_size=80), agent=st.binary(max_size=80), user=st.text(max_size=20))
def test_nothing_that_a_client_sends_ends_a_field_or_a_line(
    target: bytes, agent: bytes, user: str
) -> None:
    head = request(b"/" + target, user_agent=agent, referer=target)
    combined = COMBINED.fullmatch(line_of("combined", head, user))
    assert combined is not None
    assert (combined[1], combined[4], combined[10]) == ("192.0.2.7", "200", "r-1")
    told = json.loads(line_of("json", head, user))
    assert (told["client"], told["status"], told["request_id"]) == ("192.0.2.7", 200, "r-1")


def test_a_forged_line_stays_inside_its_field() -> None:
    forged = b'x" 200 1 "-" "-"\n10.0.0.1 - root [x] "GET /\\'
    line = line_of("combined", request(user_agent=forged))
    assert r'"x\x22 200 1 \x22-\x22 \x22-\x22\x0A10.0.0.1 - root [x] \x22GET /\x5C"' in line


def test_long_fields_are_cut() -> None:
    assert len(line_of("combined", request(b"/" + b"a" * 60_000, user_agent=b"b" * 5000))) < 4500


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        (b"/a?token=S&x=1", b"/a?token=[redacted]&x=1"),
        (b"/a?next=https://b/c?token%3DS&x=1", b"/a?next=https://b/c?[redacted]&x=1"),
        (b"/a?x=1&access_token=S", b"/a?x=1&access_token=[redacted]"),
        (b"/a?X=1;ID_Token=S", b"/a?X=1;ID_Token=[redacted]"),
        (b"/a?%74oken=S", b"/a?%74oken=[redacted]"),
        (b"/a?%2574oken=S", b"/a?%2574oken=[redacted]"),
        (b"/a?state=S&code=S&sig=S", b"/a?state=[redacted]&code=[redacted]&sig=[redacted]"),
        (b"/gateway/login?ticket=S", b"/gateway/login?ticket=[redacted]"),
        (b"/gateway/login/S", b"/gateway/login/[redacted]"),
        (b"/gateway/shared/S", b"/gateway/shared/[redacted]"),
        (b"/gateway/%73hared/%0aS", b"/gateway/shared/[redacted]"),
        (b"/a?next=%2Fgateway%2Fshared%2FS&x=1", b"/a?next=[redacted]&x=1"),
        (b"/gateway/%73har%2565d/S?a=b", b"/gateway/shared/[redacted]?a=b"),
        (b"/gateway/enter/S?a=b", b"/gateway/enter/[redacted]?a=b"),
        (b"/gateway/login?next=%2Fgateway%2Flogin%3Fticket%3DS", b"/gateway/login?next=[redacted]"),
        (b"https://h/a?b=1#token=S", b"https://h/a?b=1#token=[redacted]"),
        (b"/a?token=", b"/a?token="),
        (b"/a?tokens_left=3&encode=7", b"/a?tokens_left=3&encode=7"),
        (b"/token=S/lab", b"/token=S/lab"),
        (b"/a?sessionid=S&session_id=5", b"/a?sessionid=[redacted]&session_id=5"),
        (b"", b""),
    ],
)
def test_values_with_telling_names_are_redacted(url: bytes, kept: bytes) -> None:
    assert redacted(url) == kept


@given(st.binary(max_size=60))
def test_redaction_never_raises_and_changes_nothing_else(url: bytes) -> None:
    once = redacted(url)
    assert redacted(once) == once
    if b"=" not in url and not url.startswith(b"/gateway/"):
        assert once == url


def test_the_referer_is_redacted_too() -> None:
    line = line_of("combined", request(referer=b"https://nb.example.org/a?token=hunter2"))
    assert '"https://nb.example.org/a?token=[redacted]"' in line
