"""How many pages of people's files are under way at once."""

from __future__ import annotations

import asyncio

from aiohttp import web

from gateway.web.sending import Sending
from tests.support.waiting import until


async def page() -> web.Response:
    return web.Response(text="work")


async def test_each_person_has_so_many_until_they_are_sent() -> None:
    sending = Sending(most=3, most_each=2)
    kept = [await sending.make("ann", page) for _ in range(2)]
    assert await sending.make("ann", page) is None
    kept.append(await sending.make("bob", page))
    assert await sending.make("cyd", page) is None
    assert all(kept)
    kept.pop()  # bob's browser has it, or has gone
    assert await sending.make("cyd", page) is not None
    kept.clear()
    assert await sending.make("ann", page) is not None


async def test_those_that_wait_for_a_turn_have_read_nothing_and_count() -> None:
    sending, go, reading = Sending(most_each=3), asyncio.Event(), 0

    async def slow() -> web.Response:
        nonlocal reading
        reading += 1
        await go.wait()
        return web.Response()

    under_way = [asyncio.create_task(sending.make("ann", slow)) for _ in range(3)]
    await until(lambda: reading == 2)
    assert await sending.make("ann", slow) is None
    assert reading == 2
    go.set()
    assert all(await asyncio.gather(*under_way))


async def test_page_that_fails_counts_no_more() -> None:
    sending = Sending(most_each=1)

    async def fails() -> web.Response:
        raise OSError

    for _ in range(3):
        done = await asyncio.gather(sending.make("ann", fails), return_exceptions=True)
        assert isinstance(done[0], OSError)
    assert await sending.make("ann", page) is not None
