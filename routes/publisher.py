"""The asynchronous publisher: changes that come while a publish runs go out with the next one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from routes.apachedb import ApacheDB, keep_damaged
from routes.errors import RouteFileError

Entries = dict[bytes, bytes]
T = TypeVar("T")


@dataclass(slots=True)
class _Request:
    change: Callable[[Entries], None]
    done: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Publisher:
    """Publishes changes of one ApacheDB without holding the event loop.

    Args:
        database: opened for writing; it stays the caller's to close.
        on_publish: called with the seconds that each publish took; None for nobody.
    """

    def __init__(
        self, database: ApacheDB, on_publish: Callable[[float], None] | None = None
    ) -> None:
        self._database = database
        self._on_publish = on_publish
        self._waiting: list[_Request] = []
        self._force = False
        self._worker: asyncio.Task[None] | None = None
        # A thread of its own: syncing must not wait behind other work.
        self._thread = ThreadPoolExecutor(1, "publish")

    async def put(self, key: str, target: str) -> None:
        """Set one route; see `update`."""
        await self.update({key: target}, ())

    async def delete(self, key: str) -> None:
        """Delete one route; see `update`."""
        await self.update({}, (key,))

    async def update(self, puts: Mapping[str, str], deletes: Iterable[str]) -> None:
        """Change routes; when this returns, the file in place has the changes.

        Raises:
            InvalidKey, InvalidTarget: nothing has changed.
            BuildFailed: nothing has changed, for all who waited for this publish.
        """
        database = self._database
        stored = {database.key(key): database.value(target) for key, target in puts.items()}
        gone = [ApacheDB.convert_to_bytes(key) for key in deletes]

        def change(entries: Entries) -> None:
            for key in gone:
                entries.pop(key, None)
            entries.update(stored)

        await self._request(change)

    async def replace(self, puts: Mapping[str, str]) -> Path | None:
        """Write a fresh file with exactly these routes.

        Returns:
            Where the old file was kept, if it was damaged; else None.
        """
        database = self._database
        stored = {database.key(key): database.value(target) for key, target in puts.items()}
        kept = await self._in_thread(lambda: keep_damaged(database.path))

        def change(entries: Entries) -> None:
            entries.clear()
            entries.update(stored)

        await self._request(change, always=True)
        return kept

    async def reload(self) -> None:
        """Read the file again, after somebody else wrote it. Raises DamagedDatabase."""
        while self._worker is not None:
            await asyncio.wait([self._worker])
        await self._in_thread(self._database.reload)

    async def close(self) -> None:
        """Finish what was asked for."""
        if self._worker is not None:
            await asyncio.wait([self._worker])
        self._thread.shutdown(wait=False)

    async def _request(self, change: Callable[[Entries], None], *, always: bool = False) -> None:
        if always:
            self._force = True
        request = _Request(change)
        self._waiting.append(request)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name="publish")
        await asyncio.shield(request.done)

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._publish(batch)
        finally:
            self._worker = None

    async def _publish(self, batch: list[_Request]) -> None:
        force, self._force = self._force, False
        entries = self._database.entries
        for request in batch:
            request.change(entries)
        try:
            if force or entries != self._database.entries:
                began = time.perf_counter()
                await self._in_thread(lambda: self._database.publish(entries))
                if self._on_publish is not None:
                    self._on_publish(time.perf_counter() - began)
        except RouteFileError as error:
            for request in batch:
                if not request.done.done():
                    request.done.set_exception(error)
            return
        for request in batch:
            if not request.done.done():
                request.done.set_result(None)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
