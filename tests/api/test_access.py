"""Who may talk to the management API, and how refusals look."""

from __future__ import annotations

import io
import logging

import pytest

from gateway.api.middleware import is_own_host
from tests.api.conftest import Client
from tests.api.support import TOKEN, World

API = "/gateway/api/"


@pytest.mark.parametrize("path", ["/gateway/health", "/gateway/metrics"])
async def test_health_and_metrics_need_no_token(stranger: Client, path: str) -> None:
    assert (await stranger.get(path)).status == 200


async def test_metrics_are_in_the_prometheus_text_format(stranger: Client) -> None:
    response = await stranger.get("/gateway/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert await response.read() == b"nbgate_routes 0\n"


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", "Bearer t\udcffken"]
)
async def test_without_the_token_every_call_is_401(
    stranger: Client, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    for path in (API, f"{API}notebooks", "/gateway/api/nothing"):
        response = await stranger.get(path, headers=headers)
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="nbgate"'
        assert response.content_type == "application/problem+json"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "token", "Token"])
async def test_token_is_taken_under_both_schemes(stranger: Client, scheme: str) -> None:
    response = await stranger.get(API, headers={"Authorization": f"{scheme} {TOKEN}"})
    assert await response.json() == {
        "name": "nbgate",
        "version": "1.2.3",
        "installation": "0123abcd",
        "spawner": "process",
        "mode": "dev",
    }


async def test_a_rebound_host_name_is_refused_even_with_the_token(client: Client) -> None:
    for path in (API, "/gateway/metrics"):
        response = await client.get(path, headers={"Host": "evil.example.com"})
        assert response.status == 421


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1:8001", True),
        ("[::1]:8001", True),
        ("localhost", True),
        ("LOCALHOST.:8001", True),
        ("nb.localhost", True),
        ("gateway:8001", True),
        ("admin.example.org:8001", True),
        ("evil.example.com", False),
        ("localhost.evil.example.com", False),
        ("127.0.0.1.evil.example.com", False),
        ("", False),
        ("[::1", False),
    ],
)
def test_own_hosts_are_those_that_nobody_can_rebind(host: str, own: bool) -> None:
    assert is_own_host(host, frozenset({"admin.example.org"})) is own


async def test_unknown_paths_and_methods_are_problems(client: Client) -> None:
    response = await client.get("/gateway/api/nothing")
    assert (response.status, response.content_type) == (404, "application/problem+json")
    assert "/gateway/api/nothing" in (await response.json())["detail"]
    response = await client.delete("/gateway/api/notebooks")
    assert response.status == 405
    assert response.headers["Allow"] == "GET,HEAD,POST"
    assert "GET" in (await response.json())["detail"]


async def test_bodies_that_are_no_json_object_are_refused(client: Client) -> None:
    url, json_type = f"{API}projects", {"Content-Type": "application/json"}
    response = await client.post(url, data=b"name=demo")
    assert response.status == 415
    response = await client.post(url, data=b"{", headers=json_type)
    assert response.status == 400
    assert "not JSON" in (await response.json())["detail"]
    response = await client.post(url, data=b"[]", headers=json_type)
    assert response.status == 400
    large = io.BytesIO(b'{"title": "' + b"a" * 2**20)
    response = await client.post(url, data=large, headers=json_type)
    assert response.status == 413
    assert response.content_type == "application/problem+json"


async def test_request_id_is_kept_or_made(client: Client) -> None:
    given = await client.get(API, headers={"X-Request-ID": "abc-123"})
    assert given.headers["X-Request-ID"] == "abc-123"
    made = await client.get(API, headers={"X-Request-ID": "a b\tc"})
    assert len(made.headers["X-Request-ID"]) == 32


async def test_unknown_errors_are_logged_and_never_shown(
    client: Client,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def break_down() -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(world.catalogue, "projects", break_down)
    with caplog.at_level(logging.ERROR):
        response = await client.get(f"{API}projects", headers={"X-Request-ID": "abc-123"})
    assert response.status == 500
    assert "hunter2" not in await response.text()
    assert "hunter2" in caplog.text
    assert "request_id=abc-123" in caplog.text
