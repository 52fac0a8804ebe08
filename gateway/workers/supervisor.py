"""The process that is started with `--workers N`: it owns the children, and the port.

It holds the listening sockets, starts one control and N workers, starts again whichever ends, and
passes a stop on. It serves nothing and decides nothing about notebooks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.loop import heed_signals
from gateway.workers.board import Board

logger = logging.getLogger(__name__)

_FIRST_BACK_OFF = 0.1
_LONGEST_BACK_OFF = 5.0
_LIVED_SECONDS = 10.0
_WORKER_STOP_SECONDS = 20.0
_CONTROL_STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class ControlSeat:
    """What a control needs to know of its start.

    Attributes:
        lifeline: descriptor of its lifeline.
        again: whether a control before it got so far that it served.
        before: process ids of the workers that were started before it, and may serve.
    """

    lifeline: int
    again: bool
    before: list[int]


@dataclass(frozen=True, slots=True)
class WorkerSeat:
    """What a worker needs to know of its start.

    Attributes:
        lifeline: descriptor of its lifeline.
        listeners: descriptors of the listening sockets.
        board: descriptor of the board.
        slot: its place on it.
    """

    lifeline: int
    listeners: tuple[int, ...]
    board: int
    slot: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start.

    Attributes:
        workers: how many data workers.
        control_command: control's command.
        worker_command: a worker's.
        control_environment: control's environment.
        worker_environment: a worker's.
        control_descriptors: what control inherits besides its lifeline, each time it is started.
    """

    workers: int
    control_command: Callable[[ControlSeat], list[str]]
    worker_command: Callable[[WorkerSeat], list[str]]
    control_environment: Mapping[str, str]
    worker_environment: Mapping[str, str]
    control_descriptors: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Child:
    process: Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Supervisor:
    """See the module's docstring.

    Args:
        plan: what to start.
        listeners: the listening sockets; they are closed when the stop begins.
    """

    def __init__(self, plan: Plan, listeners: Sequence[socket.socket]) -> None:
        self._plan = plan
        self._listeners = tuple(listeners)
        self._board = Board.create(plan.workers)
        self._starting = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._workers: dict[int, Process] = {}
        self._control: _Child | None = None
        self._told: list[int] = []
        self._was_ready = False
        self._code = 0

    async def run(self, heed: Callable[[Callable[[], None]], None] = heed_signals) -> int:
        """Run until told to stop, or until control cannot start; return the exit code.

        Args:
            heed: has what it is given called when the process is told to stop.
        """
        heed(self._stopping.set)
        control = asyncio.create_task(self._keep_control(), name="keep control")
        workers = [
            asyncio.create_task(self._keep_worker(number), name=f"keep worker {number}")
            for number in range(self._plan.workers)
        ]
        await self._stopping.wait()
        for listener in self._listeners:
            listener.close()
        if self._control is not None:
            self._control.writer.write(b"stopping\n")
        await self._stop(list(self._workers.values()), workers, _WORKER_STOP_SECONDS)
        ending = [self._control.process] if self._control else []
        await self._stop(ending, [control], _CONTROL_STOP_SECONDS)
        return self._code

    async def _stop(
        self, processes: list[Process], tasks: list[asyncio.Task[None]], seconds: float
    ) -> None:
        """End children with SIGTERM, with SIGKILL those that stay, and wait for their tasks."""
        for process in processes:
            _signal(process, signal.SIGTERM)
        _, staying = await asyncio.wait(tasks, timeout=seconds)
        for process in processes if staying else ():
            _signal(process, signal.SIGKILL)
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                logger.error("a child could not be kept", exc_info=result)

    async def _keep_control(self) -> None:
        async for _ in self._rounds("control"):
            async with self._started(
                self._control_command,
                self._plan.control_environment,
                *self._plan.control_descriptors,
            ) as child:
                self._control = child
                for pid in set(self._told).difference(self._workers):  # while it was started
                    self._tell_ended(child, pid)
                heeding = asyncio.create_task(self._heed(child), name="heed control")
                code = await child.process.wait()
                heeding.cancel()
                await asyncio.gather(heeding, return_exceptions=True)
            self._control = None
            if not self._was_ready and code >= 0:
                self._code = code  # it said why itself
                self._stopping.set()

    async def _keep_worker(self, slot: int) -> None:
        listeners = tuple(listener.fileno() for listener in self._listeners)
        board = self._board.descriptor
        async for _ in self._rounds("worker"):
            async with self._started(
                lambda end: self._plan.worker_command(WorkerSeat(end, listeners, board, slot)),
                self._plan.worker_environment,
                *listeners,
                board,
                worker=True,
            ) as child:
                if self._stopping.is_set():  # since this start began
                    _signal(child.process, signal.SIGTERM)
                await child.process.wait()
                self._worker_ended(child.process.pid, slot)

    def _control_command(self, lifeline: int) -> list[str]:
        self._told = sorted(self._workers)
        return self._plan.control_command(ControlSeat(lifeline, self._was_ready, self._told))

    def _worker_ended(self, pid: int, slot: int) -> None:
        del self._workers[pid]
        self._board.leave(slot)
        if self._control is not None:
            self._tell_ended(self._control, pid)

    def _tell_ended(self, control: _Child, pid: int) -> None:
        control.writer.write(b"ended %d\n" % pid)

    async def _rounds(self, name: str) -> AsyncIterator[None]:
        """Yield for each start of a child, after a growing pause if it does not live long."""
        loop = asyncio.get_running_loop()
        back_off = _FIRST_BACK_OFF
        while not self._stopping.is_set():
            began = loop.time()
            yield
            if self._stopping.is_set():
                return
            if loop.time() - began > _LIVED_SECONDS:
                back_off = _FIRST_BACK_OFF
            logger.warning("%s ended, starting it again in=%.1fs", name, back_off)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(back_off):
                    await self._stopping.wait()
            back_off = min(_LONGEST_BACK_OFF, back_off * 2)

    @contextlib.asynccontextmanager
    async def _started(
        self,
        command: Callable[[int], list[str]],
        environment: Mapping[str, str],
        *descriptors: int,
        worker: bool = False,
    ) -> AsyncIterator[_Child]:
        """Start a child with a lifeline, in a process group of its own.

        A Ctrl-C at the terminal reaches the supervisor alone, which stops its children in order.
        One after the other, so that control is told of every worker that was started before it.
        """
        ours, theirs = socket.socketpair()
        async with self._starting:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *command(theirs.fileno()),
                    env=environment,
                    pass_fds=(theirs.fileno(), *descriptors),
                    process_group=0,
                )
            if worker:
                self._workers[process.pid] = process
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        try:
            yield _Child(process, reader, writer)
        finally:
            writer.close()

    async def _heed(self, control: _Child) -> None:
        """Do what control says, until it ends."""
        with contextlib.suppress(OSError):
            while line := await control.reader.readline():
                word, *rest = line.decode("ascii").split()
                if word == "ready":
                    self._was_ready = True
                elif word == "keep":
                    await self._end_workers_but({int(pid) for pid in rest})
                    control.writer.write(b"kept\n")

    async def _end_workers_but(self, kept: set[int]) -> None:
        ending = [process for pid, process in self._workers.items() if pid not in kept]
        for process in ending:
            logger.warning("ending a worker that does not follow pid=%d", process.pid)
            _signal(process, signal.SIGKILL)
        await asyncio.gather(*(process.wait() for process in ending))


def _signal(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
