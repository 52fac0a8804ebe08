"""The real Apache front with the project's own httpd.conf, and what tests put around it."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import subprocess
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.apache import stop
from tests.support.places import free_port
from tests.support.waiting import PATIENCE

HTTPD = Path(__file__).resolve().parents[2] / "httpd"


class RouteFiles:
    """The maps that the gateway publishes, here written by httpd's own tool, `httxt2dbm`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write({}, {})

    def write(
        self,
        routes: Mapping[str, str],
        secrets: Mapping[str, str] | None = None,
        edges: Mapping[str, str] | None = None,
        owners: Mapping[str, str] | None = None,
    ) -> None:
        """Replace all maps."""
        self._replace("edges.gdbm", edges or {}, 0o640)
        self._replace("owners.gdbm", owners or {}, 0o640)
        self._replace("secrets.gdbm", secrets or {}, 0o640)
        self._replace("routes.gdbm", routes, 0o644)

    def _replace(self, name: str, entries: Mapping[str, str], mode: int) -> None:
        text, fresh = self.folder / f"{name}.txt", self.folder / f"{name}.new"
        text.write_text("".join(f"{key} {value}\n" for key, value in entries.items()))
        fresh.unlink(missing_ok=True)
        command = ["httxt2dbm", "-f", "GDBM", "-i", str(text), "-o", str(fresh)]
        subprocess.run(command, check=True, capture_output=True)
        text.unlink()
        fresh.chmod(mode)
        fresh.replace(self.folder / name)


@dataclass(frozen=True)
class Answer:
    """A response, its body without transfer coding."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Return the values of every header of that name."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass(frozen=True)
class Front:
    """A running httpd."""

    port: int
    process: asyncio.subprocess.Process
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def ask(
        self,
        target: str,
        *,
        method: str = "GET",
        host: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Send one request with `target` byte for byte, and return its answer."""
        fields = {"Host": host or f"127.0.0.1:{self.port}", "Connection": "close"}
        if body:
            fields["Content-Length"] = str(len(body))
        fields |= headers or {}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return await self.send(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + body)

    async def send(self, request: bytes) -> Answer:
        """Send the bytes of one request that closes its connection; return its answer."""
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                writer.write(request)
                await writer.drain()
                return _parse(await reader.read())
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()


def _parse(response: bytes) -> Answer:
    head, _, body = response.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    if any(name.lower() == "transfer-encoding" for name, _ in headers):
        body = _dechunked(body)
    return Answer(int(first.split()[1]), headers, body)


def _dechunked(body: bytes) -> bytes:
    parts = []
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        parts.append(body[:length])
        body = body[length + 2 :] if length else b""
    return b"".join(parts)


@contextlib.asynccontextmanager
async def running_front(
    folder: Path, routes: Path, gateway: str, port: int = 0, /, **environment: str
) -> AsyncIterator[Front]:
    """Run `httpd/serve` and yield it once it answers.

    Args:
        folder: of httpd's own files; see apache.folder_for_httpd.
        routes: the folder with the maps.
        gateway: host:port.
        port: where it listens; 0 for any free port.
        environment: more variables, see httpd.conf.
    """
    port = port or free_port()
    log = folder / "front.log"
    variables = {
        "NBGATE_HTTPD_LISTEN": f"127.0.0.1:{port}",
        "NBGATE_HTTPD_RUN": str(folder / "run"),
        # As in the image: httpd's group, and nobody else, may read the map of secrets.
        "NBGATE_HTTPD_GROUP": grp.getgrgid(os.getgid()).gr_name,
        "NBGATE_ROUTES": str(routes),
        "NBGATE_GATEWAY": gateway,
    }
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("NBGATE_")}
    # httpd opens its logs by the names of its standard streams: append, or one truncates the other.
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            HTTPD / "serve",
            env=inherited | variables | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    front = Front(port, process, log)
    try:
        await _until_answering(front)
        yield front
    finally:
        await stop(process)


async def _until_answering(front: Front) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            if front.process.returncode is not None:
                raise RuntimeError(f"httpd ended:\n{front.log.read_text()}")
            with contextlib.suppress(OSError):
                answer = await front.ask("/.nbgate-httpd")
                assert answer.status == 204
                return
            await asyncio.sleep(0.05)
