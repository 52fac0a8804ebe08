"""What is done to a server process and its kernels: frozen, let go on, ended; a command beside it.

Kernels and terminals have sessions of their own, so a signal to the server's process group does not
reach them: what is meant is the whole family, however it moved.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from gateway.errors import EngineError
from gateway.spawners import procfs
from gateway.spawners.process_records import Record

KILL_DEADLINE = 5.0
_POLL = 0.05
_OWN = "NBGATE_"


class Children:
    """The processes that this gateway started, and how they ended."""

    def __init__(self) -> None:
        self._running: set[int] = set()
        self.exits: dict[int, int] = {}

    def add(self, pid: int) -> None:
        """Take note of a new one."""
        self.exits.pop(pid, None)
        self._running.add(pid)

    def reap(self) -> None:
        """Take note of those that have ended, so that they do not stay as zombies."""
        for pid in tuple(self._running):
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                self._running.discard(pid)
                continue
            if ended:
                self._running.discard(pid)
                self.exits[pid] = os.waitstatus_to_exitcode(status)

    async def status_of(self, pid: int) -> int | None:
        """Return the exit status of a child that is about to end; it is killed if it does not."""
        async for _ in ticks(KILL_DEADLINE):
            self.reap()
            if pid in self.exits:
                return self.exits.pop(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return None


async def end(record: Record, grace: float, reap: Callable[[], None]) -> None:
    """Jupyter ends its kernels when it is asked to; what is left after `grace` s is killed.

    Raises:
        EngineError: something cannot be killed.
    """
    # Children of a kernel that has ended are nobody's family any more: remember them all.
    members = set(procfs.family(record.pid))
    with suppress(ProcessLookupError):
        os.killpg(record.pid, signal.SIGTERM)
    async for _ in ticks(grace):
        reap()
        if not procfs.runs(record.pid, record.ticks):
            break
        members.update(procfs.family(record.pid))
    procfs.kill(members, signal.SIGKILL)
    async for _ in ticks(KILL_DEADLINE):
        reap()
        if not procfs.survivors(members):
            return
    raise EngineError(f"process {record.pid} of notebook {record.slug!r} cannot be killed")


async def freeze(record: Record) -> None:
    """Stop a server and its kernels where they are, and wait until the server has stopped.

    Raises:
        EngineError: it does not stop.
    """
    stopped: set[tuple[int, int]] = set()
    while fresh := [
        member for member in procfs.family(record.pid) if (member.pid, member.ticks) not in stopped
    ]:
        procfs.kill(fresh, signal.SIGSTOP)  # the parent before its children
        stopped.update((member.pid, member.ticks) for member in fresh)
    async for _ in ticks(KILL_DEADLINE):
        if procfs.is_stopped(record.pid):
            return
    raise EngineError(f"process {record.pid} of notebook {record.slug!r} cannot be paused")


async def thaw(record: Record) -> None:
    """Let a frozen server and its kernels go on.

    Raises:
        EngineError: it does not go on.
    """
    procfs.kill(reversed(procfs.family(record.pid)), signal.SIGCONT)
    async for _ in ticks(KILL_DEADLINE):
        if not procfs.is_stopped(record.pid):
            return
    raise EngineError(f"process {record.pid} of notebook {record.slug!r} does not go on")


async def run_beside(record: Record, command: Sequence[str], deadline: float) -> int | None:
    """Run a command where a server runs: its folder, its variables; return its exit code.

    None where it cannot be run, or has not ended by `deadline` seconds: it is killed then.
    """
    try:
        variables, folder = await asyncio.to_thread(_surroundings, record.pid)
        child = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=variables,
            cwd=folder,
            start_new_session=True,
        )
    except (OSError, ValueError):
        return None
    try:
        async with asyncio.timeout(deadline):
            return await child.wait()
    except TimeoutError:
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()


async def ticks(deadline: float) -> AsyncIterator[None]:
    """Yield every 50 ms, the first time at once, until `deadline` seconds have passed."""
    loop = asyncio.get_running_loop()
    end_of_time = loop.time() + deadline
    while True:
        yield
        if loop.time() >= end_of_time:
            return
        await asyncio.sleep(_POLL)


def _surroundings(pid: int) -> tuple[dict[str, str], Path]:
    """Return the variables and the folder of a server process; not what is the gateway's."""
    text = Path(f"/proc/{pid}/environ").read_bytes()
    pairs = [os.fsdecode(item).partition("=") for item in text.split(b"\0") if item]
    kept = {name: value for name, _, value in pairs if not name.startswith(_OWN)}
    return kept, Path(f"/proc/{pid}/cwd").readlink()
