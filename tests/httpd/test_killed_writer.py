"""A writer that is killed leaves the old file or the new one, and httpd goes on answering."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from routes.apachedb import ApacheDB, check, read
from tests.httpd.conftest import Front
from tests.httpd.upstreams import Client, upstreams
from tests.httpd.writer import HOST, STEPS, VERSION, Job
from tests.support.waiting import PATIENCE

_SEED = 20240608
_KILLS = 200
_LARGE_EVERY = 20
_LARGE = 1200
_SMALL_SECONDS, _LARGE_SECONDS = 0.012, 0.35


class Writers:
    """Starts one writer after the other, and knows what each has told."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, job: Job, seconds: float | None = None) -> tuple[int, int]:
        """Start a writer and kill it; None `seconds` for one that kills itself.

        Returns:
            The last version that it had published, and the last one that it had begun.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(job.line().encode())
        await self._process.stdin.drain()
        pid, _ = await self._next("process"), await self._next("opened")
        ended, begun = job.first - 1, await self._next("begin")
        if seconds is not None:
            # The moment is the point of the test: it is to be anywhere in a publish.
            await asyncio.sleep(seconds)
            os.kill(pid, signal.SIGKILL)
        while (told := await self._tell())[0] != "gone":
            ended, begun = (told[1], begun) if told[0] == "end" else (ended, told[1])
        return ended, begun

    async def _next(self, word: str) -> int:
        told, number = await self._tell()
        assert told == word
        return number

    async def _tell(self) -> tuple[str, int]:
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            word, number = (await self._process.stdout.readline()).split()
        return word.decode(), int(number)


@pytest.fixture
async def writers() -> AsyncIterator[Writers]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.httpd.writer",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    yield Writers(process)
    assert process.stdin is not None
    process.stdin.close()
    async with asyncio.timeout(PATIENCE):
        await process.wait()


async def version_in(job: Job) -> int:
    """Return the version that the file has; all its entries must be of that one."""
    entries = await asyncio.to_thread(read, job.path)
    version = int(entries[VERSION].rpartition(b":")[2])
    others = len(entries) - len(replace(job, others=0).content(version))
    assert others in {0, _LARGE}
    assert entries == replace(job, others=others).content(version)
    return version


async def _ask_until_cancelled(port: int, bodies: set[bytes]) -> int:
    count = 0
    async with Client(port) as client:
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                status, body = await client.get(HOST.decode())
                assert (status, body in bodies) == (200, True)
                count += 1
                await asyncio.sleep(0.005)
    return count


async def test_writer_killed_at_random_points_leaves_the_old_or_the_new_file(
    front: Front, writers: Writers
) -> None:
    chance = random.Random(_SEED)
    version = 1
    async with upstreams(4) as ports, Client(front.port) as client:
        with ApacheDB(front.path) as database:
            database.publish(Job(front.path, tuple(ports), version, 0).content(version))
        asking = asyncio.create_task(
            _ask_until_cancelled(front.port, {str(port).encode() for port in ports}), name="ask"
        )
        outcomes = set()
        for kill in range(_KILLS):
            large = kill % _LARGE_EVERY == _LARGE_EVERY - 1
            job = Job(front.path, tuple(ports), version + 1, _LARGE if large else 0)
            seconds = chance.uniform(0, _LARGE_SECONDS if large else _SMALL_SECONDS)
            ended, begun = await writers.run(job, seconds)
            version = await version_in(job)
            assert version in {ended, begun}, f"seed={_SEED} kill={kill} seconds={seconds}"
            outcomes.add(version == ended)
        asking.cancel()
        assert await asking > _KILLS
        assert await client.get(HOST.decode()) == (200, str(ports[version % 4]).encode())
    assert outcomes == {True, False}
    assert check(front.path) == []


@pytest.mark.parametrize("others", [0, _LARGE], ids=["small map", "map built by the helper"])
@pytest.mark.parametrize("step", [*STEPS, *(f"{step}+" for step in STEPS)])
async def test_writer_killed_at_each_step_leaves_the_old_file_until_it_is_renamed(
    tmp_path: Path, writers: Writers, step: str, others: int
) -> None:
    job = Job(tmp_path / "routes.gdbm", (8001, 8002), 1, others, step)
    with ApacheDB(job.path) as database:
        database.publish(job.content(0))
    assert await writers.run(job) == (0, 1)
    assert await version_in(job) == (1 if step == "replace+" else 0)
    ApacheDB(job.path).close()
    assert sorted(entry.name for entry in job.path.parent.iterdir()) == [
        "routes.gdbm",
        "routes.gdbm.lock",
    ]
