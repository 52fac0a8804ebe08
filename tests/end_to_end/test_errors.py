"""Wrong input at the start gets one clear line, exit code, and nothing is lost."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from routes.apachedb import ApacheDB, read
from tests.support.gateway import GatewayProcess, running
from tests.support.places import free_port
from tests.support.waiting import PATIENCE


def refused(gateway: GatewayProcess) -> str:
    """Start a gateway that must refuse; return its one line."""
    process = gateway.spawn()
    assert process.wait(PATIENCE) == 1 or process.returncode > 1
    lines = [line for line in gateway.log.read_text().splitlines() if line.startswith("nbgate: ")]
    assert len(lines) == 1, gateway.log.read_text()
    assert "Traceback" not in gateway.log.read_text()
    return lines[0]


@pytest.mark.parametrize("which", ["listen", "management_listen"])
def test_port_in_use_is_named_with_the_remedy(tmp_path: Path, which: str) -> None:
    with running(tmp_path / "first") as first:
        taken = first.port if which == "listen" else first.management_port
        second = GatewayProcess(tmp_path / "second", **{which: f"127.0.0.1:{taken}"})
        line = refused(second)
    assert f"127.0.0.1:{taken}" in line
    assert f"NBGATE_{which.upper()}" in line


def test_second_gateway_on_the_same_route_file_is_refused(tmp_path: Path) -> None:
    with running(tmp_path / "first") as first:
        file = first.state / "routes" / "routes.gdbm"
        line = refused(GatewayProcess(tmp_path / "second", route_file=str(file)))
    assert str(file) in line
    assert "in use" in line


def test_damaged_route_file_is_named_and_left_untouched_then_rebuilt(tmp_path: Path) -> None:
    with running(tmp_path / "state") as gateway:
        for number in range(40):
            gateway.nbgate("route", "set", f"h{number}.example.org", f"127.0.0.1:{9000 + number}")
    file = gateway.state / "routes" / "routes.gdbm"
    content = bytearray(file.read_bytes())
    content[: len(content) // 8] = b"\xff" * (len(content) // 8)
    file.write_bytes(content)
    line = refused(gateway)
    assert str(file) in line
    assert "nbgate route rebuild" in line
    assert file.read_bytes() == bytes(content)
    assert gateway.run("route", "check").returncode != 0
    said = gateway.nbgate("route", "rebuild")
    kept = list(file.parent.glob("routes.gdbm.damaged-*"))
    assert [one.read_bytes() for one in kept] == [bytes(content)]
    assert str(kept[0]) in said
    assert gateway.run("route", "check").returncode == 0
    assert set(read(file).values()) <= {f"127.0.0.1:{9000 + n}".encode() for n in range(40)}


def write_by_httxt2dbm(file: Path, entries: dict[str, str]) -> None:
    text = file.with_suffix(".txt")
    text.write_text("".join(f"{key} {value}\n" for key, value in entries.items()))
    command = ["httxt2dbm", "-f", "GDBM", "-i", str(text), "-o", str(file)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
async def upstream() -> AsyncIterator[str]:
    """host:port of a server that tells the path it was asked for."""

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=f"hello {request.path}")

    app = web.Application()
    app.router.add_get("/{path:.*}", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"127.0.0.1:{port}"
    await runner.cleanup()


def write_by_dbm_gnu(file: Path, entries: dict[str, str]) -> None:
    program = (
        "import dbm.gnu, json, sys\n"
        "with dbm.gnu.open(sys.argv[1], 'n') as db:\n"
        "    for key, value in json.loads(sys.argv[2]).items(): db[key] = value\n"
    )
    command = ["/usr/bin/python3", "-c", program, str(file), json.dumps(entries)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.parametrize("write", [write_by_httxt2dbm, write_by_dbm_gnu])
async def test_map_that_others_wrote_is_routed_from(
    tmp_path: Path, upstream: str, write: Callable[[Path, dict[str, str]], None]
) -> None:
    file = tmp_path / "old.gdbm"
    entries = {"alice.nb.test": upstream, "/docs": upstream, "/x": "nonsense"}
    write(file, entries)
    with running(tmp_path / "state", route_file=str(file)) as gateway:
        async with aiohttp.ClientSession() as client:
            async with client.get(f"{gateway.url}/docs/a%20b") as answer:
                assert await answer.text() == "hello /docs/a b"
            host = {"Host": f"Alice.NB.test:{gateway.port}"}
            async with client.get(f"{gateway.url}/tree", headers=host) as answer:
                assert await answer.text() == "hello /tree"
            async with client.get(f"{gateway.url}/elsewhere") as answer:
                assert answer.status == 404
        gateway.nbgate("route", "set", "/new", upstream)
    assert read(file)[b"/x"] == b"nonsense", "what cannot be used is kept"
    assert ApacheDB.convert_to_bytes("/new") in read(file)
