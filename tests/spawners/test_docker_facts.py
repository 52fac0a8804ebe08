from __future__ import annotations

from typing import Any

import pytest

from gateway.spawners.base import Server, ServerState
from gateway.spawners.docker_facts import (
    assigned_address,
    belongs_to,
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
ENDPOINT = {"IPAddress": "10.0.0.16", "IPAMConfig": {"IPv4Address": "10.0.0.16"}}


def inspected(status: str = "running", port: str | None = "32768", **state: Any) -> dict[str, Any]:
    ports = {"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}]} if port else {}
    return {
        "Id": "c1",
        "Config": {"Labels": LABELS},
        "State": {"Status": status, "ExitCode": 0, **state},
        "NetworkSettings": {"Ports": ports, "Networks": {NETWORK: ENDPOINT}},
    }


def test_dev_server_is_at_its_published_port() -> None:
    server = server_from_inspect(inspected(), NETWORK, prod=False)

    assert server == Server(
        "c1", "demo", 7, ServerState.RUNNING, Target("127.0.0.1", 32768), port=32768
    )


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


def test_summary_tells_the_same_as_inspection() -> None:
    summary = {
        "Id": "c1",
        "Labels": LABELS,
        "State": "running",
        "Ports": [{"IP": "127.0.0.1", "PrivatePort": 8888, "PublicPort": 32768, "Type": "tcp"}],
        "NetworkSettings": {"Networks": {NETWORK: ENDPOINT}},
    }

    for prod in (True, False):
        assert server_from_summary(summary, NETWORK, prod=prod) == server_from_inspect(
            inspected(), NETWORK, prod=prod
        )


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("created", ServerState.CREATED),
        ("running", ServerState.RUNNING),
        ("paused", ServerState.RUNNING),
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
    assert belongs_to(LABELS, "x", "demo")
    assert not belongs_to(LABELS, "y", "demo")
    assert not belongs_to(LABELS, "x", "other")
    assert not belongs_to(None, "x", "demo")
