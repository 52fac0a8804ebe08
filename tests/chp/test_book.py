"""Routes in memory: what is replaced, removed and told of old targets."""

from __future__ import annotations

import asyncio
import json

from gateway.chp.book import RouteBook
from gateway.proxy.interface import Relay
from routes.keys import Target
from tests.proxy.harness import activity_of


def target_of(book: RouteBook, path: bytes) -> Target | None:
    relay = book.table.find("", path)
    return None if relay is None else relay.entry.target


def relay_of(book: RouteBook, key: str) -> Relay:
    relay = book.table.get(key)
    assert relay is not None
    return relay


def test_old_target_is_told_when_it_changes_or_goes() -> None:
    retired: list[Target] = []
    book = RouteBook(retired=retired.append)
    book.put("/x", {"target": "http://a:1"})
    book.put("/x", {"target": "http://a:1", "new": True})
    assert retired == []
    book.put("/x", {"target": "https://a:1"})
    assert retired == [Target("a", 1)]
    assert book.remove("/x")
    assert retired == [Target("a", 1), Target("a", 1, "https")]
    assert not book.remove("/x")
    assert len(book) == 0
    assert target_of(book, b"/x") is None


def test_keys_that_differ_in_a_slash_share_a_place_and_the_last_has_it() -> None:
    book = RouteBook()
    book.put("/x", {"target": "http://a:1"})
    book.put("/x/", {"target": "http://b:2"})
    assert target_of(book, b"/x/y") == Target("b", 2)
    assert book.remove("/x")
    assert target_of(book, b"/x/y") == Target("b", 2)
    assert book.remove("/x/")
    assert target_of(book, b"/x/y") is None


def test_activity_begins_anew_with_a_route() -> None:
    now = 10.0
    book = RouteBook(clock=lambda: now, wall=lambda: now)
    book.put("/x", {"target": "http://a:1"})
    activity_of(relay_of(book, "/x").entry).last = 12.0
    now = 20.0
    book.put("/x", {"target": "http://a:1"})
    assert activity_of(relay_of(book, "/x").entry).last == 20.0


async def test_listing_lets_others_run_and_routes_change() -> None:
    book = RouteBook()
    for number in range(5000):
        book.put(f"/u{number}", {"target": "http://a:1"})
    listing = asyncio.create_task(book.listing())
    await asyncio.sleep(0)  # its first part
    turns = 0
    while not listing.done():
        turns += 1
        book.remove(f"/u{turns}")
        await asyncio.sleep(0)
    assert turns >= 2
    assert len(json.loads(listing.result())) == 5000
    assert len(json.loads(await book.listing())) == 5000 - turns
