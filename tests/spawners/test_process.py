"""A server that is a process: what it knows, keeps to itself, and what it cannot start without."""

from __future__ import annotations

import importlib.util
import itertools
import logging
import socket
import stat
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from gateway.errors import EngineError
from gateway.spawners.base import Server, ServerSpec, ServerState
from gateway.spawners.process import ProcessSpawner, get_ephemeral_port
from gateway.spawners.process_launch import child_environment
from tests.spawners.helpers import SECRET, gateway_headers, until_ready, url_of
from tests.spawners.notebook_client import compute, directives, page_config
from tests.spawners.processes import LMS, pid_of, spawner, spec

__all__ = ["spawner", "spec"]


async def test_notebook_computes_in_its_space(spawner: ProcessSpawner, spec: ServerSpec) -> None:
    server = await spawner.start(spec)

    assert (server.slug, server.generation, server.state) == ("demo", 3, ServerState.RUNNING)
    assert server.target is not None
    assert (server.target.host, server.target.port) == ("127.0.0.1", server.port)
    await until_ready(server, "/nb/demo/notebooks/answer.ipynb")
    await until_ready(server, "/nb/demo/lab/tree/answer.ipynb")
    assert await compute(server, "/nb/demo/", "import os; os.getcwd()") == repr(str(spec.space))


async def test_server_knows_its_person_and_keeps_the_secret(
    spawner: ProcessSpawner, spec: ServerSpec
) -> None:
    server = await spawner.start(spec)
    await until_ready(server, "/nb/demo/api/status")

    headers = gateway_headers(user="course%2Fdemo%3Aada", name="Ada%20Lovelace")
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.get(url_of(server, "/nb/demo/api/me")) as answer:
            identity = (await answer.json())["identity"]
        for path in ("lab", "notebooks/answer.ipynb", "no-such-page"):
            async with session.get(url_of(server, f"/nb/demo/{path}")) as answer:
                assert SECRET not in await answer.text()
    assert (identity["username"], identity["name"]) == ("course/demo:ada", "Ada Lovelace")


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


async def test_lost_port_is_met_by_another_try(
    tmp_path: Path, spec: ServerSpec, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as winner:
        lost = winner.getsockname()[1]
        ports = itertools.chain([lost], iter(get_ephemeral_port, None))
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


async def test_files_of_servers_are_for_the_owner_alone(
    spawner: ProcessSpawner, spec: ServerSpec, tmp_path: Path
) -> None:
    await spawner.start(spec)
    folder = tmp_path / "state" / "processes"

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "demo.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "demo.log").stat().st_mode) == 0o600


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


def arguments_of(server: Server) -> bytes:
    return Path(f"/proc/{pid_of(server)}/cmdline").read_bytes()
