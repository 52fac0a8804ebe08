"""`nbgate serve --workers 2`: requests, sessions, starts and metrics over several processes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.proxy.certificates import make_pair
from tests.support.gateway import ROOT
from tests.support.places import free_port
from tests.workers.support import (
    DEADLINE,
    Connection,
    Fleet,
    cookie_for,
    fleet_running,
    one_at_each,
    until_async,
    upstream,
)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A running fleet with the demo project."""
    with fleet_running(tmp_path_factory.mktemp("fleet") / "state") as fleet:
        fleet.nbgate("project", "add", "demo", "--source", str(ROOT / "examples" / "demo"))
        yield fleet


@pytest.fixture
async def both(fleet: Fleet) -> AsyncIterator[list[Connection]]:
    """A connection to each worker."""
    async with one_at_each(fleet) as connections:
        yield connections


async def test_every_worker_serves_a_route_as_soon_as_it_is_set(
    fleet: Fleet, both: list[Connection]
) -> None:
    async with upstream() as target:
        await asyncio.to_thread(fleet.nbgate, "route", "set", "/hot", target)
        for connection in both:
            status, _, body = await connection.get("/hot/page")
            assert (status, body) == (200, b"hot")
        await asyncio.to_thread(fleet.nbgate, "route", "delete", "/hot")
        assert [(await connection.get("/hot/page"))[0] for connection in both] == [404, 404]


async def test_pages_are_reached_through_every_worker(both: list[Connection]) -> None:
    answers = [await connection.get("/", Accept="text/html") for connection in both]
    assert [status for status, _, _ in answers] == [200, 200]


async def test_twenty_requests_at_both_workers_start_one_server(fleet: Fleet) -> None:
    cookie = await cookie_for(fleet, "alice")
    before = await asyncio.to_thread(fleet.metrics)
    async with one_at_each(fleet), asyncio.TaskGroup() as group:
        connections = [await Connection.open(fleet) for _ in range(20)]
        asked = [
            group.create_task(connection.get("/nb/demo-x-alice/api/status", Cookie=cookie))
            for connection in connections
        ]
    answers = [task.result() for task in asked]
    assert [status for status, _, _ in answers] == [200] * 20, answers
    started = 'nbgate_starts_total{result="ready"}'
    after = await asyncio.to_thread(fleet.metrics)
    assert after[started] - before.get(started, 0.0) == 1
    (record,) = [one for one in fleet.notebooks() if one["state"] == "running"]
    assert record["generation"] == 1
    for connection in connections:
        connection.close()


async def test_a_session_is_seen_and_its_end_too_by_every_worker(
    fleet: Fleet, both: list[Connection]
) -> None:
    cookie = await cookie_for(fleet, "bob")
    path = "/nb/demo-x-bob/api/status"
    polling = {"Cookie": cookie, "Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "cors"}
    assert [(await one.get(path))[0] for one in both] == [401, 401]
    assert [(await one.get(path, **polling))[0] for one in both] == [424, 424]
    pressed = {"Cookie": cookie, "Sec_Fetch_Site": "same-origin", "Content_Length": "0"}
    status, _, _ = await both[0].ask("POST", "/gateway/logout", **pressed)
    assert status == 303
    assert [(await one.get(path, **polling))[0] for one in both] == [401, 401]


def test_workers_have_the_core_before_control(fleet: Fleet) -> None:
    """What a start costs control keeps no hot notebook waiting."""
    control, *workers = [
        os.getpriority(os.PRIO_PROCESS, pid) for pid in (fleet.control, *fleet.workers)
    ]
    assert max(workers) < control


async def test_metrics_of_all_workers_are_one(fleet: Fleet, both: list[Connection]) -> None:
    name = 'nbgate_requests_total{outcome="5xx"}'  # nothing else here fails
    assert name not in await asyncio.to_thread(fleet.metrics)
    await asyncio.to_thread(fleet.nbgate, "route", "set", "/dead", f"127.0.0.1:{free_port()}")
    for connection in both:
        for _ in range(5):
            assert (await connection.get("/dead"))[0] == 502
    await until_async(lambda: fleet.metrics().get(name) == 10, "the ten requests are counted")


async def test_stop_passes_a_stuck_worker_only_when_it_has_ended(
    fleet: Fleet, both: list[Connection]
) -> None:
    cookie = await cookie_for(fleet, "carol")
    path = "/nb/demo-x-carol/api/status"
    assert (await both[0].get(path, Cookie=cookie))[0] == 200
    stuck = both[1].worker
    os.kill(stuck, signal.SIGSTOP)
    await asyncio.to_thread(fleet.nbgate, "notebook", "stop", "demo-x-carol")
    assert stuck not in fleet.workers, "it could still have used the old target"
    await asyncio.to_thread(fleet.all_serve)


async def test_stopped_notebook_is_reached_by_no_worker(
    fleet: Fleet, both: list[Connection]
) -> None:
    cookie = await cookie_for(fleet, "dave")
    path = "/nb/demo-x-dave/api/status"
    assert (await both[0].get(path, Cookie=cookie))[0] == 200
    polling = {"Cookie": cookie, "Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "cors"}
    for connection in both:
        assert (await connection.get(path, **polling))[0] == 200
    await asyncio.to_thread(fleet.nbgate, "notebook", "stop", "demo-x-dave")
    answers = [await connection.get(path, **polling) for connection in both]
    assert [status for status, _, _ in answers] == [424, 424], answers


async def test_hang_up_ends_nobody(fleet: Fleet, both: list[Connection]) -> None:
    processes = [fleet.supervisor, fleet.control, *fleet.workers]
    for pid in processes:
        os.kill(pid, signal.SIGHUP)
    await until_async(lambda: fleet.log.read_text().count(" SIGHUP: ") == 4, "all four heard it")
    assert [fleet.supervisor, fleet.control, *fleet.workers] == processes
    assert [(await one.get("/", Accept="text/html"))[0] for one in both] == [200, 200]


def test_one_line_and_the_code_where_control_cannot_start(tmp_path: Path) -> None:
    with fleet_running(tmp_path / "first") as first:
        taken = f"127.0.0.1:{first.management_port}"
        second = Fleet(tmp_path / "second", management_listen=taken)
        assert second.spawn().wait(DEADLINE) == 2
    said = second.log.read_text()
    lines = [line for line in said.splitlines() if line.startswith("nbgate: ")]
    assert len(lines) == 1, said
    assert taken in lines[0]
    assert "Traceback" not in said


def test_one_line_and_the_code_where_the_port_is_taken(tmp_path: Path) -> None:
    with fleet_running(tmp_path / "first") as first:
        second = Fleet(tmp_path / "second", listen=f"127.0.0.1:{first.port}")
        assert second.spawn().wait(DEADLINE) == 2
    *_, line = second.log.read_text().splitlines()
    assert line.startswith("nbgate: cannot listen on")
    assert "Traceback" not in second.log.read_text()


def test_one_worker_is_one_process(tmp_path: Path) -> None:
    gateway = Fleet(tmp_path / "state", workers="1")
    try:
        gateway.start()
        assert (gateway.workers, gateway.children("control")) == ([], [])
    finally:
        gateway.stop_all()


async def test_the_workers_write_one_access_log(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    settings = {"access_log": "json", "access_log_file": str(path)}
    with fleet_running(tmp_path / "state", **settings) as fleet:
        async with one_at_each(fleet) as connections:
            for number, connection in enumerate(connections):
                await connection.get(f"/asked-{number}")
        await until_async(lambda: path.read_text().count("\n") >= 2, "both lines are written")
        for number in range(2):
            assert f"/asked-{number}" in path.read_text()


async def test_workers_speak_tls_and_a_wrong_pair_is_one_line(tmp_path: Path) -> None:
    pair, other = make_pair(tmp_path, "one"), make_pair(tmp_path, "other")
    tls = {"tls_cert": str(pair.cert), "tls_key": str(pair.key)}
    wrong = Fleet(tmp_path / "wrong", **(tls | {"tls_key": str(other.key)}))
    assert await asyncio.to_thread(lambda: wrong.spawn().wait(DEADLINE)) == 2
    said = [line for line in wrong.log.read_text().splitlines() if line.startswith("nbgate: ")]
    assert len(said) == 1
    assert str(other.key) in said[0]
    fleet = Fleet(tmp_path / "state", **tls)
    try:
        await asyncio.to_thread(lambda: fleet.start().all_serve())
        seen: set[int] = set()
        kept = []  # each counts as long as it is open, so that the other worker takes the next
        async with asyncio.timeout(DEADLINE):
            while len(seen) < 2:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", fleet.port, ssl=pair.client()
                )
                kept.append(writer)
                port = writer.get_extra_info("sockname")[1]
                seen.add(await asyncio.to_thread(fleet.worker_of, port))
                writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        for writer in kept:
            writer.close()
    finally:
        await asyncio.to_thread(fleet.stop)
