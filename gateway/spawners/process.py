"""The process spawner: Jupyter as a child process on localhost, for development.

There is no isolation: notebooks run as the gateway's own user and see all its files. Servers
outlive the gateway; a record of each in `<state_dir>/processes` lets the next gateway adopt it.
The records' form is process_records.py's, how a child is started process_launch.py's, what the
child does jupyter_child.py's.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

from gateway.errors import EngineError
from gateway.spawners import jupyter_child, process_control, procfs
from gateway.spawners.base import (
    Change,
    Mode,
    Observe,
    OnPull,
    Server,
    ServerEvent,
    ServerSpec,
    ServerState,
    unobserved,
    untold,
)
from gateway.spawners.process_control import Children
from gateway.spawners.process_events import ProcessEvents
from gateway.spawners.process_launch import check_jupyter, read_all, spawn_child
from gateway.spawners.process_records import Record, Records
from routes.keys import Target

log = logging.getLogger(__name__)

_PORT_ATTEMPTS = 5
_CLAIM_DEADLINE = 20.0


def get_ephemeral_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free at this moment.

    Another process may take it before it is used: whoever uses it must notice and try again.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ProcessSpawner:
    """Implements base.Spawner with processes of this machine."""

    name = "process"

    def __init__(
        self,
        state_dir: Path,
        engine_id: str = "local",
        choose_port: Callable[[], int] = get_ephemeral_port,
        observe: Observe = unobserved,
    ) -> None:
        self.engine_id = engine_id
        self._observe = observe
        self._records = Records(state_dir / "processes")
        self._choose_port = choose_port
        self._children = Children()
        self._events = ProcessEvents(self._children.reap)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._warned = False

    @property
    def mode(self) -> Mode:
        """Servers have localhost ports."""
        return "dev"

    async def open(self) -> None:
        """There is nothing to make ready."""

    async def detect_mode(self) -> Mode:
        """Return `mode`."""
        return self.mode

    async def start(self, spec: ServerSpec, on_pull: OnPull | None = untold) -> Server:
        """Start `spec`'s server, or join the one that runs; see base.Spawner.start.

        Raises:
            EngineError: Jupyter is not installed, or no port could be had.
        """
        self._warn_once()
        check_jupyter()
        async with self._locks[spec.slug]:
            found = await self._joined(spec.slug)
            if found is not None:
                return found
            for _ in range(_PORT_ATTEMPTS):
                began = time.monotonic()
                record = await self._spawn(spec, self._choose_port())
                if record is not None:
                    self._observe("start", time.monotonic() - began)
                    await asyncio.to_thread(self._records.save, record)
                    log.info("started slug=%s pid=%d port=%d", *record[:3])
                    self._events.follow(record)
                    self._events.tell(record, Change.STARTED)
                    return self._server(record)
        raise EngineError(
            f"notebook {spec.slug!r}: each of {_PORT_ATTEMPTS} ports was taken by another process "
            f"before Jupyter had it; try again"
        )

    async def pull(self, image: str, on_pull: OnPull = untold) -> None:
        """There are no images."""

    async def fits(self, server: Server, spec: ServerSpec) -> bool:
        """A process that has ended never runs again."""
        return False

    async def inspect(self, slug: str) -> Server | None:
        """Return the facts about `slug`'s server, or None when there is no record of one."""
        record = await asyncio.to_thread(self._records.load, slug)
        return None if record is None else self._server(record)

    async def list(self) -> Sequence[Server]:
        """Return all servers that there is a record of, running or not."""
        records = await asyncio.to_thread(self._records.all)
        return [self._server(record) for record in records]

    async def stop(self, server: Server, grace: float, *, keep: bool = False) -> None:
        """SIGTERM, SIGKILL after `grace` seconds, kernels and terminals included.

        A kept one is a record: a process that has ended cannot be started again.
        """
        record = await self._record_of(server)
        if record is None:
            return
        state = self._server(record).state
        if state is ServerState.PAUSED:
            await process_control.thaw(record)
        if state is not ServerState.EXITED:
            await process_control.end(record, grace, self._children.reap)
        self._events.ended(record)
        if not keep:
            await asyncio.to_thread(self._records.remove, record)
            self._children.exits.pop(record.pid, None)
            self._events.tell(record, Change.REMOVED)
        log.info("stopped slug=%s pid=%d", record.slug, record.pid)

    async def pause(self, server: Server) -> None:
        """SIGSTOP, kernels and terminals included; see base.Spawner.pause."""
        record = await self._record_of(server)
        state = ServerState.EXITED if record is None else self._server(record).state
        if record is None or state is ServerState.EXITED:
            raise EngineError(f"notebook {server.slug!r} does not run, so it cannot be paused")
        if state is ServerState.RUNNING:
            await process_control.freeze(record)
            log.info("paused slug=%s pid=%d", record.slug, record.pid)
            self._events.tell(record, Change.PAUSED)

    async def execute(self, server: Server, command: Sequence[str], deadline: float) -> int | None:
        """Run a command beside the server, as the same user; see base.Spawner.execute."""
        record = await self._record_of(server)
        if record is None or self._server(record).state is not ServerState.RUNNING:
            return None
        return await process_control.run_beside(record, command, deadline)

    def watch(self, since: float | None) -> AbstractAsyncContextManager[AsyncIterator[ServerEvent]]:
        """Follow what happens; see base.Spawner.watch."""
        return self._events.watch(since, self._records.all)

    async def sweep(self, grace: float) -> Sequence[str]:
        """Nothing is left over: a record is that of a server that runs, or that was kept."""
        return ()

    async def logs(self, server: Server, lines: int) -> str:
        """Return the last `lines` lines of its output; "" when there is none any more."""
        return await asyncio.to_thread(self._records.log_tail, server.slug, lines)

    async def close(self) -> None:
        """Watch nothing any more; servers go on running."""
        self._events.close()
        self._children.reap()

    async def _joined(self, slug: str) -> Server | None:
        """Return the server that runs, or was paused and goes on; None where there is none."""
        record = await asyncio.to_thread(self._records.load, slug)
        found = None if record is None else self._server(record)
        if record is None or found is None or found.state is ServerState.EXITED:
            return None
        if found.state is ServerState.PAUSED:
            await process_control.thaw(record)
            log.info("goes on slug=%s pid=%d", record.slug, record.pid)
            self._events.tell(record, Change.RESUMED)
        return self._server(record)

    async def _spawn(self, spec: ServerSpec, port: int) -> Record | None:
        """Start the child; return its record once it has the port, None when that was taken.

        Raises:
            EngineError: the child died of something else.
        """
        ours, theirs = socket.socketpair()
        with ours:
            folder = self._records.prepare(spec.slug)
            pid = await asyncio.to_thread(spawn_child, spec, port, folder, theirs)
            self._children.add(pid)
            found = procfs.stat_of(pid)
            said = await read_all(ours, _CLAIM_DEADLINE)
        if said == jupyter_child.CLAIMED and found is not None:
            return Record(spec.slug, pid, port, found.ticks, spec.generation, procfs.boot_id())
        status = await self._children.status_of(pid)
        if status == jupyter_child.PORT_TAKEN:
            log.warning("port was taken by another process slug=%s port=%d", spec.slug, port)
            return None
        tail = await asyncio.to_thread(self._records.log_tail, spec.slug, 1)
        raise EngineError(f"Jupyter for notebook {spec.slug!r} did not start: {tail.strip()}")

    def _server(self, record: Record) -> Server:
        self._children.reap()
        status = self._children.exits.get(record.pid)
        facts = Server(
            id=record.id,
            slug=record.slug,
            generation=record.generation,
            state=ServerState.EXITED,
            status="exited",
            started=procfs.started(record.ticks),
            created=procfs.started(record.ticks),
            ours=True,
        )
        if record.boot != procfs.boot_id() or not procfs.runs(record.pid, record.ticks):
            return replace(facts, exit_code=status, reason=reason_of(status))
        stopped = procfs.is_stopped(record.pid)
        return replace(
            facts,
            state=ServerState.PAUSED if stopped else ServerState.RUNNING,
            status="stopped" if stopped else "running",
            target=Target("127.0.0.1", record.port),
            port=record.port,
        )

    async def _record_of(self, server: Server) -> Record | None:
        """Return the record of that very server; None when there is none any more."""
        record = await asyncio.to_thread(self._records.load, server.slug)
        return record if record is not None and record.id == server.id else None

    def _warn_once(self) -> None:
        if not self._warned:
            self._warned = True
            log.warning(
                "spawner=process: notebooks run as this user WITHOUT ANY ISOLATION and can read "
                "all of its files; use NBGATE_SPAWNER=docker for other people's notebooks"
            )


def reason_of(status: int | None) -> str:
    """Return one line on why a process ended; negative is a signal; "" for a good end."""
    if status is None:
        return "ended while no gateway looked"
    if status < 0:
        names = {number.value: number.name for number in signal.Signals}
        return f"ended by {names.get(-status, f'signal {-status}')}"
    return f"ended with status {status}" if status else ""
