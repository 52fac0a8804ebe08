"""Fixtures: a management application on a real port, in a thread of its own, and the command."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import web

from gateway.api import build_management_app
from gateway.cli import main
from tests.api.support import TOKEN, World, world_in
from tests.support.waiting import PATIENCE

T = TypeVar("T")


@dataclass
class Gateway:
    """A running management listener; `call` does something inside its event loop."""

    state_dir: Path
    world: World = field(init=False)
    address: str = field(init=False)
    loop: asyncio.AbstractEventLoop = field(init=False)
    ready: threading.Event = field(default_factory=threading.Event)
    end: asyncio.Event = field(default_factory=asyncio.Event)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=PATIENCE)

    async def serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        async with world_in(self.state_dir) as self.world:
            runner = web.AppRunner(build_management_app(self.world.services))
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            self.address = f"{host}:{port}"
            self.ready.set()
            await self.end.wait()
            await _ask_last(host, port)
            await runner.cleanup()


async def _ask_last(host: str, port: int) -> None:
    """Ask for the health, and read the answer.

    Connections are accepted in order: once this one is answered, the server knows all earlier
    ones, also those on which a command sent nothing, and closes them when it ends.
    """
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /gateway/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    await writer.wait_closed()


@pytest.fixture
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder with a token, which the command is told of; no other settings."""
    folder = tmp_path / "state"
    folder.mkdir()
    token = folder / "management.token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    monkeypatch.setenv("NBGATE_STATE_DIR", str(folder))
    for name in ("NBGATE_TOKEN", "NBGATE_CONFIG", "NBGATE_MANAGEMENT_LISTEN"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def gateway(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    running = Gateway(state_dir)
    thread = threading.Thread(target=asyncio.run, args=(running.serve(),), name="gateway")
    thread.start()
    assert running.ready.wait(timeout=PATIENCE)
    monkeypatch.setenv("NBGATE_MANAGEMENT_LISTEN", running.address)
    yield running
    running.loop.call_soon_threadsafe(running.end.set)
    thread.join(timeout=PATIENCE)
    assert not thread.is_alive()


@dataclass
class Result:
    """What a command did. `errors` and `lines` are without what ends them."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line on standard error."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("nbgate: ")
        return lines[0].removeprefix("nbgate: ")


@dataclass
class Command:
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Result:
        self.capsys.readouterr()
        code = main(arguments)
        out, err = self.capsys.readouterr()
        return Result(code, out, err)

    def ok(self, *arguments: str) -> Result:
        result = self(*arguments)
        assert result.code == 0, result
        return result


@pytest.fixture
def nbgate(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, run in this process."""
    return Command(capsys)


@pytest.fixture
def demo(gateway: Gateway, nbgate: Command, tmp_path: Path) -> Path:
    """A project called demo with one file; its folder."""
    course = tmp_path / "course"
    course.mkdir()
    (course / "first steps.ipynb").write_text("{}")
    nbgate.ok("project", "add", "demo", "--source", str(course))
    return course
