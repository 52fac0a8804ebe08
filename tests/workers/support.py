"""A supervisor with its children, seen from outside: who they are, and who serves a connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

from aiohttp import web

from tests.support.gateway import GatewayProcess, signed_in
from tests.support.waiting import PATIENCE

DEADLINE = PATIENCE


def until(condition: Callable[[], Any], what: str) -> Any:
    """Return what `condition` returns as soon as it is true."""
    deadline = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)
    return found


async def until_async(condition: Callable[[], Any], what: str) -> Any:
    """The same while the event loop runs."""
    return await asyncio.to_thread(until, condition, what)


class Family:
    """A supervisor and its children.

    Attributes:
        port: where they serve clients.
        size: how many processes serve them.
        worker_mark, control_mark: words of the command lines of the children.
    """

    port: int
    size = 2
    worker_mark = "gateway.workers.worker"
    control_mark = "control"

    @property
    def supervisor(self) -> int:
        """Process id."""
        raise NotImplementedError

    def children(self, mark: str) -> list[int]:
        """Return the process ids of the children whose command line has `mark` as a word."""
        return [pid for pid, words in _children(self.supervisor) if mark in words]

    @property
    def workers(self) -> list[int]:
        """Process ids."""
        return self.children(self.worker_mark)

    @property
    def control(self) -> int:
        """Process id."""
        return int(until(lambda: self.children(self.control_mark), "control runs")[0])

    def worker_of(self, client_port: int) -> int:
        """Return the worker that has the other end of a connection to the public port."""

        def owner() -> int | None:  # the kernel shows a socket a moment before it has a descriptor
            inode = accepted(self.port, client_port)
            found = (pid for pid in self.workers if inode in sockets_of(pid))
            return next(found, None) if inode else None

        pid: int = until(owner, "a worker has the connection")
        return pid


class Fleet(GatewayProcess, Family):
    """`nbgate serve --workers 2`."""

    def __init__(self, state: Path, **settings: str) -> None:
        # What a test has opened is not closed before it is asked, however long a start takes.
        patient = {"head_timeout": str(PATIENCE), "keepalive_timeout": str(PATIENCE)}
        super().__init__(state, **{"workers": "2", **patient, **settings})

    @property
    def supervisor(self) -> int:
        """Process id."""
        assert self.process is not None
        return self.process.pid

    def all_serve(self) -> Self:
        """Wait until two workers serve."""
        until(lambda: len(self.connected()) == 2, "two workers are connected to control")
        return self

    def connected(self) -> set[int]:
        """Return the workers that control has said follow it, and not that they are gone."""
        pids: set[int] = set()
        for line in self.log.read_text().rpartition("\n")[0].splitlines():  # whole ones
            words = line.partition(" worker ")[2].split(" pid=")
            if words[0] == "follows":
                pids.add(int(words[1]))
            elif words[0] == "gone":
                pids.discard(int(words[1]))
        return pids & set(self.workers)

    def caught_up(self) -> bool:
        """Whether two workers follow a control that came after the first one."""
        said = self.log.read_text().rpartition("control ended, starting it again")[2]
        return said.count("gateway.workers.link worker follows") >= 2

    def notebooks(self) -> list[dict[str, Any]]:
        """Return the records of all notebooks."""
        records: list[dict[str, Any]] = json.loads(self.nbgate("notebook", "list", "--json"))
        return records

    def metrics(self) -> dict[str, float]:
        """Return the metrics by name and labels."""
        with urlopen(f"{self.management_url}/gateway/metrics") as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}


class Single(Fleet):
    """`nbgate serve` in one process: its own only worker."""

    size = 1

    def __init__(self, state: Path, **settings: str) -> None:
        super().__init__(state, **{"workers": "1", **settings})

    @property
    def workers(self) -> list[int]:
        """Process ids."""
        return [self.supervisor]

    def all_serve(self) -> Self:
        """Return at once: it serves since it was started."""
        return self


def kill(pid: int) -> None:
    """End a process with SIGKILL."""
    os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Whether a process runs, or a thread of it that may still hold its sockets; zombies do not."""
    process = Path(f"/proc/{pid}")
    try:
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" or len(list((process / "task").iterdir())) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextlib.contextmanager
def serving(fleet: Fleet) -> Iterator[Fleet]:
    """Run it; at the end stop its notebooks and itself."""
    try:
        yield fleet.start().all_serve()
    finally:
        fleet.stop_all()


def fleet_running(state: Path, **settings: str) -> contextlib.AbstractContextManager[Fleet]:
    """Run a fleet; at the end stop its notebooks and itself."""
    return serving(Fleet(state, **settings))


class Connection:
    """A client's connection to the public port, which stays with one worker.

    Attributes:
        worker: process id.
        certificate: that it was shown, in DER form; None without TLS.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, worker: int, host: str
    ) -> None:
        self.worker = worker
        secure = writer.get_extra_info("ssl_object")
        self.certificate: bytes | None = secure and secure.getpeercert(binary_form=True)
        self._reader, self._writer, self._host = reader, writer, host

    @classmethod
    async def open(cls, fleet: Family, tls: ssl.SSLContext | None = None) -> Self:
        """Connect, in plain if there is no `tls`."""
        reader, writer = await asyncio.open_connection("127.0.0.1", fleet.port, ssl=tls)
        port = writer.get_extra_info("sockname")[1]
        worker = await asyncio.to_thread(fleet.worker_of, port)
        return cls(reader, writer, worker, f"127.0.0.1:{fleet.port}")

    async def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Send a GET; return status, headers (names in lower case) and body."""
        return await self.ask("GET", path, **headers)

    async def ask(
        self, method: str, path: str, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request without a body; return as `get`."""
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        head = "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {self._host}", *lines, "", ""])
        self._writer.write(head.encode())
        async with asyncio.timeout(DEADLINE):
            status, *rest = (await self._reader.readuntil(b"\r\n\r\n")).decode().splitlines()[:-1]
            found = {name.lower(): value for name, value in (line.split(": ", 1) for line in rest)}
            body = await self._reader.readexactly(int(found.get("content-length", 0)))
        return int(status.split()[1]), found, body

    def close(self) -> None:
        """Close."""
        self._writer.close()


@contextlib.asynccontextmanager
async def one_at_each(
    fleet: Family, tls: ssl.SSLContext | None = None
) -> AsyncIterator[list[Connection]]:
    """Yield a connection to each worker, in the order of `fleet.workers`."""
    found: dict[int, Connection] = {}
    opened: list[Connection] = []
    try:
        async with asyncio.timeout(DEADLINE):
            while len(found) < fleet.size:
                # Many at once: whoever is awake takes the next.
                more = await asyncio.gather(*(Connection.open(fleet, tls) for _ in range(8)))
                opened += more
                found |= {connection.worker: connection for connection in more}
        yield list(found.values())
    finally:
        for connection in opened:
            connection.close()


@contextlib.asynccontextmanager
async def hot_route(fleet: Fleet) -> AsyncIterator[str]:
    """Set a route to a server of the test's own; yield its path."""
    async with upstream() as target:
        await asyncio.to_thread(fleet.nbgate, "route", "set", "/hot", target)
        yield "/hot"


@contextlib.asynccontextmanager
async def upstream() -> AsyncIterator[str]:
    """Run a server with an answer at every path, and an echoing WebSocket; yield host:port."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade") != "websocket":
            return web.Response(text="hot")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def cookie_for(fleet: Fleet, person: str) -> str:
    """Sign a person in; return the Cookie header."""
    link = await asyncio.to_thread(
        fleet.nbgate, "notebook", "url", "--project", "demo", "--person", person
    )
    async with signed_in(link) as client:
        return "; ".join(f"{cookie.key}={cookie.value}" for cookie in client.cookie_jar)


def _children(parent: int) -> Iterator[tuple[int, list[str]]]:
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            pid = int(folder.name)
            state, ppid = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(ppid) == parent and state != "Z":
                yield pid, (folder / "cmdline").read_text().split("\0")


def sockets_of(pid: int) -> set[str]:
    """Return the inodes of a process's sockets."""
    found = set()
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    return found


def accepted(port: int, client_port: int) -> str:
    """Return the inode of the gateway's end of a connection; "" while nobody has accepted it."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ports = tuple(int(address.rpartition(":")[2], 16) for address in fields[1:3])
        if ports == (port, client_port) and fields[9] != "0":
            return fields[9]
    return ""
