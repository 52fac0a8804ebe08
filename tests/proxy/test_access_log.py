"""The access log: forms, what is kept out of it, and what the real data path writes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidInput
from gateway.proxy.accesslog import AccessLog, Form, open_access_log
from gateway.proxy.interface import Client, ProxyLimits, Refuse, Relay
from gateway.proxy.logfile import LogFile
from gateway.proxy.messages import RequestHead
from gateway.proxy.redaction import redacted
from gateway.proxy.server import ProxyServer
from tests.proxy.harness import COOKIES, Rig
from tests.proxy.test_websockets import SWITCH, UPGRADE
from tests.proxy.upstreams import Upstream, echo
from tests.proxy.wire import until

EVERY_LOOP = True
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
        (b"/a?x=1&access_token=S", b"/a?x=1&access_token=[redacted]"),
        (b"/a?X=1;ID_Token=S", b"/a?X=1;ID_Token=[redacted]"),
        (b"/a?%74oken=S", b"/a?%74oken=[redacted]"),
        (b"/a?%2574oken=S", b"/a?%2574oken=[redacted]"),
        (b"/a?state=S&code=S&sig=S", b"/a?state=[redacted]&code=[redacted]&sig=[redacted]"),
        (b"/gateway/login?ticket=S", b"/gateway/login?ticket=[redacted]"),
        (b"/gateway/login/S", b"/gateway/login/[redacted]"),
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


# -- with the real data path


class Logged(Rig):
    """A data path with an access log in JSON."""

    def __init__(self, folder: Path, upstream: Upstream, limits: ProxyLimits) -> None:
        super().__init__(folder, upstream.target, limits, ())
        self.lines: list[bytes] = []
        self.proxy = ProxyServer(
            self.gate,
            limits,
            folder / "pages.sock",
            self.observer,
            gateway_cookies=COOKIES,
            access_log=AccessLog("json", self.lines.append),
        )

    async def told(self, count: int = 1) -> list[dict[str, Any]]:
        """Return the first lines once there are so many."""
        await until(lambda: len(self.lines) >= count)
        assert len(self.lines) == count
        return [json.loads(line) for line in self.lines]


@contextlib.asynccontextmanager
async def logged(
    folder: Path, upstream: Upstream, limits: ProxyLimits | None = None
) -> AsyncIterator[Logged]:
    made = Logged(folder, upstream, limits or ProxyLimits())
    await made.proxy.start("127.0.0.1", 0)
    try:
        yield made
    finally:
        await made.proxy.stop(grace=0.0)
        for client in made.clients:
            await client.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as made:
        yield made


@pytest.fixture
async def proxy(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Logged]:
    async with logged(tmp_path, upstream) as made:
        yield made


async def test_each_request_of_a_connection_has_a_line_with_its_own_bytes(tmp_path: Path) -> None:
    async with Upstream(echo) as upstream, logged(tmp_path, upstream) as proxy:
        proxy.gate.rule = lambda head, client: Relay(proxy.entry, "alice")
        sizes = []
        async with await proxy.connect() as client:
            for name in (b"a", b"bb"):
                await client.send(b"GET /%b?token=x HTTP/1.1\r\nHost: h\r\n\r\n" % name)
                head = await client.head()
                body = await client.read(int(head.one(b"content-length") or 0))
                rendered = [head.start, *(b"%b: %b" % field for field in head.headers), b"", b""]
                sizes.append((len(b"\r\n".join(rendered)) + len(body), head.one(b"x-request-id")))
        told = await proxy.told(2)
        assert [(line["sent"], line["request_id"].encode()) for line in told] == sizes
        assert [line["target"] for line in told] == ["/a?token=[redacted]", "/bb?token=[redacted]"]
        assert {line["user"] for line in told} == {"alice"}
        assert {line["status"] for line in told} == {200}


async def test_own_answers_have_a_line_with_their_bytes(proxy: Logged) -> None:
    proxy.gate.rule = lambda head, client: Refuse(401, "login", "sign in first")
    two = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n" * 2
    async with await proxy.connect() as client:
        await client.send(two)
        answers = [await client.response(), await client.response()]
    first, second = await proxy.told(2)
    assert (first["status"], first["target"], first["user"]) == (401, "/x", None)
    assert first["sent"] == second["sent"] > len(answers[0].body)


async def test_what_is_no_request_has_a_line_without_what_is_unknown(
    tmp_path: Path, proxy: Logged
) -> None:
    answer = await proxy.ask(b"GET / HTTP/1.1\r\nHo st: h\r\n\r\n")
    (line,) = await proxy.told()
    assert (line["status"], line["client"], "target" in line) == (400, "127.0.0.1", False)
    assert line["request_id"].encode() == answer.one(b"x-request-id")
    lines: list[bytes] = []
    AccessLog("combined", lines.append, lambda: NOON).record_refused(_Nowhere(), 408, 99, b"r-2")
    assert lines == [b'- - - [02/Jan/2026:12:00:00 +0000] "-" 408 99 "-" "-" - 0.000 r-2\n']


class _Nowhere(asyncio.Transport):
    """A transport of which nothing is known."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


async def test_a_websocket_is_logged_when_it_ends(proxy: Logged, upstream: Upstream) -> None:
    proxy.gate.rule = lambda head, client: Relay(proxy.entry, "alice")
    client = await proxy.connect()
    await client.send(UPGRADE)
    server = await upstream.take()
    await server.head()
    await server.send(SWITCH)
    await client.head()
    await server.send(b"\x82\x7e\x03\xe8" + b"x" * 1000)
    await client.read(1004)
    assert not proxy.lines
    await client.close()
    await server.close()
    (line,) = await proxy.told()
    assert (line["status"], line["target"], line["user"]) == (101, "/ws", "alice")
    assert line["sent"] > 1004
    assert line["seconds"] > 0


async def test_websockets_that_are_open_at_the_stop_are_logged(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with logged(tmp_path, upstream) as proxy:
        client = await proxy.connect()
        await client.send(UPGRADE)
        server = await upstream.take()
        await server.head()
        await server.send(SWITCH)
        await client.head()
        stopping = asyncio.create_task(proxy.proxy.stop(grace=0.0))
        await client.rest()
        await client.close()
        await server.close()
        await stopping
        (line,) = await proxy.told()
        assert line["status"] == 101


@pytest.mark.parametrize("begun", [False, True])
async def test_a_client_that_leaves_is_499(proxy: Logged, upstream: Upstream, begun: bool) -> None:
    client = await proxy.connect()
    await client.send(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
    server = await upstream.take()
    await server.head()
    if begun:
        await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf")
        await client.head()
    await client.close()
    (line,) = await proxy.told()
    assert (line["status"], line["sent"] > 0) == (499, begun)


async def test_an_answer_that_is_cut_off_is_499_and_one_that_never_came_502(
    proxy: Logged, upstream: Upstream
) -> None:
    for data in (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf", b""):
        client = await proxy.connect()
        await client.send(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        server = await upstream.take()
        await server.head()
        await server.send(data)
        await server.close()
        await client.gone() if data else await client.response()
    assert [line["status"] for line in await proxy.told(2)] == [499, 502]


# -- the file


def reading(path: Path) -> Callable[[], list[str]]:
    return lambda: path.read_text().splitlines() if path.exists() else []


async def test_lines_are_written_soon_and_what_is_left_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    async with contextlib.AsyncExitStack() as stack:
        log = open_access_log("combined", str(path), stack)
        assert log is not None
        record = (request(), CLIENT)
        log.record(*record, status=200, sent=1, seconds=0.0, user=None, request_id=b"1")
        await until(lambda: len(reading(path)()) == 1)
        for _ in range(1000):
            log.record(*record, status=200, sent=1, seconds=0.0, user=None, request_id=b"2")
    lines = path.read_text().splitlines()
    assert len(lines) == 1001
    assert all(COMBINED.fullmatch(line) for line in lines)
    assert path.stat().st_mode & 0o777 & ~0o640 == 0


async def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path) -> None:
    path, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    file = LogFile(path, flush_seconds=0.01)
    file.append(b"one\n")
    await until(lambda: reading(path)() == ["one"])
    path.rename(moved)
    file.append(b"two\n")
    await until(lambda: reading(path)() == ["two"])
    path.unlink()
    file.append(b"three\n")
    await until(lambda: reading(path)() == ["three"])
    file.close()
    assert moved.read_text() == "one\n"


async def test_what_cannot_be_written_is_told_once_and_holds_nobody_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    path = folder / "access.log"
    file = LogFile(path, flush_seconds=0.01)
    path.unlink()
    folder.rename(tmp_path / "elsewhere")
    for number in range(3):
        file.append(b"%d\n" % number)
        await until(file._lines.empty)
    await until(lambda: bool(caplog.messages))
    folder.mkdir()
    file.append(b"again\n")
    await until(lambda: "again" in reading(path)())
    file.close()
    (told,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert str(path) in told.getMessage()


def test_a_pipe_that_nobody_reads_holds_nobody_up_and_loses_the_rest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gateway.proxy.logfile._STOP_SECONDS", 0.05)
    monkeypatch.setattr("gateway.proxy.logfile._MOST_BYTES", 2**20)
    reader, writer = os.pipe()
    monkeypatch.setattr(LogFile, "_open", lambda self: writer)
    file = LogFile(None, flush_seconds=0.01)
    for _ in range(3000):
        file.append(b"x" * 1023 + b"\n")
        if caplog.messages:
            break
    file.close()
    assert any("too slowly" in message for message in caplog.messages)
    drained = threading.Thread(target=_drain, args=(reader,))
    drained.start()
    file._thread.join(10)
    os.close(writer)
    drained.join(10)


def _drain(reader: int) -> None:
    while os.read(reader, 65536):
        pass
    os.close(reader)


async def test_a_file_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        assert open_access_log("off", "/nowhere/log", stack) is None
        with pytest.raises(InvalidInput, match="NBGATE_ACCESS_LOG_FILE"):
            open_access_log("json", str(tmp_path / "none" / "log"), stack)
