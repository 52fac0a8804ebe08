"""TLS, and an origin for each person: `--ssl-…`, `--redirect-port` and `--host-routing`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.hub import PROXY, Hub, folder_for_hub, on_loopback, running_hub
from tests.hub.manual import adapted, block
from tests.hub.person import ask_hub, browser, person
from tests.proxy.certificates import Pair, make_pair
from tests.support.places import free_port

DOMAIN = "hub.example.org"


@pytest.fixture(scope="module")
def redirect_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("tls")
    return make_pair(folder, "hub", names=f"DNS:{DOMAIN},DNS:*.{DOMAIN}")


@pytest.fixture(scope="module")
def hub(hub_environment: Path, pair: Pair, redirect_port: int) -> Iterator[Hub]:
    port = free_port()
    origin = f"https://{DOMAIN}:{port}"
    changes = {
        "https://0.0.0.0:443": f"https://127.0.0.1:{port}",
        "/etc/jupyterhub/fullchain.pem": str(pair.cert),
        "/etc/jupyterhub/privkey.pem": str(pair.key),
        "/opt/nbgate/bin/nbgate-proxy": PROXY,
        "--redirect-port=80": f"--redirect-port={redirect_port}",
    }
    config = adapted(block("TLS"), changes)
    config += adapted(block("An origin for each person"), {f"https://{DOMAIN}": origin})
    config += f"""
c.JupyterHub.hub_port = {free_port()}
c.ConfigurableHTTPProxy.api_url = "{on_loopback()}"
"""
    with (
        folder_for_hub() as folder,
        running_hub(Hub(folder, origin, hub_environment), config) as made,
    ):
        yield made


async def test_person_has_an_origin_and_computes_there(hub: Hub, pair: Pair) -> None:
    async with person(hub, "alice", trust=pair.client()) as alice:
        await alice.log_in()
        server = await alice.spawn()
        assert (server.scheme, server.host, server.path) == (
            "https",
            f"alice.{DOMAIN}",
            "/user/alice/",
        )
        assert await alice.run("print(6 * 7)") == "42\n"
        assert f"alice.{DOMAIN}/user/alice/" in await ask_hub(alice, "GET", "/proxy")


async def test_server_is_not_there_for_other_hosts(hub: Hub, pair: Pair) -> None:
    async with person(hub, "alice", trust=pair.client()) as alice:
        await alice.log_in()
        server = await alice.spawn()
        for host in (DOMAIN, f"bob.{DOMAIN}"):
            elsewhere = server.with_host(host) / "api/status"
            async with alice.session.get(elsewhere, allow_redirects=False) as answer:
                assert "Jupyter" not in answer.headers.get("Server", "")
                assert answer.status in (302, 404), await answer.text()
                assert "started" not in await answer.text()


async def test_cookies_are_for_https_alone(hub: Hub, pair: Pair) -> None:
    async with person(hub, "carol", trust=pair.client()) as carol:
        await carol.log_in()
        secure = {cookie.key: bool(cookie["secure"]) for cookie in carol.session.cookie_jar}
        assert secure.pop("jupyterhub-session-id")  # for the hub knows that it is served by https
        secure.pop("_xsrf")  # which it never marks
        assert all(secure.values())


async def test_http_is_sent_on_to_https(hub: Hub, redirect_port: int) -> None:
    async with browser() as anybody:
        address = f"http://{DOMAIN}:{redirect_port}/hub/login?next=/hub/home"
        async with anybody.get(address, allow_redirects=False) as answer:
            assert answer.status in (301, 302, 307, 308)
            assert answer.headers["Location"] == f"{hub.url}/hub/login?next=/hub/home"
