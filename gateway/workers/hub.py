"""Control's end of the control socket: who is connected, and whether all know of a change.

A stop is fenced here. The change that makes a route cold is numbered like any other; the stop goes
on when every worker that could use the old target has said that this number is in force there. One
that does not say so in time, or that lives and is not connected, is ended. Not waited for is one
that cannot: it has ended, or its first snapshot is younger than the change (roll.py, Link.follows).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway.workers.channel import Channel
from gateway.workers.frames import VERSION, BadFrame, Message
from gateway.workers.link import Link, Source
from gateway.workers.roll import Roll

logger = logging.getLogger(__name__)

_HELLO_SECONDS = 5.0
_PATIENCE_SECONDS = 3.0
_SETTLE_SECONDS = 1.0

KeepOnly = Callable[[set[int]], Awaitable[None]]
"""Ends every worker but those with these process ids; returns when they have ended."""


class Hub:
    """See the module's docstring.

    Args:
        source: what workers are to know.
        fleet: names the supervisor's run; a worker of another one is sent away.
        roll: the workers that may serve.
        keep_only: ends the others.
        patience: seconds without a sign of life after which a worker counts as stuck.
        settle: seconds that a change is held up for workers that have not got it yet.
    """

    def __init__(
        self,
        source: Source,
        fleet: str,
        roll: Roll,
        keep_only: KeepOnly,
        patience: float = _PATIENCE_SECONDS,
        settle: float = _SETTLE_SECONDS,
    ) -> None:
        self._source = source
        self._fleet = fleet
        self._roll = roll
        self._keep_only = keep_only
        self._patience = patience
        self._settle = settle
        self._links: set[Link] = set()
        self._serving: dict[asyncio.Task[None], Channel] = {}
        self._moved = asyncio.Event()
        roll.on_change(self._moved.set)
        self._server: asyncio.Server | None = None
        self._closed = False
        self._strangers = 0

    async def start(self, place: Path | socket.socket) -> None:
        """Listen on a Unix socket; nobody but this user is let in.

        Args:
            place: where to make it, for its owner alone; or one that is bound already.

        Raises:
            OSError: it cannot be made.
        """
        if isinstance(place, socket.socket):
            self._server = await asyncio.start_unix_server(self._accepted, sock=place)
            return
        place.unlink(missing_ok=True)  # noqa: ASYNC240 - of this machine, before anything is served
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._accepted, place)
        finally:
            os.umask(before)

    async def close(self) -> None:
        """End all connections."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        for channel in self._serving.values():
            channel.close()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def settled(self) -> None:
        """Return when the changes so far are in force at the workers that are connected.

        Who is behind after a second gets them later: nothing depends on it but that people see
        at once what they did.
        """
        seq = self._source.feed.seq
        try:
            async with asyncio.timeout(self._settle):
                while self._behind(seq):
                    await self._next_move()
        except TimeoutError:
            for link in self._behind(seq):
                link.lagging = True

    async def drained(self) -> None:
        """Return when no worker is left that could use what the changes so far took away."""
        seq = self._source.feed.seq
        clock = self._source.clock
        began = clock()
        while not self._all_have(seq):
            late = [link.progress for link in self._links if not link.follows(seq)]
            patience = max([began, *late]) + self._patience - clock()
            if patience <= 0:
                await self._end_those_without(seq)
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._next_move()

    def _behind(self, seq: int) -> list[Link]:
        return [one for one in self._links if 0 < one.applied < seq and not one.lagging]

    def _all_have(self, seq: int) -> bool:
        follow = {link.pid for link in self._links if link.follows(seq)}
        return self._roll.pids <= follow and all(link.follows(seq) for link in self._links)

    async def _end_those_without(self, seq: int) -> None:
        pids = {link.pid for link in self._links if link.follows(seq)}
        logger.error("workers do not follow, ending them kept=%s", sorted(pids))
        await self._keep_only(pids)
        self._roll.only(pids)

    async def _next_move(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        channel = Channel(reader, writer)
        if self._closed or self._is_a_stranger(channel):
            channel.close()
            return
        task = asyncio.create_task(self._attend(channel), name="worker's connection")
        self._serving[task] = channel
        task.add_done_callback(self._serving.pop)

    def _is_a_stranger(self, channel: Channel) -> bool:
        """Whether another user's process is there: it is let go unheard, and holds nothing here.

        A socket whose name is in no directory has no rights of its own, so anybody may connect.
        """
        if channel.user == os.geteuid():
            return False
        self._strangers += 1
        if self._strangers == 1:  # else they could fill the log
            logger.warning("a process of another user is let go user=%d", channel.user)
        return True

    async def _attend(self, channel: Channel) -> None:
        try:
            await self._serve(channel)
        except (OSError, BadFrame, TimeoutError) as error:
            logger.warning("a worker did not introduce itself reason=%r", error)
        finally:
            channel.close()

    async def _serve(self, channel: Channel) -> None:
        messages = channel.messages()
        async with asyncio.timeout(_HELLO_SECONDS):
            hello = await anext(messages, None)
        reason = self._refusal(hello)
        if reason:
            channel.send({"t": "refused", "reason": reason})
            await channel.sent()
            return
        fresh = bool(hello and hello.get("fresh"))
        link = Link(channel, self._source, self._moved.set, fresh=fresh)
        self._links.add(link)
        self._roll.add(link.pid)
        try:
            await link.serve(messages)
        finally:
            self._links.discard(link)
            self._moved.set()
            logger.info("worker gone pid=%d", link.pid)

    def _refusal(self, hello: Message | None) -> str:
        if hello is None or hello["t"] != "hello":
            return "no hello"
        if hello.get("version") != VERSION:
            return f"protocol version {hello.get('version')}, here it is {VERSION}"
        return "" if hello.get("fleet") == self._fleet else "it belongs to another supervisor"
