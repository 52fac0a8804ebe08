"""The life of a server that is a process: found again, taken for no other, stopped, ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.spawners import procfs
from gateway.spawners.base import ServerSpec, ServerState
from gateway.spawners.process import ProcessSpawner, reason_of
from tests.spawners.helpers import eventually, until_ready
from tests.spawners.notebook_client import compute
from tests.spawners.processes import pid_of, spawner, spec, ticks_of
from tests.support.waiting import PATIENCE

__all__ = ["spawner", "spec"]


async def test_start_joins_the_server_that_runs(spawner: ProcessSpawner, spec: ServerSpec) -> None:
    first, second = await asyncio.gather(
        spawner.start(spec), spawner.start(replace(spec, generation=4))
    )

    assert first == second


async def test_server_is_adopted_by_the_next_gateway(
    spawner: ProcessSpawner, spec: ServerSpec, tmp_path: Path
) -> None:
    server = await spawner.start(spec)
    await until_ready(server, "/nb/demo/api/status")

    after = ProcessSpawner(tmp_path / "state")

    assert await after.inspect("demo") == server
    assert await after.list() == [server]
    assert await after.start(spec) == server
    await after.stop(server, grace=5)
    assert not procfs.runs(pid_of(server), ticks_of(server))


async def test_server_outlives_a_gateway_that_is_killed(tmp_path: Path, spec: ServerSpec) -> None:
    script = (
        "import asyncio, os, signal, sys\n"
        "from pathlib import Path\n"
        "from gateway.spawners.base import ServerSpec\n"
        "from gateway.spawners.process import ProcessSpawner\n"
        "spec = ServerSpec('demo', 1, '', '/nb/demo/', 's', '', Path(sys.argv[2]))\n"
        "asyncio.run(ProcessSpawner(Path(sys.argv[1])).start(spec))\n"
        "os.killpg(0, signal.SIGKILL)\n"
    )
    gateway = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", script, str(tmp_path / "state"), str(spec.space)),
        start_new_session=True,
    )
    assert await asyncio.wait_for(gateway.wait(), PATIENCE) == -signal.SIGKILL

    after = ProcessSpawner(tmp_path / "state")
    server = await after.inspect("demo")

    assert server is not None
    try:
        assert server.state is ServerState.RUNNING
    finally:
        await after.stop(server, grace=5)


async def test_process_id_that_was_used_again_is_not_taken_for_the_server(
    spawner: ProcessSpawner, spec: ServerSpec, tmp_path: Path
) -> None:
    server = await spawner.start(spec)
    path = tmp_path / "state" / "processes" / "demo.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "ticks": record["ticks"] + 1}))
    after = ProcessSpawner(tmp_path / "state")
    try:
        impostor = await after.inspect("demo")

        assert impostor is not None
        assert impostor.state is ServerState.EXITED
        await after.stop(impostor, grace=5)
        assert procfs.runs(pid_of(server), ticks_of(server))
    finally:
        path.write_text(json.dumps(record))


async def test_records_of_before_the_machine_started_again_are_of_exited_servers(
    spawner: ProcessSpawner, spec: ServerSpec, tmp_path: Path
) -> None:
    await spawner.start(spec)
    path = tmp_path / "state" / "processes" / "demo.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "boot": "another"}))
    try:
        found = await spawner.inspect("demo")
        assert found is not None
        assert found.state is ServerState.EXITED
    finally:
        path.write_text(json.dumps(record))


async def test_stop_ends_kernels_and_their_children_too(
    spawner: ProcessSpawner, spec: ServerSpec
) -> None:
    server = await spawner.start(spec)
    await until_ready(server, "/nb/demo/api/status")
    code = "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True).pid"
    sleeper = procfs.stat_of(int(await compute(server, "/nb/demo/", code)))
    assert sleeper is not None
    family = procfs.family(pid_of(server))
    assert sleeper.pid in {member.pid for member in family}

    await spawner.stop(server, grace=10)

    assert procfs.survivors([*family, sleeper]) == []
    assert await spawner.inspect("demo") is None


async def test_server_that_does_not_listen_is_killed_after_the_grace(
    spawner: ProcessSpawner, spec: ServerSpec, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import signal\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "signal.signal = lambda *_: None\n"
    )
    deaf = replace(spec, environment={"PYTHONPATH": str(tmp_path)})
    server = await spawner.start(deaf)
    await until_ready(server, "/nb/demo/api/status")

    await spawner.stop(server, grace=0.2, keep=True)

    ended = await spawner.inspect("demo")
    assert ended is not None
    assert ended.reason == "ended by SIGKILL"

    assert not procfs.runs(pid_of(server), ticks_of(server))


async def test_stop_touches_only_the_server_with_the_id(
    spawner: ProcessSpawner, spec: ServerSpec
) -> None:
    server = await spawner.start(spec)

    await spawner.stop(replace(server, id="1-1"), grace=1)

    assert await spawner.inspect("demo") == server


async def test_ended_child_is_reaped_and_tells_why(
    spawner: ProcessSpawner, spec: ServerSpec
) -> None:
    server = await spawner.start(spec)
    os.kill(pid_of(server), signal.SIGKILL)

    async def gone() -> bool:
        found = await spawner.inspect("demo")
        return found is not None and found.state is ServerState.EXITED

    await eventually(gone, "the server has ended")
    found = await spawner.inspect("demo")

    assert found is not None
    assert (found.target, found.exit_code, found.reason) == (None, -9, "ended by SIGKILL")
    assert procfs.stat_of(pid_of(server)) is None, "a zombie is left"
    again = await spawner.start(spec)
    assert again.id != server.id


async def test_damaged_record_is_no_server(spawner: ProcessSpawner, tmp_path: Path) -> None:
    folder = tmp_path / "state" / "processes"
    folder.mkdir(parents=True)
    (folder / "demo.json").write_text('{"slug": "de')

    assert await spawner.list() == []
    assert await spawner.inspect("demo") is None


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (0, ""),
        (1, "ended with status 1"),
        (-15, "ended by SIGTERM"),
        (None, "ended while no gateway looked"),
    ],
)
def test_reason_is_one_line(status: int | None, reason: str) -> None:
    assert reason_of(status) == reason
