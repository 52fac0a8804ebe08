"""Upgrades and kept connections: with configurable-http-proxy and with nbgate-proxy."""

from __future__ import annotations

import pytest

from tests.chp.harness import SWITCH, UPGRADE, get
from tests.chp.pair import Start, paired
from tests.chp.test_differential_answers import ANSWERS
from tests.proxy.wire import Wire


class TestWebSockets:
    """Upgrades, what follows them, and what comes in their place."""

    async def test_upgrade(self, chp: Start) -> None:
        async with paired(chp) as pair:
            await pair.add("/user/foo", "/t")
            pair.upstream.answer = SWITCH
            for _ in range(2):
                theirs, ours = await pair.ask(UPGRADE % b"/user/foo/%40/ws?x=%20")
                assert ours.target == theirs.target == "/t/user/foo/%40/ws?x=%20"
                assert ours.status == theirs.status == 101
                assert ours.got == theirs.got
                del ours.sent["x-forwarded-host"]  # they leave it out here
                assert ours.sent == theirs.sent
                assert ours.header("x-forwarded-proto") == "ws"

    async def test_bytes_both_ways(self, chp: Start) -> None:
        async with paired(chp) as pair:
            await pair.add("/")
            pair.upstream.answer = SWITCH + b"\x81\x02hi"
            for wire in await pair.connected():
                async with wire:
                    await wire.send(UPGRADE % b"/ws")
                    assert (await wire.head()).status == 101
                    assert await wire.read(4) == b"\x81\x02hi"
                    await wire.send(b"frame")
                    assert await wire.read(5) == b"frame"

    @pytest.mark.parametrize("answer", [ANSWERS[1], ANSWERS[7], ANSWERS[8], ANSWERS[6]])
    async def test_answer_that_is_no_upgrade(self, chp: Start, answer: bytes) -> None:
        async with paired(chp) as pair:
            await pair.add("/")
            pair.upstream.answer = answer
            theirs, ours = await pair.ask(UPGRADE % b"/ws")
            assert (ours.status, ours.reason, ours.got, ours.body) == (
                theirs.status, theirs.reason, theirs.got, theirs.body
            )  # fmt: skip

    @pytest.mark.parametrize(("path", "status"), [(b"/none", 404), (b"/x/ws", 503), (b"/%zz", 500)])
    async def test_nothing_to_upgrade_to(self, chp: Start, path: bytes, status: int) -> None:
        async with paired(chp) as pair:
            await pair.lead("/x", "http://127.0.0.1:1")
            for wire in await pair.connected():
                async with wire:
                    await wire.send(UPGRADE % path)
                    told = await wire.response()
                    assert (told.status, told.body) == (status, b"")
                    assert told.one(b"content-length") == b"0"


async def kept(wire: Wire, count: int) -> None:
    for number in range(count):
        await wire.send(get(f"/x{number}"))
        assert (await wire.response()).status == 200


async def test_connections_are_kept_and_requests_answered_in_order(chp: Start) -> None:
    async with paired(chp) as pair:
        await pair.add("/")
        for wire in await pair.connected():
            async with wire:
                await kept(wire, 5)
                seen = len(pair.upstream.seen)
                await wire.send(b"".join(get(f"/pipelined{number}") for number in range(3)))
                for _ in range(3):
                    assert (await wire.response()).status == 200
                targets = [message.target for message in pair.upstream.seen[seen:]]
                assert sorted(targets) == [b"/pipelined%d" % number for number in range(3)]
