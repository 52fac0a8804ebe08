"""compose.yaml brought up on a real engine: from nothing to a notebook, through httpd."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from docker.models.containers import Container

from tests.front.stack import (
    BUILDS,
    PREFIX,
    PROJECT,
    SUBNET,
    TLS_GROUP,
    Stack,
    container_of,
    serve_https,
    take_down,
    until_certificate_is,
    until_healthy,
    users_of_what_serves,
)
from tests.proxy.certificates import make_pair
from tests.support.browser import browser_page, run_first_cell, screenshot
from tests.support.engine import CACHE, ROOT, EngineHandle, Say, locked
from tests.support.gateway import PATIENT, ask_at_once, execute, signed_in
from tests.support.images import make_prometheus_image
from tests.support.places import free_port
from tests.support.prometheus import until_up, values
from tests.support.waiting import PATIENCE


@pytest.fixture(scope="module")
def stack(
    compose: list[str],
    engine: EngineHandle,
    base_image: str,
    notebook_image: str,
    engine_progress: Say,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    builds = tmp_path_factory.mktemp("compose") / "builds.yaml"
    builds.write_text(BUILDS)
    port = free_port()
    clean = {name: text for name, text in os.environ.items() if not name.startswith("NBGATE_")}
    environment = clean | {
        **PATIENT,
        "DOCKER_HOST": engine.url,
        "DOCKER_BUILDKIT": "0",
        "NBGATE_DOCKER_SOCKET": engine.url.removeprefix("unix://"),
        "NBGATE_PYTHON_IMAGE": base_image,
        "NBGATE_DEBIAN_IMAGE": base_image,
        "NBGATE_PROMETHEUS_IMAGE": make_prometheus_image(engine, engine_progress),
        "NBGATE_PUBLISH": f"127.0.0.1:{port}",
        "NBGATE_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "NBGATE_FRONT_PREFIX": PREFIX,
        "NBGATE_NETWORK_SUBNET": SUBNET,
    }
    files = ["-f", str(ROOT / "compose.yaml"), "-f", str(builds)]
    # Another run of the tests would bring up a stack of the same names and addresses.
    with (
        locked(CACHE / "compose.lock", engine_progress),
        contextlib.closing(engine.client()) as client,
    ):
        command = [*compose, *files, "--project-directory", str(ROOT), "-p", PROJECT]
        made = Stack(command, environment, f"http://127.0.0.1:{port}", client)
        try:
            try:
                made.compose("up", "--detach", "--build")
                until_healthy(made)
            except AssertionError as error:
                logs = made.compose("logs", "--no-color", "--tail", "50")
                raise RuntimeError(f"the stack did not come up:\n{logs}") from error
            yield made
        finally:
            take_down(made)


async def test_people_reach_the_gateway_through_httpd(stack: Stack) -> None:
    async with aiohttp.ClientSession() as session, session.get(stack.url) as response:
        assert response.status == 200
        assert "nbgate" in await response.text()


async def test_httpd_answers_by_itself_while_the_gateway_is_stopped(stack: Stack) -> None:
    stack.compose("stop", "gateway")
    try:
        async with aiohttp.ClientSession() as session, session.get(stack.url) as response:
            assert response.status == 503
            assert "does not answer now" in await response.text()
    finally:
        stack.compose("start", "gateway")
        until_healthy(stack)


@pytest.fixture(scope="module")
def prometheus(stack: Stack) -> Iterator[str]:
    """The origin of the Prometheus of the profile `metrics`."""
    profile = ["--profile", "metrics"]
    stack.compose(*profile, "up", "--detach", "prometheus")
    yield f"http://{PREFIX}.2:9090"
    stack.compose(*profile, "rm", "--stop", "--force", "prometheus")


async def until_health_is(stack: Stack, service: str, wanted: str) -> None:
    """Wait for what the engine says of a service's health check."""
    health: Any = None
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                health = container_of(stack, service).attrs["State"]["Health"]
                if health["Status"] == wanted:
                    return
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"{service} is not {wanted}: {health}") from None


async def test_prometheus_is_healthy_and_reads_the_gateway(stack: Stack, prometheus: str) -> None:
    await until_health_is(stack, "prometheus", "healthy")
    assert (await until_up(prometheus))["scrapeUrl"] == "http://127.0.0.1:8001/gateway/metrics"
    notebooks = await values(prometheus, "sum by (state) (nbgate_notebooks)")
    assert notebooks.keys() >= {"cold", "running"}


async def test_prometheus_reads_on_after_the_gateway_was_restarted(
    stack: Stack, prometheus: str
) -> None:
    stack.compose("restart", "gateway")
    until_healthy(stack)
    await until_up(prometheus)
    await until_health_is(stack, "prometheus", "healthy")


async def test_management_is_not_reachable_from_outside(stack: Stack) -> None:
    async with aiohttp.ClientSession() as session:
        for path in ("/gateway/api/", "/gateway/metrics"):
            async with session.get(stack.url + path) as response:
                assert response.status in (401, 403, 404), path


def test_notebook_image_is_built_from_inside(stack: Stack) -> None:
    """The build itself; its layers are those that the stack's own build has left in the cache."""
    tag, base = "nbgate-front-test/jupyter:inside", stack.environment["NBGATE_PYTHON_IMAGE"]
    said = stack.nbgate("image", "build", "--tag", tag, "--base-image", base)
    try:
        assert said.splitlines()[-1] == tag
        made = stack.client.images.get(tag)
        assert made.labels["org.nbgate.image"] == "1"
        ours = stack.client.images.get("nbgate/jupyter:latest")
        assert made.attrs["Config"]["Entrypoint"] == ours.attrs["Config"]["Entrypoint"]
    finally:
        stack.client.images.remove(tag)


def test_nothing_that_serves_is_root(stack: Stack) -> None:
    for service, user in (("gateway", "1000"), ("httpd", "10001")):
        assert set(users_of_what_serves(container_of(stack, service))) == {user}, service


@pytest.fixture(scope="module")
def course(stack: Stack) -> Stack:
    """The stack with the demo course."""
    stack.nbgate("project", "add", "demo", "--source", "/usr/share/nbgate/demo")
    return stack


@pytest.mark.browser
async def test_printed_url_ends_on_a_notebook_that_computes(course: Stack) -> None:
    link = course.nbgate(
        "notebook", "url", "--project", "demo", "--person", "bob", "first-steps.ipynb"
    )
    async with browser_page() as page:
        await page.goto(link)
        await run_first_cell(page, "5050")
        await screenshot(page, "notebook-production")
        assert page.url.startswith(f"{course.url}/nb/demo-x-bob/lab")


async def test_simultaneous_calls_start_exactly_one_container(course: Stack) -> None:
    link = course.nbgate("notebook", "url", "--project", "demo", "--person", "lee")
    base = f"{course.url}/nb/demo-x-lee/"
    async with signed_in(link) as client:
        answers = await ask_at_once(client, base)
        assert answers == [200] * 20 + [101] * 5
        assert await execute(client, base, "6 * 7") == "42"
    record = json.loads(course.nbgate("notebook", "show", "demo-x-lee", "--json"))
    assert record["generation"] == 1
    assert record["internal_url"].startswith("http://10.213.32.")
    assert record["port"] is None
    everything = course.client.containers.list(all=True, filters={"name": "^/demo-x-lee$"})
    assert [one.id for one in everything] == [record["container_id"]]


async def test_direct_links_are_refused_with_the_reason(course: Stack) -> None:
    with pytest.raises(AssertionError, match="dev mode only"):
        course.nbgate("notebook", "url", "--project", "demo", "--person", "lee", "--direct")


async def test_cold_notebook_opens_through_httpd(course: Stack) -> None:
    stack = course
    link = stack.nbgate("notebook", "url", "--project", "demo", "--person", "alice")
    assert link.startswith(stack.url)
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        async with session.get(link, allow_redirects=False) as response:
            assert response.status in (302, 303), await response.text()
        async with session.get(f"{stack.url}/nb/demo-x-alice/api/status") as response:
            assert response.status == 200, await response.text()
            assert "kernels" in await response.json()
        async with session.get(f"{stack.url}/nb/demo-x-alice/lab") as response:
            assert "JupyterLab" in await response.text()
    async with (
        aiohttp.ClientSession() as stranger,
        stranger.get(f"{stack.url}/nb/demo-x-alice/api/status") as response,
    ):
        assert response.status == 401


def serve_directly(stack: Stack) -> None:
    """Bring the stack up again with an httpd that serves hot notebooks to their owners itself."""
    stack.environment.update(NBGATE_HTTPD_DIRECT="true")
    stack.compose("up", "--detach")
    until_healthy(stack)


async def until_httpd_is_on_the_notebooks_network(stack: Stack) -> None:
    labels = ["org.nbgate.role=httpd", f"com.docker.compose.project={PROJECT}"]
    async with asyncio.timeout(PATIENCE):
        while True:
            (httpd,) = stack.client.containers.list(filters={"label": labels})
            if any(map(is_of_notebooks, networks(httpd))):
                return
            await asyncio.sleep(0.2)


async def until_httpd_serves(stack: Stack, client: aiohttp.ClientSession, url: str) -> None:
    """Ask until httpd's log says that it has asked the notebook itself: maps follow in a moment."""
    httpd = container_of(stack, "httpd")
    async with asyncio.timeout(PATIENCE):
        for number in itertools.count():
            mark = f"asked-{number}"
            async with client.get(url, headers={"X-Request-ID": mark}) as answer:
                assert answer.status == 200
            line = ""
            while not line:
                said = await asyncio.to_thread(httpd.logs, tail=50)
                ours = (one for one in said.decode().splitlines() if one.endswith(f"={mark}"))
                line = next(ours, "")
            if "direct=- " not in line:
                return


def is_of_notebooks(network: str) -> bool:
    return network.startswith("nbgate-") and network.count("-") == 1


def networks(container: Container) -> list[str]:
    return list(container.attrs["NetworkSettings"]["Networks"])


async def test_hot_notebook_works_through_httpd_while_the_gateway_is_stopped(
    course: Stack,
) -> None:
    serve_directly(course)
    link = course.nbgate("notebook", "url", "--project", "demo", "--person", "alice")
    course.nbgate("notebook", "start", "demo-x-alice")
    await until_httpd_is_on_the_notebooks_network(course)
    base = f"{course.url}/nb/demo-x-alice/"
    async with signed_in(link) as alice:
        await until_httpd_serves(course, alice, f"{base}api/status")
        course.compose("stop", "gateway")
        try:
            async with aiohttp.ClientSession() as stranger, stranger.get(f"{base}lab") as answer:
                assert answer.status == 503
            async with alice.get(f"{base}api/me") as answer:
                assert (await answer.json())["identity"]["name"] == "alice"
            assert await execute(alice, base, "6 * 7") == "42"
        finally:
            course.compose("start", "gateway")
            until_healthy(course)


async def test_joining_the_notebooks_network_breaks_no_connection(course: Stack) -> None:
    """The gateway puts httpd on it while people are there: httpd was made anew, or the network."""
    await until_httpd_is_on_the_notebooks_network(course)
    httpd = container_of(course, "httpd")
    (name,) = (name for name in networks(httpd) if is_of_notebooks(name))
    address = httpd.attrs["NetworkSettings"]["Networks"][name]["IPAddress"]
    network = course.client.networks.get(name)
    parts = urlsplit(course.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    ask = b"GET /.nbgate-httpd HTTP/1.1\r\nHost: localhost\r\n\r\n"
    try:
        for change in (
            lambda: None,
            lambda: network.disconnect(httpd),
            lambda: network.connect(httpd, ipv4_address=address),
        ):
            await asyncio.to_thread(change)
            writer.write(ask)
            async with asyncio.timeout(PATIENCE):
                assert b" 204 " in await reader.readuntil(b"\r\n\r\n"), change
    finally:
        writer.close()


async def test_notebook_works_over_https_and_a_renewal_is_followed(
    course: Stack, tmp_path: Path
) -> None:
    assert "plain http" in course.compose("logs", "--no-color", "gateway")
    pair = serve_https(course, tmp_path)
    await until_httpd_is_on_the_notebooks_network(course)
    link = course.nbgate("notebook", "url", "--project", "demo", "--person", "tess")
    assert link.startswith("https://")
    base = f"{course.environment['NBGATE_PUBLIC_URL']}/nb/demo-x-tess/"
    connector = aiohttp.TCPConnector(ssl=pair.client())
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=jar) as client:
        async with client.get(link, allow_redirects=False) as answer:
            cookies = answer.headers.getall("Set-Cookie")
        assert cookies[0].startswith("__Host-nbgate=")  # with httpd direct, one for httpd comes too
        assert all("; Secure; HttpOnly; SameSite=None; Partitioned" in one for one in cookies)
        assert await execute(client, base, "6 * 7") == "42"
        renewed = make_pair(tmp_path, "second")
        renewed.put(tmp_path / "live" / "fullchain.pem", tmp_path / "live" / "privkey.pem")
        (tmp_path / "live" / "privkey.pem").chmod(0o640)
        os.chown(tmp_path / "live" / "privkey.pem", 0, TLS_GROUP)
        await until_certificate_is(base, renewed)
