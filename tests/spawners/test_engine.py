"""The engine as a peer that may not answer; what it does when it answers is test_docker.py's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.errors import EngineUnavailable
from gateway.spawners.engine import Engine
from tests.support.waiting import PATIENCE, until

DEADLINE = 0.5
KNOCK_AND_ASK = 2


class Hanging:
    """An engine that accepts connections and says nothing.

    Attributes:
        url: where it is.
        accepted: how many connections so far.
    """

    def __init__(self, path: Path) -> None:
        self.url = f"unix://{path}"
        self.accepted = 0
        self._release = asyncio.Event()
        self._ended = 0
        self._all_ended = asyncio.Event()
        self._all_ended.set()

    async def release(self) -> None:
        """End all connections, and wait until they are."""
        self._release.set()
        await self._all_ended.wait()

    async def hang(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.accepted += 1
        self._all_ended.clear()
        await self._release.wait()
        writer.close()
        await writer.wait_closed()
        self._ended += 1
        if self._ended == self.accepted:
            self._all_ended.set()


@contextlib.asynccontextmanager
async def hanging(folder: Path) -> AsyncIterator[tuple[Hanging, Engine]]:
    """Give an engine that hangs and our client for it."""
    peer = Hanging(folder / "hang.sock")
    async with await asyncio.start_unix_server(peer.hang, folder / "hang.sock"):
        engine = Engine(peer.url, deadline=DEADLINE)
        yield peer, engine
        await peer.release()
        await engine.close()


async def test_engine_that_hangs_is_given_up_in_time(tmp_path: Path) -> None:
    async with hanging(tmp_path) as (_, engine):
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(EngineUnavailable):
                await engine.call(lambda api: api.version())


async def test_all_who_wait_for_an_engine_that_hangs_are_told_at_once(tmp_path: Path) -> None:
    async with hanging(tmp_path) as (peer, engine):
        told = await asyncio.gather(
            *(engine.call(lambda api: api.version()) for _ in range(20)), return_exceptions=True
        )
        assert [type(one) for one in told] == [EngineUnavailable] * 20
        await until(lambda: peer.accepted >= KNOCK_AND_ASK)
        assert peer.accepted == KNOCK_AND_ASK


async def test_who_waits_for_an_engine_that_is_closed_is_told(tmp_path: Path) -> None:
    async with hanging(tmp_path) as (_, engine):
        waiting = asyncio.create_task(engine.call(lambda api: api.version()), name="waiting")
        await asyncio.sleep(0)
        await engine.close()
        with pytest.raises(EngineUnavailable):
            await waiting


async def test_caller_that_goes_away_leaves_the_others_their_connection(tmp_path: Path) -> None:
    async with hanging(tmp_path) as (peer, engine):
        impatient, patient = (
            asyncio.create_task(engine.call(lambda api: api.version()), name=f"caller {turn}")
            for turn in range(2)
        )
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.wait([impatient])
        with pytest.raises(EngineUnavailable):
            await patient
        await until(lambda: peer.accepted >= KNOCK_AND_ASK)
        assert peer.accepted == KNOCK_AND_ASK
