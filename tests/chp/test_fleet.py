"""`nbgate-proxy --workers 2`: real processes over one table of routes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import aiohttp
import pytest

from tests.app.hub import Api
from tests.chp.test_process import AUTH, Running, ask, started
from tests.proxy.certificates import make_pair
from tests.support.places import free_ports
from tests.workers.support import (
    DEADLINE,
    Connection,
    Family,
    alive,
    kill,
    one_at_each,
    until,
    until_async,
    upstream,
)


class Fleet(Family):
    """A proxy with two workers, and its API.

    Attributes:
        running: the supervisor.
        api: of the routes.
        metrics_port: where the metrics are.
    """

    worker_mark = "gateway.chp_fleet.worker"
    control_mark = "gateway.chp_fleet.control"

    def __init__(self, running: Running, ports: list[int]) -> None:
        self.running = running
        self.port, api_port, self.metrics_port = ports
        self.api = Api(api_port, "t")

    @property
    def supervisor(self) -> int:
        return self.running.process.pid

    def all_serve(self) -> None:
        """Wait until both serve."""
        until(lambda: self.said("worker serves") >= 2, "two workers serve")
        self.running.await_line("Proxying")

    def said(self, words: str) -> int:
        """Return how many lines have these words."""
        return sum(words in line for line in self.running.lines)

    async def metrics(self) -> dict[str, float]:
        """Return the metrics by name and labels."""
        text = await asyncio.to_thread(ask, self.metrics_port, "/metrics")
        lines = text.partition("\r\n\r\n")[2].splitlines()
        pairs = [line.rpartition(" ") for line in lines if not line.startswith("#")]
        return {name: float(value) for name, _, value in pairs}

    async def until_metric(self, name: str, value: float) -> None:
        """Wait until a metric has a value; each look is a question to another process."""
        async with asyncio.timeout(DEADLINE):
            while (await self.metrics()).get(name) != value:
                pass

    async def until_control_is_back(self, times: int = 1) -> None:
        await until_async(lambda: self.said("Proxying") > times, "control is started again")


@contextlib.contextmanager
def fleet_running(folder: Path, *flags: str, environ: Mapping[str, str] = {}) -> Iterator[Fleet]:
    ports = free_ports(3)
    places = [f"--port={ports[0]}", f"--api-port={ports[1]}", f"--metrics-port={ports[2]}"]
    with started(
        folder,
        "--workers=2",
        "--ip=127.0.0.1",
        "--metrics-ip=127.0.0.1",
        f"--keep-alive-timeout={int(DEADLINE * 1000)}",  # longer than any process takes to start
        *places,
        *flags,
        environ=environ,
    ) as running:
        fleet = Fleet(running, ports)
        fleet.all_serve()
        yield fleet


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with fleet_running(tmp_path) as made:
        yield made


@contextlib.asynccontextmanager
async def stopped(pid: int) -> AsyncIterator[None]:
    """Keep a process from doing anything."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def statuses(connections: list[Connection], path: str) -> list[int]:
    return [(await one.get(path))[0] for one in connections]


async def test_every_worker_has_a_change_when_it_is_answered(fleet: Fleet) -> None:
    async with upstream() as target, one_at_each(fleet) as both:
        for _ in range(20):
            await fleet.api.add("/user/a", f"http://{target}", user="a")
            assert await statuses(both, "/user/a/x") == [200, 200]
            assert (await fleet.api.ask("DELETE", "/api/routes/user/a")).status == 204
            assert await statuses(both, "/user/a/x") == [404, 404]


async def test_a_new_target_is_used_by_every_worker_at_once(fleet: Fleet) -> None:
    async with upstream() as target, one_at_each(fleet) as both:
        for _ in range(10):
            await fleet.api.add("/x", f"http://{target}")
            assert await statuses(both, "/x") == [200, 200]
            await fleet.api.add("/x", "http://127.0.0.1:1")
            assert await statuses(both, "/x") == [503, 503]


async def test_activity_and_counts_of_all_workers_are_told(fleet: Fleet) -> None:
    async with upstream() as target, one_at_each(fleet) as both:
        await fleet.api.add("/user/b", f"http://{target}")
        for connection in both:
            before = (await fleet.api.routes())["/user/b"]["last_activity"]
            assert (await connection.get("/user/b/x"))[0] == 200
            async with asyncio.timeout(DEADLINE):
                while (await fleet.api.routes())["/user/b"]["last_activity"] == before:
                    pass  # each question is one to another process
        assert await statuses(both, "/none") == [404, 404]
        await fleet.until_metric("requests_web", 4)
        await fleet.until_metric('requests_proxy{status="404"}', 2)
        told = await fleet.metrics()
        assert told['requests_proxy{status="200"}'] == 2
        assert told["find_target_for_req_count"] == 4
        assert told["last_activity_updating_count"] == 2
        assert told['find_target_for_req{quantile="0.5"}'] > 0
        assert (told["api_route_add"], told["nbgate_routes"]) == (1, 1)


async def test_killed_worker_loses_its_own_connections_only(fleet: Fleet) -> None:
    async with upstream() as target, one_at_each(fleet) as (victim, other):
        await fleet.api.add("/x", f"http://{target}")
        assert await statuses([victim, other], "/x") == [200, 200]
        await fleet.until_metric("requests_web", 2)
        kill(victim.worker)
        assert (await other.get("/x"))[0] == 200
        await until_async(lambda: fleet.said("worker follows") == 3, "a new worker has come")
        async with one_at_each(fleet) as renewed:
            assert victim.worker not in {one.worker for one in renewed}
            assert await statuses(renewed, "/x") == [200, 200]
        await fleet.until_metric("requests_web", 5)  # what the dead one had counted stays


async def test_killed_control_loses_no_route_and_nothing_that_runs(fleet: Fleet) -> None:
    async with upstream() as target, one_at_each(fleet) as both:
        await fleet.api.add("/x", f"http://{target}", user="é", deep=[{"a": None}])
        await fleet.api.add("/gone", f"http://{target}")
        assert (await fleet.api.ask("DELETE", "/api/routes/gone")).status == 204
        assert (await both[1].get("/x"))[0] == 200
        before = (await fleet.api.routes())["/x"]
        was = fleet.control
        async with stopped(fleet.supervisor):  # it stays away until we say so
            kill(was)
            await until_async(lambda: not alive(was), "control is dead")
            assert await statuses(both, "/x") == [200, 200]
        await fleet.until_control_is_back()
        after = await fleet.api.routes()
        assert set(after) == {"/x"}
        assert after["/x"]["last_activity"] >= before["last_activity"]
        assert after["/x"] | {"last_activity": ""} == before | {"last_activity": ""}
        await fleet.api.add("/y", f"http://{target}")
        assert await statuses(both, "/y/z") == [200, 200], "no worker was restarted"


async def test_routes_that_are_kept_are_there_again_without_a_journal(tmp_path: Path) -> None:
    flags = ["--persist-routes", f"--route-file={tmp_path}/routes.gdbm"]
    async with upstream() as target:
        with fleet_running(tmp_path, *flags) as fleet:
            await fleet.api.add("/x", f"http://{target}", user="x")
            await fleet.api.flush()
            kill(fleet.control)
            await fleet.until_control_is_back()
            assert (await fleet.api.routes())["/x"]["user"] == "x"
            assert await asyncio.to_thread(fleet.running.stop) == 2
        with fleet_running(tmp_path, *flags) as fleet:
            assert (await fleet.api.routes())["/x"]["user"] == "x"
            async with one_at_each(fleet) as both:
                assert await statuses(both, "/x") == [200, 200]


async def test_killed_supervisor_takes_all_with_it(fleet: Fleet) -> None:
    children = [fleet.control, *fleet.workers]
    fleet.running.process.kill()
    await until_async(lambda: not any(map(alive, children)), "all children have ended")


@pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGTERM, "Terminated"), (signal.SIGINT, "Interrupted")]
)
async def test_it_ends_with_2_and_tells_websockets_that_it_goes_away(
    tmp_path: Path, number: int, word: str
) -> None:
    pid_file = tmp_path / "pid"
    async with upstream() as target:
        flags = [f"--default-target=http://{target}", f"--pid-file={pid_file}"]
        with fleet_running(tmp_path, *flags) as fleet:
            assert int(pid_file.read_text()) == fleet.supervisor
            children = [fleet.control, *fleet.workers]
            async with (
                aiohttp.ClientSession() as client,
                client.ws_connect(f"http://127.0.0.1:{fleet.port}/x") as tunnel,
            ):
                await tunnel.send_str("data")
                assert await tunnel.receive_str(timeout=DEADLINE) == "data"
                code = await asyncio.to_thread(fleet.running.stop, number)
                assert (
                    await tunnel.receive(timeout=DEADLINE)
                ).data == aiohttp.WSCloseCode.GOING_AWAY
            assert code == 2
            assert fleet.said(f"warn: {word}") == 1
    assert not any(map(alive, children))
    assert not pid_file.exists()


def test_it_needs_no_directory_that_it_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TMPDIR", "XDG_RUNTIME_DIR", "HOME"):
        monkeypatch.setenv(name, "/nonexistent")
    tmp_path.chmod(0o500)
    before = set(tmp_path.iterdir())
    with fleet_running(tmp_path) as fleet:
        assert '{"status":"OK"}' in ask(fleet.port, "/_chp_healthz")
        files = {str(link.readlink()) for link in Path(f"/proc/{fleet.control}/fd").iterdir()}
        assert not {name for name in files if str(tmp_path) in name}
        assert fleet.running.stop() == 2
    assert set(tmp_path.iterdir()) == before


def test_no_secret_is_in_an_argument_and_workers_have_no_token(tmp_path: Path) -> None:
    with started(tmp_path, "--workers=2", *_places(), token="very-secret") as running:
        running.await_line("Proxying")
        family = Fleet(running, [0, 0, 0])
        for pid in (family.control, *family.workers):
            assert b"very-secret" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"very-secret" in Path(f"/proc/{family.control}/environ").read_bytes()
        for pid in family.workers:
            assert b"very-secret" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_unix_sockets_and_host_routing(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("public", "api")]
    flags = [f"--socket={places[0]}", f"--api-socket={places[1]}", "--host-routing"]
    with started(tmp_path, "--workers=2", *flags, "--default-target=http://127.0.0.1:1") as running:
        running.await_line("Proxying")
        assert '{"status":"OK"}' in ask(places[0], "/_chp_healthz")
        assert '"/": {"target"' in ask(places[1], "/api/routes", AUTH)
        assert " 503 " in ask(places[0], "/x")
        assert running.stop() == 2
    assert not any(place.exists() for place in places)


def test_all_addresses_are_listened_on(tmp_path: Path) -> None:
    port, api = free_ports(2)
    with started(tmp_path, "--workers=2", f"--port={port}", f"--api-port={api}") as running:
        running.await_line("Proxying")
        hosts = ["127.0.0.1"]
        with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
            hosts.append("::1")
        for host in hosts:
            with socket.create_connection((host, port), DEADLINE) as client:
                client.sendall(b"GET /_chp_healthz HTTP/1.1\r\nHost: h\r\n\r\n")
                assert client.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_tls_with_a_key_that_is_encrypted(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, "nb", passphrase="of-the-key")
    flags = [f"--ssl-key={pair.key}", f"--ssl-cert={pair.cert}"]
    with fleet_running(
        tmp_path, *flags, environ={"CONFIGPROXY_SSL_KEY_PASSPHRASE": "of-the-key"}
    ) as fleet:
        context = pair.client()
        with (
            socket.create_connection(("127.0.0.1", fleet.port), DEADLINE) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as client,
        ):
            client.sendall(b"GET /_chp_healthz HTTP/1.1\r\nHost: h\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("which", ["public", "api"])
def test_a_used_port_is_one_line_and_1(tmp_path: Path, which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        used = other.getsockname()[1]
        (free,) = free_ports(1)
        ports = (used, free) if which == "public" else (free, used)
        flags = [f"--port={ports[0]}", f"--api-port={ports[1]}", "--ip=127.0.0.1"]
        with started(tmp_path, "--workers=2", *flags, "--api-ip=127.0.0.1") as running:
            assert running.ended() == 1
            told = [line for line in running.lines if "[ConfigProxy]" not in line]
            assert told == [f"nbgate: cannot listen on 127.0.0.1:{used}: Address already in use"], (
                "\n".join(running.lines)
            )


@pytest.mark.parametrize(
    "flags", [["--ssl-key=/none", "--ssl-cert=/none"], ["--default-target=ftp://h"]]
)
def test_what_no_child_could_use_is_one_line_and_1(tmp_path: Path, flags: list[str]) -> None:
    with started(tmp_path, "--workers=2", *_places(), *flags) as running:
        assert running.ended() == 1
        told = [line for line in running.lines if "[ConfigProxy]" not in line]
        assert len(told) == 1
        assert told[0].startswith(f"nbgate: {flags[-1].partition('=')[0].rpartition('-')[0]}")


def _places() -> list[str]:
    port, api = free_ports(2)
    return ["--ip=127.0.0.1", f"--port={port}", f"--api-port={api}"]
