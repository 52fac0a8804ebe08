"""Connections of which one direction has ended, on either side, in each phase."""

from __future__ import annotations

import contextlib

import pytest

from tests.proxy.harness import Rig, forwarded, served
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import GET, OK, until

EVERY_LOOP = True

POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n"


@pytest.mark.parametrize("request_bytes", [GET, POST, POST + b"hello"])
async def test_client_that_ends_its_direction_is_taken_to_have_gone(
    proxy: Rig, upstream: Upstream, request_bytes: bytes
) -> None:
    client, server = await forwarded(proxy, upstream, request_bytes)
    client.writer.write_eof()
    assert await client.gone()
    # Aborted, not ended: what was complete of an upload may arrive, and nothing else.
    with contextlib.suppress(ConnectionResetError):
        assert await server.rest() == request_bytes.partition(b"\r\n\r\n")[2]
    await until(lambda: proxy.observer.outcomes == ["aborted"])
    await served(proxy, upstream)  # on a connection of its own


async def test_client_that_ends_its_direction_within_a_head_gets_nothing(
    proxy: Rig, upstream: Upstream
) -> None:
    async with await proxy.connect() as client:
        await client.send(GET[:-2])
        client.writer.write_eof()
        assert await client.gone()
    assert upstream.accepted == 0
    assert proxy.gate.seen == []


async def test_client_that_ends_its_direction_when_idle_is_closed(
    proxy: Rig, upstream: Upstream
) -> None:
    client, _ = await served(proxy, upstream)
    client.writer.write_eof()
    assert await client.gone()
    assert proxy.observer.outcomes == ["2xx"]


async def test_answer_under_way_is_broken_off_when_the_client_ends_its_direction(
    proxy: Rig, upstream: Upstream
) -> None:
    client, server = await forwarded(proxy, upstream)
    await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    await client.head()
    assert await client.read(4) == b"half"
    client.writer.write_eof()
    assert await server.gone()
    assert await client.gone()
    await until(lambda: proxy.observer.outcomes == ["aborted"])


async def test_upstream_that_ends_its_direction_without_an_answer_is_502(
    proxy: Rig, upstream: Upstream
) -> None:
    client, server = await forwarded(proxy, upstream)
    server.writer.write_eof()
    assert (await client.response()).status == 502
    assert await server.gone()


async def test_upstream_that_ends_its_direction_within_a_head_is_502(
    proxy: Rig, upstream: Upstream
) -> None:
    client, server = await forwarded(proxy, upstream)
    await server.send(OK[:-4])
    server.writer.write_eof()
    assert (await client.response()).status == 502


async def test_upstream_that_ends_its_direction_behind_an_interim_answer_is_502(
    proxy: Rig, upstream: Upstream
) -> None:
    client, server = await forwarded(proxy, upstream)
    await server.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    server.writer.write_eof()
    assert (await client.response()).status == 103
    assert (await client.response()).status == 502


@pytest.mark.parametrize("half", [b"", b"half"])
async def test_upstream_that_ends_its_direction_within_a_body_breaks_the_answer(
    proxy: Rig, upstream: Upstream, half: bytes
) -> None:
    client, server = await forwarded(proxy, upstream)
    await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + half)
    await client.head()
    server.writer.write_eof()
    with contextlib.suppress(ConnectionResetError):
        assert await client.rest() == half
    await until(lambda: proxy.observer.outcomes == ["aborted"])


async def test_upstream_that_ends_its_direction_ends_a_body_without_length(
    proxy: Rig, upstream: Upstream
) -> None:
    client, server = await forwarded(proxy, upstream)
    await server.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
    server.writer.write_eof()
    assert (await client.response()).body == b"all of it"
    assert await server.gone()


async def test_upstream_that_ends_its_direction_behind_its_answer_is_not_used_again(
    proxy: Rig, upstream: Upstream
) -> None:
    client, server = await forwarded(proxy, upstream)
    await server.send(OK)
    server.writer.write_eof()
    assert (await client.response()).body == b"ok"
    assert await server.gone()
    await served(proxy, upstream)  # on a connection of its own


async def test_early_end_of_an_upstream_in_an_upload_is_502_and_the_rest_is_no_request(
    proxy: Rig, upstream: Upstream
) -> None:
    client, server = await forwarded(proxy, upstream, POST + b"hello")
    server.writer.write_eof()
    answer = await client.response()
    assert (answer.status, answer.one(b"connection")) == (502, b"close")
    await client.send(b"world" + GET)
    assert await client.gone()
    assert len(proxy.gate.seen) == 1
