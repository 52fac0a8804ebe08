"""What nobody uses is stopped or paused, what works is not: real Jupyter servers, short lifetimes.

That a server was *not* stopped is shown against another one, which was used last and was.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest

from tests.end_to_end.conftest import SPAWNERS, gateway_with
from tests.support.gateway import GatewayProcess, begin, execute, signed_in
from tests.support.waiting import PATIENCE, until

POLLING = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
NAVIGATION = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
WAIT_FOR_A_FILE = "import os, time\nwhile not os.path.exists('over'): time.sleep(0.05)\n"
WRITE_IN_THE_BACKGROUND = """
import threading, time
def write():
    while True:
        with open("log.txt", "a") as file:
            file.write("still at it")
        time.sleep(0.2)
threading.Thread(target=write, daemon=True).start()
True
"""
LARGE = 64 * 2**20


@pytest.fixture(scope="module", params=SPAWNERS)
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway that stops what was not used for twenty seconds."""
    state = tmp_path_factory.mktemp("culling") / "state"
    short = {"idle_timeout": "20", "warning_time": "4", "cull_interval": "1"}
    with gateway_with(request, state, request.param, **short) as process:
        yield process


@contextlib.asynccontextmanager
async def opened(
    gateway: GatewayProcess, person: str, project: str = "demo"
) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """Start a person's notebook; yield a client with their session, and its URL."""
    link = gateway.nbgate("notebook", "url", "--project", project, "--person", person)
    base = f"{gateway.url}/nb/{project}-x-{person}/"
    async with signed_in(link) as client:
        async with client.get(f"{base}api/status") as answer:
            assert answer.status == 200, await answer.text()
        yield client, base


async def show(gateway: GatewayProcess, slug: str) -> dict[str, Any]:
    return await asyncio.to_thread(gateway.show, slug)


async def until_it_is(gateway: GatewayProcess, slug: str, **facts: object) -> None:
    """Wait until the notebook's record says so."""
    async with asyncio.timeout(PATIENCE):
        while not facts.items() <= (await show(gateway, slug)).items():
            pass


async def poll(client: aiohttp.ClientSession, url: str) -> int:
    async with client.get(url, headers=POLLING) as answer:
        await answer.read()
        return answer.status


async def forgotten_until_it_is_cold(client: aiohttp.ClientSession, base: str) -> None:
    """Be a tab that nobody looks at: WebSockets that are open, and polling, until it gets 424."""
    async with client.post(f"{base}api/kernels", json={}) as answer:
        kernel = (await answer.json())["id"]
    async with (
        client.ws_connect(f"{base}api/kernels/{kernel}/channels"),
        client.ws_connect(f"{base}api/events/subscribe"),
        asyncio.timeout(PATIENCE),
    ):
        while (status := await poll(client, f"{base}api/kernels")) != 424:
            assert status in (200, 502, 503), status
            await asyncio.sleep(0.2)  # a tab's own pace


def culled(gateway: GatewayProcess, what: str) -> float:
    metrics = f"{gateway.management_url}/gateway/metrics"
    with urllib.request.urlopen(metrics, timeout=PATIENCE) as answer:
        lines = answer.read().decode().splitlines()
    mark = f'nbgate_culled_total{{what="{what}"}} '
    return sum(float(line.removeprefix(mark)) for line in lines if line.startswith(mark))


async def test_a_forgotten_tab_is_culled_and_what_works_or_is_used_is_not(
    gateway: GatewayProcess,
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        busy, busy_base = await enter(opened(gateway, "busy"))
        kernel = await begin(busy, busy_base, WAIT_FOR_A_FILE)
        loading, loading_base = await enter(opened(gateway, "loading"))
        made = await execute(
            loading, loading_base, f"open('large.bin', 'wb').write(bytes({LARGE}))"
        )
        assert made == str(LARGE)
        download = await enter(loading.get(f"{loading_base}files/large.bin"))
        used, used_base = await enter(opened(gateway, "used"))
        using = asyncio.create_task(use_for_ever(used, used_base))
        tab, tab_base = await enter(opened(gateway, "tab"))

        await forgotten_until_it_is_cold(tab, tab_base)
        for person in ("busy", "loading", "used"):
            assert (await show(gateway, f"demo-x-{person}"))["state"] == "running", person
        using.cancel()

        async with busy.get(f"{busy_base}api/kernels/{kernel}", headers=POLLING) as answer:
            assert (await answer.json())["execution_state"] == "busy"
        assert len(await download.read()) == LARGE
        await assert_only_a_person_wakes(gateway, tab, tab_base)


async def use_for_ever(client: aiohttp.ClientSession, base: str) -> None:
    while True:
        assert await execute(client, base, "6 * 7") == "42"
        async with client.get(f"{base}api/kernels", headers=POLLING) as answer:
            kernels = await answer.json()
        for kernel in kernels:
            async with client.delete(f"{base}api/kernels/{kernel['id']}"):
                pass


async def assert_only_a_person_wakes(
    gateway: GatewayProcess, client: aiohttp.ClientSession, base: str
) -> None:
    generation = (await show(gateway, "demo-x-tab"))["generation"]
    for _ in range(20):
        assert await poll(client, f"{base}api/kernels") == 424
    await until_it_is(gateway, "demo-x-tab", state="cold", generation=generation)
    async with client.get(f"{base}lab", headers=NAVIGATION) as answer:
        assert answer.status == 503
    await until_it_is(gateway, "demo-x-tab", state="running", generation=generation + 1)


async def type_into_a_terminal(client: aiohttp.ClientSession, base: str, line: str) -> None:
    """Type a line into a new terminal, wait until `begun` was printed, and leave it alone."""
    async with client.post(f"{base}api/terminals") as answer:
        name = (await answer.json())["name"]
    async with (
        client.ws_connect(f"{base}terminals/websocket/{name}") as terminal,
        asyncio.timeout(PATIENCE),
    ):
        await terminal.send_json(["stdin", f"{line}\r"])
        printed = ""
        async for frame in terminal:
            kind, text = frame.json()[:2]
            printed += text if kind == "stdout" else ""
            if "begun" in printed:
                return
    raise AssertionError("the terminal's socket ended")


async def test_a_script_that_writes_and_a_terminals_program_keep_their_servers(
    gateway: GatewayProcess,
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        writer, writer_base = await enter(opened(gateway, "writer"))
        assert await execute(writer, writer_base, WRITE_IN_THE_BACKGROUND) == "True"
        shell, shell_base = await enter(opened(gateway, "shell"))
        # The echo of what is typed is not yet what is printed.
        await type_into_a_terminal(shell, shell_base, "echo be''gun; cat")
        prompt, prompt_base = await enter(opened(gateway, "prompt"))
        await type_into_a_terminal(prompt, prompt_base, "echo be''gun")
        await forgotten_until_it_is_cold(prompt, prompt_base)
        for person in ("writer", "shell"):
            assert (await show(gateway, f"demo-x-{person}"))["state"] == "running", person
            gateway.nbgate("notebook", "stop", f"demo-x-{person}")


async def test_a_projects_check_may_veto(gateway: GatewayProcess) -> None:
    gateway.nbgate("project", "add", "jobs", "--still-busy", "test -e job")
    async with opened(gateway, "ann", "jobs") as (client, base):
        body = {"type": "file", "format": "text", "content": ""}
        async with client.put(f"{base}api/contents/job", json=body) as answer:
            assert answer.status == 201
        async with opened(gateway, "vic") as (other, other_base):
            await forgotten_until_it_is_cold(other, other_base)
        assert (await show(gateway, "jobs-x-ann"))["state"] == "running"
        await until(lambda: culled(gateway, "vetoed") > 0)
        async with client.delete(f"{base}api/contents/job") as answer:
            assert answer.status == 204
    await until_it_is(gateway, "jobs-x-ann", state="cold")


async def test_a_paused_notebook_has_its_memory_still(gateway: GatewayProcess) -> None:
    gateway.nbgate("project", "add", "tiers", "--idle-timeout", "10m")
    slug = "tiers-x-eve"
    async with opened(gateway, "eve", "tiers") as (client, base):
        kernel = await begin(client, base, "answer = 42\n" + WAIT_FOR_A_FILE)
        body = {"type": "file", "format": "text", "content": ""}
        async with client.put(f"{base}api/contents/over", json=body) as answer:
            assert answer.status == 201
        before = await show(gateway, slug)
        # Only now, and not for longer: it would be paused while its kernel starts, or answers.
        gateway.nbgate("project", "update", "tiers", "--pause-after", "3s")
        await until_it_is(gateway, slug, state="cold", container_id=before["container_id"])
        gateway.nbgate("project", "update", "tiers", "--pause-after", "default")
        assert await poll(client, f"{base}api/kernels") == 424
        async with client.get(f"{base}api/kernels") as answer:
            assert [one["id"] for one in await answer.json()] == [kernel]
        assert await execute(client, base, "answer", kernel) == "42"
    after = await show(gateway, slug)
    assert after["generation"] == before["generation"]
    assert culled(gateway, "paused") > 0


async def test_a_stopped_notebook_that_is_kept_is_removed_in_its_time(
    gateway: GatewayProcess,
) -> None:
    gateway.nbgate("project", "add", "kept", "--idle-timeout", "4s", "--remove-after", "4s")
    async with opened(gateway, "fay", "kept"):
        started = await show(gateway, "kept-x-fay")
        await until_it_is(gateway, "kept-x-fay", state="cold", container_id=started["container_id"])
    await until_it_is(gateway, "kept-x-fay", state="cold", container_id=None)
    assert culled(gateway, "removed") > 0


def test_a_locked_notebook_is_left_alone(gateway: GatewayProcess) -> None:
    gateway.nbgate("project", "add", "exam", "--idle-timeout", "2s", "--warning", "0")
    gateway.nbgate("notebook", "create", "exam-1", "--project", "exam", "--owner", "gil")
    gateway.nbgate("notebook", "lock", "exam-1", "--reason", "exam until Friday")
    gateway.nbgate("notebook", "start", "exam-1")
    said = "left alone: notebook 'exam-1' is locked"
    while said not in gateway.log.read_text():
        assert json.loads(gateway.nbgate("notebook", "show", "exam-1", "--json"))["lock"]
    assert gateway.show("exam-1")["state"] == "running"
    gateway.nbgate("notebook", "unlock", "exam-1")
