"""A real image registry on loopback, with a front that can falter as networks do.

The registry is Debian's `docker-registry`. The engine knows the front's address only.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.support.engine import EngineHandle
from tests.support.places import free_port
from tests.support.waiting import PATIENCE

_LARGE = 1 << 20
_PIECE = 1 << 16
_PROGRAM = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n"


@dataclass(slots=True)
class Registry:
    """A registry that answers.

    Attributes:
        address: `host:port`, the first part of its images' names.
        stalls: whether large layers stop in the middle, until `goes_on` is set.
        layers: how many large layers were asked for.
    """

    address: str
    stalls: bool = False
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    layers: int = 0

    def has(self, engine: EngineHandle, name: str, size: int, folder: Path) -> str:
        """Push an image that does nothing, and remove it from the engine; return its name.

        Args:
            engine: pushes.
            name: below the registry's address.
            size: bytes of its one layer, at least.
            folder: for the program in it.
        """
        tag = f"{self.address}/{name}"
        with contextlib.closing(engine.client()) as client:
            client.api.import_image_from_data(
                layer(size, folder),
                repository=tag,
                tag="1",
                changes=['ENTRYPOINT ["/stay"]', "LABEL org.nbgate.image=1"],
            )
            said = client.api.push(tag, tag="1")
            assert '"error"' not in said, said
            client.images.remove(f"{tag}:1", force=True)
        return f"{tag}:1"


def layer(size: int, folder: Path) -> bytes:
    """Return a tar with a program that stays, and bytes that cannot be compressed."""
    source, program = folder / "stay.c", folder / "stay"
    source.write_text(_PROGRAM)
    subprocess.run(["gcc", "-static", "-O1", "-o", program, source], check=True)
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        tar.add(program, "stay")
        filler = tarfile.TarInfo("filler")
        filler.size = size
        tar.addfile(filler, io.BytesIO(os.urandom(size)))
    return output.getvalue()


@contextlib.asynccontextmanager
async def registry(folder: Path) -> AsyncIterator[Registry]:
    """Run a registry with its data in `folder`."""
    with listening_registry(folder) as real:
        async with aiohttp.ClientSession(auto_decompress=False) as client:
            await until_up(client, real)
            runner = web.AppRunner(web.Application(client_max_size=1 << 30))
            made = Registry("")
            runner.app.router.add_route("*", "/{tail:.*}", Front(made, client, real).handle)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            made.address = f"127.0.0.1:{runner.addresses[0][1]}"
            try:
                yield made
            finally:
                made.goes_on.set()
                await runner.cleanup()


@contextlib.contextmanager
def listening_registry(folder: Path, *prefix: str) -> Iterator[str]:
    """Run the registry's own process, by a command after `prefix`; give its base URL."""
    command = shutil.which("docker-registry")
    assert command is not None, "pulling images needs docker-registry (package docker-registry)"
    port = free_port()
    config = folder / "registry.yml"
    config.write_text(
        "version: 0.1\n"
        "log: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'registry'}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}', relativeurls: true}}\n"
    )
    with (folder / "registry.log").open("w") as output:
        process = subprocess.Popen(
            [*prefix, command, "serve", config], stdout=output, stderr=output
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


async def until_up(client: aiohttp.ClientSession, base: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with client.get(f"{base}/v2/") as answer:
                    assert answer.status == 200
                    return
            await asyncio.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Front:
    """What stands between the engine and the registry."""

    registry: Registry
    client: aiohttp.ClientSession
    base: str

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Pass a request on, and its answer back; a large layer perhaps not in one go."""
        async with self.client.request(
            request.method,
            self.base + request.raw_path,
            data=request.content if request.body_exists else None,
            headers={
                name: text
                for name, text in request.headers.items()
                if name not in ("Host", "Transfer-Encoding")
            },
            allow_redirects=False,
        ) as answer:
            kept = {
                name: text
                for name, text in answer.headers.items()
                if name not in ("Transfer-Encoding", "Date", "Connection")
            }
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            large = request.method == "GET" and int(kept.get("Content-Length", 0)) > _LARGE
            self.registry.layers += large
            sent = 0
            async for piece in answer.content.iter_chunked(_PIECE):
                await response.write(piece)
                sent += len(piece)
                if large and self.registry.stalls and sent > _LARGE:
                    await self.registry.goes_on.wait()
            await response.write_eof()
            return response
