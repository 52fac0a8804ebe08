"""A real gateway process for tests: started, asked by its own command line, killed, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

from tests.support.places import free_port
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
# Requests are held until a start has ended, so that its failure is told, not that it takes long.
PATIENT = {
    "NBGATE_START_TIMEOUT": str(PATIENCE),
    "NBGATE_HOLD_TIMEOUT": str(PATIENCE * 1.5),
}


class GatewayProcess:
    """`nbgate serve` with a state folder and ports of its own.

    Args:
        state: the state folder.
        settings: more settings, by their names without the prefix, e.g. spawner="docker".
    """

    python = sys.executable
    """The interpreter that runs it: of the environment where it is installed."""

    program = "gateway"
    """The module that it runs."""

    def __init__(self, state: Path, **settings: str) -> None:
        self.state = state
        settings = {
            "listen": f"127.0.0.1:{free_port()}",
            "management_listen": f"127.0.0.1:{free_port()}",
        } | settings
        self.port = _port_of(settings["listen"])
        self.management_port = _port_of(settings["management_listen"])
        clean = {name: text for name, text in os.environ.items() if not name.startswith("NBGATE_")}
        self.environment = clean | {
            **PATIENT,
            "NBGATE_STATE_DIR": str(state),
            **{f"NBGATE_{name.upper()}": value for name, value in settings.items()},
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.log = state.parent / f"{state.name}.log"
        self._began = 0  # where the log of the present run begins

    @property
    def url(self) -> str:
        """The public origin."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def origin(self) -> str:
        """The origin that it gives itself in links: a name's, where it has one."""
        return self.environment.get("NBGATE_PUBLIC_URL") or self.url

    @property
    def management_url(self) -> str:
        """The management listener's origin."""
        return f"http://127.0.0.1:{self.management_port}"

    def start(self) -> Self:
        """Start it and wait until people and its command line are served."""
        self.spawn()
        deadline = time.monotonic() + PATIENCE
        while not self._listening():
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the gateway did not come up:\n{self.log.read_text()}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)
        return self

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start it and do not wait."""
        with self.log.open("ab") as log:
            self._began = log.tell()
            self.process = subprocess.Popen(
                [self.python, "-m", self.program, "serve"],
                env=self.environment,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self.process

    def said(self) -> str:
        """Return what it has logged since it was started last."""
        return self.log.read_bytes()[self._began :].decode()

    def kill(self) -> None:
        """End it with SIGKILL: no clean-up of any kind."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it with SIGTERM."""
        self._end(signal.SIGTERM)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one `nbgate` command against it."""
        return subprocess.run(
            [self.python, "-m", "gateway", *words],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE * 2,
            check=False,
        )

    def nbgate(self, *words: str) -> str:
        """Run one command that must succeed; return what it prints."""
        result = self.run(*words)
        assert result.returncode == 0, f"nbgate {' '.join(words)}: {result.stderr}"
        return result.stdout.strip()

    def show(self, slug: str) -> dict[str, Any]:
        """Return a notebook's record."""
        record: dict[str, Any] = json.loads(self.nbgate("notebook", "show", slug, "--json"))
        return record

    def api(self) -> aiohttp.ClientSession:
        """Return a client of the management API."""
        token = (self.state / "management.token").read_text().strip()
        return aiohttp.ClientSession(
            self.management_url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=aiohttp.ClientTimeout(total=PATIENCE * 2),
        )

    def stop_all(self) -> None:
        """Stop every notebook that it knows, then itself."""
        if self.process is not None and self.process.poll() is None:
            self.run("notebook", "stop", "--all")
            self.stop()

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(PATIENCE)

    def _listening(self) -> bool:
        return all(_answers(port) for port in (self.management_port, self.port))


def _port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def running(state: Path, **settings: str) -> Iterator[GatewayProcess]:
    """Run a gateway; at the end stop its notebooks and itself."""
    gateway = GatewayProcess(state, **settings)
    try:
        yield gateway.start()
    finally:
        gateway.stop_all()


@contextlib.contextmanager
def running_by(routing: str, state: Path, **settings: str) -> Iterator[GatewayProcess]:
    """Run a gateway under "path" or "host" routing; its name is nb.localhost under the latter."""
    port = free_port()
    settings["listen"] = f"127.0.0.1:{port}"
    if routing == "host":
        settings |= {
            "public_url": f"http://nb.localhost:{port}",
            "routing": "host",
            "base_domain": "nb.localhost",
        }
    with running(state, **settings) as gateway:
        yield gateway


@contextlib.asynccontextmanager
async def signed_in(link: str, origin: str = "") -> AsyncIterator[aiohttp.ClientSession]:
    """Follow a login link; yield a client that carries the session and is no browser page.

    Args:
        link: what `nbgate notebook url` prints.
        origin: where to send the request instead of the link's own origin; "" for there.
    """
    jar = aiohttp.CookieJar(unsafe=True)
    url = origin + link.removeprefix(origin_of(link)) if origin else link
    async with aiohttp.ClientSession(cookie_jar=jar) as client:
        async with client.get(url, allow_redirects=False) as answer:
            assert answer.status == 303, await answer.text()
        yield client


def origin_of(url: str) -> str:
    """Return `scheme://host:port` of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


async def ask_at_once(client: aiohttp.ClientSession, base: str) -> list[int]:
    """Send 20 requests and 5 WebSocket handshakes at once; return their statuses, in order."""

    async def call() -> int:
        async with client.get(f"{base}api/status") as answer:
            return answer.status

    async def handshake() -> int:
        async with client.ws_connect(f"{base}api/events/subscribe") as socket:
            assert not socket.closed
            return 101

    return await asyncio.gather(*(call() for _ in range(20)), *(handshake() for _ in range(5)))


async def execute(
    client: aiohttp.ClientSession, base: str, code: str, kernel: str | None = None
) -> str:
    """Run `code` in a kernel through its WebSocket; return the text of its result.

    Args:
        client: carries the session.
        base: URL of the notebook server, ending with `/`.
        code: Python, whose last expression is the result.
        kernel: the id of one that runs; None for a new one.
    """
    async with asyncio.timeout(PATIENCE * 2):
        kernel = kernel or await _new_kernel(client, base)
        async with client.ws_connect(f"{base}api/kernels/{kernel}/channels") as channels:
            await channels.send_json(_execute_request(code))
            async for frame in channels:
                message = frame.json()
                if message["msg_type"] == "execute_result":
                    text: str = message["content"]["data"]["text/plain"]
                    return text
                assert message["msg_type"] != "error", message["content"]
    raise AssertionError("the kernel's socket ended without a result")


async def begin(client: aiohttp.ClientSession, base: str, code: str) -> str:
    """Run `code` in a new kernel and leave it to itself once it runs; return the kernel's id."""
    async with asyncio.timeout(PATIENCE * 2):
        kernel = await _new_kernel(client, base)
        async with client.ws_connect(f"{base}api/kernels/{kernel}/channels") as channels:
            await channels.send_json(_execute_request(code))
            async for frame in channels:
                if frame.json()["msg_type"] == "execute_input":
                    return kernel
    raise AssertionError("the kernel's socket ended before it began")


async def _new_kernel(client: aiohttp.ClientSession, base: str) -> str:
    async with client.post(f"{base}api/kernels", json={}) as answer:
        assert answer.status == 201, await answer.text()
        kernel: str = (await answer.json())["id"]
        return kernel


def _execute_request(code: str) -> dict[str, Any]:
    return {
        "channel": "shell",
        "header": {
            "msg_id": "m1",
            "username": "test",
            "session": "s1",
            "msg_type": "execute_request",
            "version": "5.3",
        },
        "parent_header": {},
        "metadata": {},
        "content": {"code": code, "silent": False, "store_history": False, "allow_stdin": False},
        "buffers": [],
    }
