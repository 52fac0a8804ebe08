"""Which requests show that a person is there: what the idle culler goes by."""

from __future__ import annotations

import pytest

from tests.proxy.harness import Rig, activity_of
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import get


async def activity_after(proxy: Rig, request: bytes) -> float:
    """Return the mark that `request` leaves on a notebook; 0.0 for none."""
    entry = proxy.notebook()
    activity_of(entry).last = 0.0
    await proxy.ask(request, request.split(b" ")[0].decode())
    assert activity_of(entry).requests == 0
    return activity_of(entry).last


@pytest.mark.parametrize(
    "request_bytes",
    [
        get(b"Sec-Fetch-Mode: navigate\r\n"),
        get(b"Accept: text/html,*/*\r\n"),
        b"POST /api/sessions HTTP/1.1\r\nHost: h\r\n\r\n",
        b"PUT /api/contents/x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi",
        b"DELETE /x HTTP/1.1\r\nHost: h\r\n\r\n",
    ],
)
async def test_navigations_and_changes_show_a_person(echoing: Rig, request_bytes: bytes) -> None:
    assert await activity_after(echoing, request_bytes) > 0


@pytest.mark.parametrize(
    "request_bytes",
    [
        get(b"", b"/api/kernels"),
        get(b"Sec-Fetch-Mode: cors\r\nAccept: text/html\r\n"),
        b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
    ],
)
async def test_polling_shows_nobody(echoing: Rig, request_bytes: bytes) -> None:
    assert await activity_after(echoing, request_bytes) == 0.0


async def test_bytes_of_an_upload_show_a_person(proxy: Rig, upstream: Upstream) -> None:
    entry = proxy.notebook()
    async with await proxy.connect() as client:
        await client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab")
        server = await upstream.take()
        await server.head()
        assert await server.read(2) == b"ab"
        assert activity_of(entry).requests == 1
        activity_of(entry).last = 0.0
        await client.send(b"c")
        assert await server.read(1) == b"c"
        assert activity_of(entry).last > 0
