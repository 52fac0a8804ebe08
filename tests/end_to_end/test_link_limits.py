"""What bounds people whom nothing proves, in a running gateway: the settings, and the metrics."""

from __future__ import annotations

from collections.abc import Iterator

import aiohttp
import pytest

from tests.support.gateway import ROOT, GatewayProcess, running

FILE = "first-steps.ipynb"


@pytest.fixture(scope="module", params=["0", "2"], ids=["one process", "two workers"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """Its course takes plain links, and whoever tries it: two new ids in an hour, one visitor."""
    settings = {"plain_ids_per_hour": "2", "anonymous_limit": "1", "workers": request.param}
    with running(tmp_path_factory.mktemp("limits") / "state", **settings) as process:
        source = str(ROOT / "examples" / "demo")
        words = ("--source", source, "--links", "plain", "--anonymous")
        process.nbgate("project", "add", "open", *words)
        yield process


def browser() -> aiohttp.ClientSession:
    jar = aiohttp.CookieJar(unsafe=True)
    return aiohttp.ClientSession(headers={"Accept": "text/html"}, cookie_jar=jar)


async def arrival(gateway: GatewayProcess, client: aiohttp.ClientSession, path: str) -> str | int:
    """Follow a link; return the notebook that it leads to, or the status of what is said."""
    for _ in range(8):
        async with client.get(gateway.url + path, allow_redirects=False) as answer:
            path = answer.headers.get("Location", "")
            if answer.status == 429:
                assert int(answer.headers["Retry-After"]) > 0
            if not path or path.startswith("/nb/"):
                return path.split("/")[2] if path else answer.status
    raise AssertionError(path)


async def metrics(gateway: GatewayProcess) -> str:
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{gateway.management_url}/gateway/metrics") as answer,
    ):
        return await answer.text()


async def test_course_takes_so_many_new_ids(gateway: GatewayProcess) -> None:
    link = f"/ipythonExercice/open/{FILE}"
    async with browser() as mary, browser() as bob, browser() as late:
        first = await arrival(gateway, mary, f"{link}/mary")
        assert first != await arrival(gateway, bob, f"{link}/bob")
        assert await arrival(gateway, late, f"{link}/x") == 429
        assert await arrival(gateway, mary, f"{link}/mary") == first
    assert 'nbgate_links_total{kind="plain",result="full"} 1.0' in await metrics(gateway)


async def test_studios_student_and_who_tries_it_are_counted_together(
    gateway: GatewayProcess,
) -> None:
    studio = f"/ipythonExercice/open/{FILE}/student"
    async with browser() as one, browser() as late:
        first = await arrival(gateway, one, studio)
        assert isinstance(first, str)
        assert await arrival(gateway, late, studio) == 429
        assert await arrival(gateway, late, "/gateway/try/open") == 429
        assert await arrival(gateway, one, studio) == first
    assert 'nbgate_links_total{kind="anonymous",result="full"} 2.0' in await metrics(gateway)
