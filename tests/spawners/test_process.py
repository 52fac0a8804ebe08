from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from gateway.errors import EngineError
from gateway.spawners import procfs
from gateway.spawners.base import Server, ServerSpec, ServerState
from gateway.spawners.process import ProcessSpawner, get_ephemeral_port, reason_of
from gateway.spawners.process_launch import child_environment
from tests.spawners.helpers import SECRET, eventually, gateway_headers, until_ready, url_of
from tests.spawners.notebook_client import NOTEBOOK, compute, directives, page_config
from tests.support.waiting import PATIENCE

LMS = "https://lms.example.org"


@pytest.fixture
async def spawner(tmp_path: Path) -> AsyncIterator[ProcessSpawner]:
    made = ProcessSpawner(tmp_path / "state")
    yield made
    for server in await made.list():
        await made.stop(server, grace=5)
    await made.close()


@pytest.fixture
def spec(tmp_path: Path) -> ServerSpec:
    space = tmp_path / "space"
    space.mkdir()
    (space / "answer.ipynb").write_text(json.dumps(NOTEBOOK))
    return ServerSpec(
        slug="demo",
        generation=3,
        image="",
        base_url="/nb/demo/",
        token=SECRET,
        user_name="Alice",
        space=space,
        environment={"COURSE": "bio"},
        frame_ancestors=(LMS,),
    )


async def test_notebook_computes_in_its_space(spawner: ProcessSpawner, spec: ServerSpec) -> None:
    server = await spawner.start(spec)

    assert (server.slug, server.generation, server.state) == ("demo", 3, ServerState.RUNNING)
    assert server.target is not None
    assert (server.target.host, server.target.port) == ("127.0.0.1", server.port)
    await until_ready(server, "/nb/demo/notebooks/answer.ipynb")
    await until_ready(server, "/nb/demo/lab/tree/answer.ipynb")
    assert await compute(server, "/nb/demo/", "import os; os.getcwd()") == repr(str(spec.space))


async def test_pages_do_not_ask_for_what_the_server_goes_without(
    spawner: ProcessSpawner, spec: ServerSpec
) -> None:
    server = await spawner.start(spec)
    await until_ready(server, "/nb/demo/api/status")

    for path in ("lab", "notebooks/answer.ipynb"):
        async with (
            aiohttp.ClientSession(headers=gateway_headers()) as session,
            session.get(url_of(server, f"/nb/demo/{path}")) as answer,
        ):
            config = page_config(await answer.text())
        assert "@jupyterlab/lsp-extension" in config["disabledExtensions"]
        assert config["buildCheck"] is False


async def test_space_does_not_shadow_modules_of_the_server(
    spawner: ProcessSpawner, spec: ServerSpec
) -> None:
    for name in ("random.py", "json.py", "tornado.py"):
        (spec.space / name).write_text("raise SystemExit('shadowed')")

    server = await spawner.start(spec)

    await until_ready(server, "/nb/demo/api/status")


async def test_nobody_comes_in_without_the_secret(
    spawner: ProcessSpawner, spec: ServerSpec
) -> None:
    server = await spawner.start(spec)
    await until_ready(server, "/nb/demo/api/status")

    async with aiohttp.ClientSession() as session:
        async with session.get(url_of(server, "/nb/demo/api/contents")) as answer:
            assert answer.status == 403
        url = url_of(server, "/nb/demo/lab")
        async with session.get(url, headers=gateway_headers()) as answer:
            found = directives(answer.headers["Content-Security-Policy"])
    assert found["frame-ancestors"] == f"'self' {LMS}"


async def test_secret_is_in_no_argument_log_or_kernel(
    spawner: ProcessSpawner, spec: ServerSpec
) -> None:
    server = await spawner.start(spec)
    await until_ready(server, "/nb/demo/api/status")
    arguments = arguments_of(server)
    code = "[n for n in __import__('os').environ if n.startswith(('NBGATE', 'JUPYTER_TOKEN'))]"

    assert await compute(server, "/nb/demo/", code) == "[]"
    assert SECRET.encode() not in arguments
    assert SECRET not in await spawner.logs(server, 1000)


async def test_start_joins_the_server_that_runs(spawner: ProcessSpawner, spec: ServerSpec) -> None:
    first, second = await asyncio.gather(
        spawner.start(spec), spawner.start(replace(spec, generation=4))
    )

    assert first == second


async def test_lost_port_is_met_by_another_try(
    tmp_path: Path, spec: ServerSpec, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as winner:
        lost = winner.getsockname()[1]
        ports = iter([lost, get_ephemeral_port()])
        spawner = ProcessSpawner(tmp_path / "state", choose_port=lambda: next(ports))

        server = await spawner.start(spec)

        try:
            assert server.port != lost
            assert f"port was taken by another process slug=demo port={lost}" in caplog.text
            await until_ready(server, "/nb/demo/api/status")
        finally:
            await spawner.stop(server, grace=5)


async def test_port_that_is_always_lost_is_a_clear_error(tmp_path: Path, spec: ServerSpec) -> None:
    with socket.create_server(("127.0.0.1", 0)) as winner:
        lost = winner.getsockname()[1]
        spawner = ProcessSpawner(tmp_path / "state", choose_port=lambda: lost)

        with pytest.raises(EngineError, match="taken by another process"):
            await spawner.start(spec)

        assert await spawner.list() == []


def test_ephemeral_port_is_free() -> None:
    port = get_ephemeral_port()

    with socket.create_server(("127.0.0.1", port)):
        assert 0 < port < 65536


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


async def test_files_of_servers_are_for_the_owner_alone(
    spawner: ProcessSpawner, spec: ServerSpec, tmp_path: Path
) -> None:
    await spawner.start(spec)
    folder = tmp_path / "state" / "processes"

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "demo.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "demo.log").stat().st_mode) == 0o600


async def test_damaged_record_is_no_server(spawner: ProcessSpawner, tmp_path: Path) -> None:
    folder = tmp_path / "state" / "processes"
    folder.mkdir(parents=True)
    (folder / "demo.json").write_text('{"slug": "de')

    assert await spawner.list() == []
    assert await spawner.inspect("demo") is None


async def test_child_that_cannot_run_tells_its_last_line(
    spawner: ProcessSpawner, spec: ServerSpec
) -> None:
    broken = replace(spec, environment={"PYTHONHOME": "/nowhere"})

    with pytest.raises(EngineError, match="notebook 'demo' did not start"):
        await spawner.start(broken)

    assert await spawner.list() == []


async def test_lack_of_isolation_is_said_once(
    spawner: ProcessSpawner, spec: ServerSpec, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        await spawner.start(spec)
        await spawner.start(spec)

    assert caplog.text.count("WITHOUT ANY ISOLATION") == 1


async def test_missing_jupyter_names_the_remedy(
    spawner: ProcessSpawner, spec: ServerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "notebook" else real(name)
    )

    with pytest.raises(EngineError, match=r"needs notebook: `pip install nbgate\[jupyter\]`"):
        await spawner.start(spec)


def test_child_gets_no_variable_of_the_gateway(spec: ServerSpec, tmp_path: Path) -> None:
    gateway = {"NBGATE_DATABASE_URL": "secret", "JUPYTER_TOKEN": "x", "PATH": "/bin"}

    child = child_environment(spec, 1, tmp_path, gateway)

    assert "NBGATE_DATABASE_URL" not in child
    assert "JUPYTER_TOKEN" not in child
    assert (child["PATH"], child["COURSE"]) == ("/bin", "bio")


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


def pid_of(server: Server) -> int:
    return int(server.id.split("-")[0])


def ticks_of(server: Server) -> int:
    return int(server.id.split("-")[1])


def arguments_of(server: Server) -> bytes:
    return Path(f"/proc/{pid_of(server)}/cmdline").read_bytes()
