from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.spawners.base import Server, ServerState
from gateway.spawners.docker_facts import (
    assigned_address,
    belongs_to,
    has_own_name,
    reason_of,
    server_from_inspect,
    server_from_summary,
    state_of,
)
from routes.keys import Target

NETWORK = "nbgate-x"
LABELS = {
    "org.nbgate.installation": "x",
    "org.nbgate.slug": "demo",
    "org.nbgate.generation": "7",
}
STARTED = "2026-03-01T12:00:01.123456789+02:00"
CREATED = datetime(2026, 3, 1, 10, tzinfo=UTC)
ENDPOINT = {"IPAddress": "10.0.0.16", "IPAMConfig": {"IPv4Address": "10.0.0.16"}}


def inspected(status: str = "running", port: str | None = "32768", **state: Any) -> dict[str, Any]:
    ports = {"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}]} if port else {}
    return {
        "Id": "c1",
        "Name": "/demo",
        "Created": "2026-03-01T10:00:00Z",
        "Config": {"Labels": LABELS},
        "State": {"Status": status, "ExitCode": 0, "StartedAt": STARTED, **state},
        "NetworkSettings": {"Ports": ports, "Networks": {NETWORK: ENDPOINT}},
    }


def test_dev_server_is_at_its_published_port() -> None:
    server = server_from_inspect(inspected(), NETWORK, prod=False)

    assert server == Server(
        "c1",
        "demo",
        7,
        ServerState.RUNNING,
        Target("127.0.0.1", 32768),
        port=32768,
        status="running",
        started=datetime(2026, 3, 1, 10, 0, 1, 123456, UTC),
        created=CREATED,
    )


def test_container_that_never_ran_was_never_started() -> None:
    data = inspected("created", StartedAt="0001-01-01T00:00:00Z")

    assert server_from_inspect(data, NETWORK, prod=False).started is None


def test_paused_server_keeps_its_target() -> None:
    server = server_from_inspect(inspected("paused"), NETWORK, prod=False)

    assert (server.state, server.status) == (ServerState.PAUSED, "paused")
    assert server.target == Target("127.0.0.1", 32768)


def test_prod_server_is_at_its_address_even_if_it_was_published() -> None:
    server = server_from_inspect(inspected(), NETWORK, prod=True)

    assert server.target == Target("10.0.0.16", 8888)
    assert (server.port, server.internal_url) == (None, "http://10.0.0.16:8888")


def test_server_made_in_prod_mode_is_reached_from_a_dev_gateway() -> None:
    server = server_from_inspect(inspected(port=None), NETWORK, prod=False)

    assert server.target == Target("10.0.0.16", 8888)


def test_exited_server_has_no_target_but_a_reason() -> None:
    server = server_from_inspect(
        inspected("exited", ExitCode=137, OOMKilled=True), NETWORK, prod=False
    )

    assert server.target is None
    assert (server.exit_code, server.reason) == (137, "out of memory")


def test_summary_tells_the_same_as_inspection_but_for_the_start() -> None:
    summary = {
        "Id": "c1",
        "Labels": LABELS,
        "State": "running",
        "Created": int(CREATED.timestamp()),
        "Ports": [{"IP": "127.0.0.1", "PrivatePort": 8888, "PublicPort": 32768, "Type": "tcp"}],
        "NetworkSettings": {"Networks": {NETWORK: ENDPOINT}},
    }

    for prod in (True, False):
        inspection = server_from_inspect(inspected(), NETWORK, prod=prod)
        assert server_from_summary(summary, NETWORK, prod=prod) == replace(inspection, started=None)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("created", ServerState.CREATED),
        ("running", ServerState.RUNNING),
        ("paused", ServerState.PAUSED),
        ("removing", ServerState.REMOVING),
        ("exited", ServerState.EXITED),
        ("dead", ServerState.EXITED),
    ],
)
def test_engine_states_have_words_of_ours(status: str, state: ServerState) -> None:
    assert state_of(status) is state


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"ExitCode": 0}, ""),
        ({"ExitCode": 1}, "ended with status 1"),
        ({"ExitCode": 137}, "killed"),
        ({"ExitCode": 137, "OOMKilled": True}, "out of memory"),
        ({"ExitCode": 127, "Error": "no such file\nmore"}, "no such file"),
    ],
)
def test_reason_is_one_line(state: dict[str, Any], reason: str) -> None:
    assert reason_of(state) == reason


def test_assigned_address_is_known_of_exited_containers() -> None:
    data = inspected("exited")
    data["NetworkSettings"]["Networks"][NETWORK] = {
        "IPAddress": "",
        "IPAMConfig": {"IPv4Address": "10.0.0.16"},
    }

    assert assigned_address(data, NETWORK) == "10.0.0.16"
    assert assigned_address(data, "other") == ""


def test_container_of_another_installation_or_slug_is_not_ours() -> None:
    ours = inspected()
    bare = {**ours, "Config": {"Labels": None}}

    assert belongs_to(ours, "x", "demo")
    assert not belongs_to(ours, "y", "demo")
    assert not belongs_to(ours, "x", "other")
    assert not belongs_to(bare, "x", "demo")


def test_container_that_was_set_aside_is_its_slugs_server_no_more() -> None:
    assert not belongs_to({**inspected(), "Name": "/demo-gone-c1"}, "x", "demo")
    assert not has_own_name({"Labels": LABELS, "Names": ["/demo-gone-c1"]})
    assert has_own_name({"Labels": LABELS, "Names": ["/demo"]})
