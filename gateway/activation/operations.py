"""Operations: what is done to notebooks, written down before it begins and once it has ended.

Each is a row, so that a gateway that comes after one that ended knows what was begun. The rows are
written behind: a database that cannot be written holds no notebook up, it is said in the log,
and what is missing is written when it can be again. The work itself is the caller's.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.exc import IntegrityError

from gateway.errors import NotFound
from gateway.notebooks.database import Database, DatabaseError
from gateway.notebooks.logs import logger_of
from gateway.notebooks.operations import Kind, Operation, OperationRows, Progress
from gateway.notebooks.projects import utc_now
from gateway.problems import operators_problem_of

__all__ = ["Kind", "Operation", "Operations", "Progress"]

logger = logging.getLogger(__name__)

Work = Callable[[Operation], Awaitable[object]]

_WRITE_SECONDS = 5.0
_MOST_UNWRITTEN = 10_000
_CARRIED_ON = frozenset([Kind.STOP, Kind.REMOVE, Kind.DELETE, Kind.PURGE])


class Operations:
    """The operations of one gateway, and the rows of all.

    Args:
        database: open; it stays the caller's to close.
        gateway: this gateway's id, of this run of it.
        now: the time in UTC.
    """

    def __init__(
        self, database: Database, gateway: str, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._database = database
        self._gateway = gateway
        self._now = now
        self._live: dict[str, Operation] = {}
        self._unwritten: dict[str, Operation] = {}
        self._tasks: dict[str, asyncio.Task[object]] = {}
        self._writing: asyncio.Task[bool] | None = None
        self._told = False

    def plan(self, kind: Kind, slug: str, by: str, reason: str = "") -> Operation:
        """Make an operation that waits for its turn: `running` begins it, or it is `dropped`."""
        operation = Operation(
            uuid.uuid4().hex,
            slug,
            kind,
            Progress.QUEUED,
            _plain(by),
            _plain(reason),
            self._gateway,
            self._now(),
        )
        self._keep(operation)
        return operation

    @asynccontextmanager
    async def running(
        self, kind: Kind, slug: str, by: str, reason: str = "", planned: Operation | None = None
    ) -> AsyncIterator[Operation]:
        """Carry out an operation in this context: it ends as the context does.

        Args:
            kind: see Kind.
            slug: the notebook.
            by: who wants it.
            reason: why; "" for none.
            planned: what `plan` made; None for a new one.
        """
        async with self.carrying_out(planned or self.plan(kind, slug, by, reason)) as operation:
            yield operation

    @asynccontextmanager
    async def carrying_out(self, planned: Operation) -> AsyncIterator[Operation]:
        """Carry out what was planned in this context: it ends as the context does."""
        operation = replace(planned, state=Progress.RUNNING, began=self._now())
        self._keep(operation)
        try:
            if not self._told:
                await self.flush()
            yield operation
        except asyncio.CancelledError:
            self._keep(replace(operation, state=Progress.INTERRUPTED))
            del self._live[operation.id]
            raise
        except BaseException as error:
            self._end(operation, Progress.FAILED, error)
            raise
        self._end(operation, Progress.DONE)

    def drop(self, planned: Operation, error: BaseException | None = None) -> None:
        """End what was planned and never ran: done, or failed for `error`."""
        if planned.id in self._live and self._live[planned.id].state is Progress.QUEUED:
            self._end(planned, Progress.DONE if error is None else Progress.FAILED, error)

    def begin(self, kind: Kind, slug: str, by: str, reason: str, work: Work) -> Operation:
        """Begin `work` in a task of the application; it is given the planned operation.

        Who asked for it may go away. `wait` returns when it has ended.
        """
        return self._begin(self.plan(kind, slug, by, reason), work)

    def _begin(self, planned: Operation, work: Work) -> Operation:
        task = asyncio.create_task(
            self._carry_out(planned, work), name=f"{planned.kind} {planned.slug}"
        )
        self._tasks[planned.id] = task
        task.add_done_callback(lambda done: self._finished(planned, done))
        return planned

    async def wait(self, operation: Operation) -> object:
        """Return what the work of a begun operation returns; raise what it raises."""
        task = self._tasks.get(operation.id)
        return None if task is None else await asyncio.shield(task)

    def latest(self, slug: str, kind: Kind) -> Operation | None:
        """Return the notebook's latest operation of a kind that has not ended; None for none."""
        found = [one for one in self._live.values() if (one.slug, one.kind) == (slug, kind)]
        return found[-1] if found else None

    def is_ending(self, slug: str) -> bool:
        """Whether something that ends the notebook's server is under way or waits for its turn."""
        return any(one.slug == slug and one.kind in _CARRIED_ON for one in self._live.values())

    async def get(self, identity: str) -> Operation:
        """Return one operation. Raises NotFound, DatabaseError."""
        known = self._live.get(identity) or self._unwritten.get(identity)
        if known is None:
            async with self._database.reading() as connection:
                known = await OperationRows(connection).get(identity)
        if known is None:
            raise NotFound("operation", identity)
        return known

    async def list(
        self, slug: str | None = None, state: Progress | None = None, limit: int = 100
    ) -> Sequence[Operation]:
        """Return the last operations, the latest first. Raises DatabaseError.

        Args:
            slug: only this notebook's; None for all.
            state: only those in this state; None for any.
            limit: how many at most.
        """
        known = self._unwritten | self._live  # what is written meanwhile may be missing in both
        async with self._database.reading() as connection:
            stored = await OperationRows(connection).last(slug, state, limit)
        newer = {one.id: one for one in stored if one.ended or one.id not in known}
        found = known | newer | self._unwritten | self._live
        chosen = [
            one for one in found.values() if slug in (None, one.slug) and state in (None, one.state)
        ]
        return sorted(chosen, key=lambda one: one.created, reverse=True)[:limit]

    async def take_over(self, alive: Collection[str] = ()) -> Sequence[Operation]:
        """Take over what gateways that have ended left unfinished, and return it.

        A stop or a removal goes on, see `carry_on`. A start is over: the engine tells what became
        of it.

        Args:
            alive: ids of the other gateways that run.

        Raises:
            DatabaseError.
        """
        taken = []
        async with self._database.writing() as connection:
            rows = OperationRows(connection)
            for left in await rows.unfinished():
                if left.gateway == self._gateway or left.gateway in alive:
                    continue
                if not await rows.claim(left, self._gateway):
                    continue
                mine = replace(left, gateway=self._gateway, state=Progress.INTERRUPTED)
                if mine.kind not in _CARRIED_ON:
                    mine = replace(mine, ended=self._now(), error="its gateway ended before it did")
                await rows.put([mine])
                taken.append(mine)
        return taken

    def carry_on(self, operation: Operation, work: Work) -> None:
        """Do the rest of an operation that was taken over."""
        logger_of(operation.slug).info(
            "carried on kind=%s by=%s operation=%s",
            operation.kind,
            operation.requested_by,
            operation.id,
        )
        operation = replace(operation, state=Progress.QUEUED)
        self._keep(operation)
        self._begin(operation, work)

    async def forget(self, age: float) -> int:
        """Remove what ended more than `age` seconds ago; return how many. Raises DatabaseError."""
        async with self._database.writing() as connection:
            return await OperationRows(connection).forget(self._now() - timedelta(seconds=age))

    async def flush(self) -> bool:
        """Return when all that happened so far is stored, or cannot be; then False."""
        for _ in range(2):  # the write under way may have begun without the last of it
            if self._unwritten:
                self._write_soon()
            if self._writing is None:
                break
            if not await asyncio.shield(self._writing):
                return False
            await asyncio.sleep(0)  # awaiting what has ended lets no callback note that it has
        return True

    async def close(self) -> None:
        """Cancel what is under way, which the next gateway carries on, and store how far it is."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.flush()

    async def _carry_out(self, planned: Operation, work: Work) -> object:
        try:
            result = await work(planned)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self.drop(planned, error)
            raise
        self.drop(planned)
        return result

    def _finished(self, operation: Operation, task: asyncio.Task[object]) -> None:
        self._tasks.pop(operation.id, None)
        if not task.cancelled():
            task.exception()  # it is in the operation; nobody need wait for it

    def _end(
        self, operation: Operation, state: Progress, error: BaseException | None = None
    ) -> None:
        text = None if error is None else _plain(operators_problem_of(error).detail)
        ended = replace(operation, state=state, ended=self._now(), error=text)
        self._keep(ended)
        del self._live[operation.id]
        if error is not None:
            logger_of(operation.slug).warning(
                "operation failed kind=%s operation=%s reason=%s",
                operation.kind,
                operation.id,
                text,
            )

    def _keep(self, operation: Operation) -> None:
        self._live[operation.id] = operation
        self._unwritten[operation.id] = operation
        while len(self._unwritten) > _MOST_UNWRITTEN:
            self._unwritten.pop(next(iter(self._unwritten)))
        self._write_soon()

    def _write_soon(self) -> None:
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="operations")
            self._writing.add_done_callback(self._written)

    def _written(self, task: asyncio.Task[bool]) -> None:
        self._writing = None
        if not task.cancelled() and task.result() and self._unwritten:
            self._write_soon()

    async def _write(self) -> bool:
        """Store what is not stored yet; return whether that succeeded."""
        batch = dict(self._unwritten)
        try:
            async with asyncio.timeout(_WRITE_SECONDS), self._database.writing() as connection:
                await OperationRows(connection).put(batch.values())
        except (DatabaseError, IntegrityError, TimeoutError) as error:
            if not self._told:
                logger.error("operations cannot be written down, they go on reason=%s", error)
            self._told = True
            return False
        self._told = False
        for identity, operation in batch.items():
            if self._unwritten.get(identity) is operation:
                del self._unwritten[identity]
        return True


def _plain(text: str) -> str:
    """Return a text that every database takes: what one refuses would hold all rows back."""
    return text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
