"""The process spawner: Jupyter as a child process on localhost, for development.

There is no isolation: notebooks run as the gateway's own user and see all its files. Servers
outlive the gateway; a record of each in `<state_dir>/processes` lets the next gateway adopt it.
The records' form is process_records.py's, how a child is started process_launch.py's, what the
child does jupyter_child.py's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from gateway.errors import EngineError
from gateway.spawners import jupyter_child, procfs
from gateway.spawners.base import Mode, Observe, Server, ServerSpec, ServerState, unobserved
from gateway.spawners.process_launch import check_jupyter, read_pipe, spawn_child
from gateway.spawners.process_records import Record, Records
from routes.keys import Target

log = logging.getLogger(__name__)

_PORT_ATTEMPTS = 5
_CLAIM_DEADLINE = 20.0
_KILL_DEADLINE = 5.0
_POLL = 0.05


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
        self._children: set[int] = set()
        self._exits: dict[int, int] = {}
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

    async def start(self, spec: ServerSpec) -> Server:
        """Start `spec`'s server, or join the one that runs; see base.Spawner.start.

        Raises:
            EngineError: Jupyter is not installed, or no port could be had.
        """
        self._warn_once()
        check_jupyter()
        async with self._locks[spec.slug]:
            found = await self.inspect(spec.slug)
            if found is not None and found.state is ServerState.RUNNING:
                return found
            for _ in range(_PORT_ATTEMPTS):
                began = time.monotonic()
                record = await self._spawn(spec, self._choose_port())
                if record is not None:
                    self._observe("start", time.monotonic() - began)
                    await asyncio.to_thread(self._records.save, record)
                    log.info("started slug=%s pid=%d port=%d", *record[:3])
                    return self._server(record)
        raise EngineError(
            f"notebook {spec.slug!r}: each of {_PORT_ATTEMPTS} ports was taken by another process "
            f"before Jupyter had it; try again"
        )

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

    async def stop(self, server: Server, grace: float) -> None:
        """SIGTERM, SIGKILL after `grace` seconds, kernels and terminals included."""
        record = await asyncio.to_thread(self._records.load, server.slug)
        if record is None or record.id != server.id:
            return
        if self._server(record).state is ServerState.RUNNING:
            await self._end(record, grace)
        await asyncio.to_thread(self._records.remove, record)
        self._exits.pop(record.pid, None)
        log.info("stopped slug=%s pid=%d", record.slug, record.pid)

    async def logs(self, server: Server, lines: int) -> str:
        """Return the last `lines` lines of its output; "" when there is none any more."""
        return await asyncio.to_thread(self._records.log_tail, server.slug, lines)

    async def close(self) -> None:
        """Nothing to let go of; servers go on running."""
        self._reap()

    async def _spawn(self, spec: ServerSpec, port: int) -> Record | None:
        """Start the child; return its record once it has the port, None when that was taken.

        Raises:
            EngineError: the child died of something else.
        """
        reader, writer = os.pipe()
        try:
            pid = await asyncio.to_thread(
                spawn_child, spec, port, self._records.prepare(spec.slug), writer
            )
        finally:
            os.close(writer)
        self._children.add(pid)
        found = procfs.stat_of(pid)
        said = await read_pipe(reader, _CLAIM_DEADLINE)
        if said == jupyter_child.CLAIMED and found is not None:
            return Record(spec.slug, pid, port, found.ticks, spec.generation, procfs.boot_id())
        status = await self._status_of(pid)
        if status == jupyter_child.PORT_TAKEN:
            log.warning("port was taken by another process slug=%s port=%d", spec.slug, port)
            return None
        tail = await asyncio.to_thread(self._records.log_tail, spec.slug, 1)
        raise EngineError(f"Jupyter for notebook {spec.slug!r} did not start: {tail.strip()}")

    async def _status_of(self, pid: int) -> int | None:
        """Return the exit status of a child that is about to end; it is killed if it does not."""
        async for _ in ticks(_KILL_DEADLINE):
            self._reap()
            if pid in self._exits:
                return self._exits.pop(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return None

    async def _end(self, record: Record, grace: float) -> None:
        """Jupyter ends its kernels when it is asked to; what is left then is killed."""
        # Children of a kernel that has ended are nobody's family any more: remember them all.
        members = set(procfs.family(record.pid))
        with suppress(ProcessLookupError):
            os.killpg(record.pid, signal.SIGTERM)
        async for _ in ticks(grace):
            self._reap()
            if not procfs.runs(record.pid, record.ticks):
                break
            members.update(procfs.family(record.pid))
        procfs.kill(members, signal.SIGKILL)
        async for _ in ticks(_KILL_DEADLINE):
            self._reap()
            if not procfs.survivors(members):
                return
        raise EngineError(f"process {record.pid} of notebook {record.slug!r} cannot be killed")

    def _server(self, record: Record) -> Server:
        self._reap()
        if record.boot == procfs.boot_id() and procfs.runs(record.pid, record.ticks):
            return Server(
                id=record.id,
                slug=record.slug,
                generation=record.generation,
                state=ServerState.RUNNING,
                target=Target("127.0.0.1", record.port),
                port=record.port,
            )
        status = self._exits.get(record.pid)
        return Server(
            id=record.id,
            slug=record.slug,
            generation=record.generation,
            state=ServerState.EXITED,
            exit_code=status,
            reason=reason_of(status),
        )

    def _reap(self) -> None:
        """Take note of children that have ended, so that they do not stay as zombies."""
        for pid in tuple(self._children):
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                self._children.discard(pid)
                continue
            if ended:
                self._children.discard(pid)
                self._exits[pid] = os.waitstatus_to_exitcode(status)

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


async def ticks(deadline: float) -> AsyncIterator[None]:
    """Yield every 50 ms, the first time at once, until `deadline` seconds have passed."""
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline
    while True:
        yield
        if loop.time() >= end:
            return
        await asyncio.sleep(_POLL)
