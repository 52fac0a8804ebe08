"""A page that failed is found in the log by the id that its reader sees."""

from __future__ import annotations

import json
import logging

import pytest

from gateway.web.context import Pages
from tests.proxy.harness import Rig
from tests.proxy.wire import Message

ID = b"x-request-id"
HTML = b"Accept: text/html\r\n"


async def ask(proxy: Rig, path: bytes, lines: bytes) -> Message:
    return await proxy.ask(b"GET %b HTTP/1.1\r\nHost: h\r\n%b\r\n" % (path, lines))


@pytest.fixture
def broken(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tickets cannot be redeemed."""

    async def fail(*_: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(type(pages.tickets), "redeem", fail)


@pytest.mark.usefixtures("broken")
async def test_failed_page_tells_the_id_of_its_log_line(
    proxy: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    path = b"/gateway/login?ticket=hidden"
    with caplog.at_level(logging.INFO):
        page = await ask(proxy, path, HTML + b"X-Request-ID: mine-1\r\n")
        problem = await ask(proxy, path, b"X-Request-ID: mine-2\r\n")
    assert (page.status, page.all(ID)) == (500, [b"mine-1"])
    assert b"Request mine-1" in page.body
    assert (problem.status, problem.all(ID)) == (500, [b"mine-2"])
    assert json.loads(problem.body)["request_id"] == "mine-2"
    assert b"disk" not in page.body + problem.body
    lines = [one.getMessage() for one in caplog.records if one.name == "gateway.web"]
    assert lines == [
        f"page failed request_id={one} method=GET path=/gateway/login"
        for one in ("mine-1", "mine-2")
    ]


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("sent", [b"<i>", b'"', b"a b", b"x" * 129])
async def test_what_is_no_id_is_neither_shown_nor_logged(
    proxy: Rig, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    page = await ask(proxy, b"/gateway/login?ticket=hidden", HTML + b"X-Request-ID: %b\r\n" % sent)
    made = (page.one(ID) or b"").decode()
    assert len(made) == 32
    assert f"Request {made}".encode() in page.body
    (record,) = [one for one in caplog.records if one.name == "gateway.web"]
    assert record.getMessage() == f"page failed request_id={made} method=GET path=/gateway/login"


async def test_path_cannot_forge_a_log_line(
    proxy: Rig, pages: Pages, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(type(pages.table), "first", fail)
    assert (await ask(proxy, b"/gateway/status/a%0Aerror%20forged", b"")).status == 500
    (record,) = [one for one in caplog.records if one.name == "gateway.web"]
    assert record.getMessage().endswith(" path=/gateway/status/a%0Aerror%20forged")


@pytest.mark.parametrize("lines", [HTML, b""])
async def test_message_for_an_unknown_page_tells_the_id(proxy: Rig, lines: bytes) -> None:
    answer = await ask(proxy, b"/gateway/nowhere", lines + b"X-Request-ID: mine-3\r\n")
    assert (answer.status, answer.all(ID)) == (404, [b"mine-3"])
    assert b"mine-3" in answer.body


async def test_page_that_works_carries_the_id(proxy: Rig) -> None:
    answer = await ask(proxy, b"/", HTML + b"X-Request-ID: mine-4\r\n")
    assert (answer.status, answer.all(ID)) == (200, [b"mine-4"])
