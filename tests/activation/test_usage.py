"""What a server does, as it tells itself; whatever it tells."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from aiohttp import web

from gateway.activation.usage import Usage, UsageProbe, foreground_command, usage_of
from routes.keys import Target
from tests.support.waiting import PATIENCE

EARLY = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATE = EARLY + timedelta(hours=1)


def kernel(state: str, last: str) -> dict[str, Any]:
    return {"execution_state": state, "last_activity": last}


def test_the_latest_of_all_kernels_and_terminals_counts() -> None:
    usage = usage_of(
        [kernel("idle", "2026-01-01T12:00:00.000000Z"), kernel("busy", "2026-01-01T13:00:00Z")],
        [{"name": "1", "last_activity": "2026-01-01T13:00:00+01:00"}, {"name": "2"}],
    )
    assert usage == Usage(busy=True, kernels=LATE, terminals=2, output=EARLY)


def test_a_time_without_a_zone_is_utc() -> None:
    assert usage_of([kernel("idle", "2026-01-01T12:00:00")], []).kernels == EARLY


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        17,
        "kernel",
        {},
        kernel("idle", "yesterday"),
        kernel("idle", "9" * 5000),
        kernel("idle", "0001-01-01T00:00:00+23:59"),
        {"execution_state": ["busy"], "last_activity": {"a": 1}},
    ],
)
def test_nonsense_is_no_time_and_not_busy(nonsense: object) -> None:
    usage = usage_of([nonsense], [nonsense])
    assert (usage.busy, usage.kernels, usage.output) == (False, None, None)


@asynccontextmanager
async def served(*routes: web.RouteDef) -> AsyncIterator[Target]:
    """Serve routes on loopback."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Target("127.0.0.1", runner.addresses[0][1])
    finally:
        await runner.cleanup()


@pytest.fixture
async def probe() -> AsyncIterator[UsageProbe]:
    made = UsageProbe(deadline=30.0)
    yield made
    await made.close()


def answer(body: object = None, status: int = 200, text: str | None = None) -> Any:
    async def handle(request: web.Request) -> web.StreamResponse:
        if text is not None:
            return web.Response(text=text, status=status)
        return web.json_response(body, status=status)

    return handle


async def test_it_is_asked_with_its_secret_and_without_counting_as_use(probe: UsageProbe) -> None:
    asked: list[tuple[str, str | None, str | None]] = []

    async def kernels(request: web.Request) -> web.Response:
        counts = request.query.get("no_track_activity")
        asked.append((request.path, request.headers.get("Authorization"), counts))
        return web.json_response([kernel("busy", LATE.isoformat())])

    async with served(
        web.get("/nb/a/api/kernels", kernels), web.get("/nb/a/api/terminals", answer([]))
    ) as target:
        usage = await probe.ask(target, "/nb/a/", "s3cret")
    assert usage == Usage(busy=True, kernels=LATE)
    assert asked == [("/nb/a/api/kernels", "token s3cret", "1")]


async def test_a_server_without_terminals_has_none(probe: UsageProbe) -> None:
    async with served(web.get("/api/kernels", answer([]))) as target:
        assert await probe.ask(target, "/", "s") == Usage()


@pytest.mark.parametrize(
    "kernels",
    [
        answer([], status=500),
        answer([], status=403),
        answer({"not": "a list"}),
        answer(text="<html>"),
        answer(text="[" * 100_000),
        answer(text="[" + "1," * 600_000 + "1]"),
    ],
    ids=["500", "403", "object", "html", "nested", "large"],
)
async def test_what_is_no_answer_of_jupyters_is_none(probe: UsageProbe, kernels: Any) -> None:
    async with served(
        web.get("/api/kernels", kernels), web.get("/api/terminals", answer([]))
    ) as target:
        assert await probe.ask(target, "/", "s") is None


async def test_a_server_that_hangs_is_none_within_the_deadline() -> None:
    async def hang(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    probe = UsageProbe(deadline=0.05)
    async with served(
        web.get("/api/kernels", hang), web.get("/api/terminals", answer([]))
    ) as target:
        assert await probe.ask(target, "/", "s") is None
        assert await probe.busy(f"http://127.0.0.1:{target.port}/api/kernels") is None
    assert await probe.ask(target, "/", "s") is None
    await probe.close()


async def test_a_redirect_is_not_followed(probe: UsageProbe) -> None:
    async def away(request: web.Request) -> web.Response:
        raise web.HTTPFound("/elsewhere")

    async with served(
        web.get("/api/kernels", away),
        web.get("/api/terminals", answer([])),
        web.get("/elsewhere", answer([])),
    ) as target:
        assert await probe.ask(target, "/", "s") is None
        assert await probe.busy(f"http://127.0.0.1:{target.port}/api/kernels") is False


async def test_a_check_is_busy_by_its_200_alone_and_is_told_no_secret(probe: UsageProbe) -> None:
    seen: list[str | None] = []

    async def check(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response(status=int(request.query["as"]))

    async with served(web.get("/busy", check)) as target:
        url = f"http://127.0.0.1:{target.port}/busy?as="
        answers = [await probe.busy(url + status) for status in ("200", "204", "404", "500")]
    assert answers == [True, False, False, False]
    assert seen == [None] * 4
    assert await probe.busy(url + "200") is None


@contextmanager
def terminal(*command: str) -> Iterator[tuple[int, int]]:
    """Run a shell in a pseudo-terminal; yield its process id and the terminal's descriptor."""
    pid, master = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    try:
        yield pid, master
    finally:
        os.killpg(os.getpgid(pid), signal.SIGKILL)
        os.close(master)
        os.waitpid(pid, 0)


async def in_foreground(root: int) -> bool:
    process = await asyncio.create_subprocess_exec(*foreground_command(root))
    return await process.wait() == 0


async def test_a_program_in_the_foreground_of_a_terminal_is_seen() -> None:
    # -m: each program is a job of its own, as in a shell that a person types into.
    with terminal("bash", "-mc", "read; cat; echo over; read") as (_, master):
        assert not await in_foreground(os.getpid())
        os.write(master, b"go on\n")
        async with asyncio.timeout(PATIENCE):
            while not await in_foreground(os.getpid()):
                pass
        assert await in_foreground(0)
        os.write(master, b"\x04")
        output = b""
        while b"over" not in output:
            output += await asyncio.to_thread(os.read, master, 4096)
        assert not await in_foreground(os.getpid())


async def test_another_servers_program_is_not_seen() -> None:
    with terminal("bash", "-mc", "cat; true") as (pid, _):
        async with asyncio.timeout(PATIENCE):
            while not await in_foreground(pid):
                pass
        with terminal("bash", "-mc", "read") as (other, _):
            assert not await in_foreground(other)


def test_times_of_other_zones_are_the_same_moments() -> None:
    cet = timezone(timedelta(hours=1))
    assert usage_of([kernel("idle", EARLY.astimezone(cet).isoformat())], []).kernels == EARLY
