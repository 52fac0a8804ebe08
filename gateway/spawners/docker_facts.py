"""What the engine's answers say about a server: from the Engine API's JSON to Server.

Pure functions, no I/O. Facts are read from labels, state and network settings, never from memory.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gateway.spawners.base import Server, ServerState
from gateway.spawners.docker_spec import (
    GENERATION,
    IMAGE_IS_OURS,
    INSTALLATION,
    PORT,
    PORT_KEY,
    SLUG,
)
from routes.keys import Target

Json = dict[str, Any]

_KILLED = 128 + 9
_STATES = {
    "created": ServerState.CREATED,
    "running": ServerState.RUNNING,
    "paused": ServerState.PAUSED,
    "restarting": ServerState.RUNNING,
    "removing": ServerState.REMOVING,
}


def state_of(status: str) -> ServerState:
    """Return our word for the engine's; `exited` and `dead` are both EXITED."""
    return _STATES.get(status, ServerState.EXITED)


def belongs_to(data: Json, installation: str, slug: str) -> bool:
    """Tell whether an inspected container is `installation`'s server for `slug`.

    It is under its own name alone: one that was set aside keeps its labels.
    """
    mine = data["Config"].get("Labels") or {}
    labelled = mine.get(INSTALLATION) == installation and mine.get(SLUG) == slug
    return labelled and data["Name"] == f"/{slug}"


def has_own_name(data: Json) -> bool:
    """Tell whether an item of a list is the server that its slug names; see belongs_to."""
    return f"/{(data.get('Labels') or {}).get(SLUG, '')}" in (data.get("Names") or ())


def is_dead(data: Json) -> bool:
    """Tell whether the engine failed to remove it: it can only be removed, never be started."""
    return bool(data["State"]["Status"] == "dead")


def moment(text: str) -> datetime | None:
    """Return a moment of the engine's in UTC; None for its zero, "never"."""
    found = datetime.fromisoformat(text) if text else None
    return None if found is None or found.year <= 1 else found.astimezone(UTC)


def server_from_inspect(data: Json, network: str, *, prod: bool) -> Server:
    """Return the facts of `GET /containers/<id>/json`.

    Args:
        data: the engine's answer.
        network: the notebooks' network.
        prod: whether the gateway reaches servers at their address on it; else at the published
            port, and at the address only where none is published.
    """
    state = state_of(data["State"]["Status"])
    settings = data["NetworkSettings"]
    bindings = (settings.get("Ports") or {}).get(PORT_KEY) or []
    endpoint = (settings.get("Networks") or {}).get(network) or {}
    ended = state is ServerState.EXITED
    return _server(
        data["Id"],
        data["Config"]["Labels"],
        state,
        port=int(bindings[0]["HostPort"]) if bindings and not prod else None,
        address=endpoint.get("IPAddress") or "",
        exit_code=data["State"].get("ExitCode") if ended else None,
        reason=reason_of(data["State"]) if ended else "",
        status=data["State"]["Status"],
        started=moment(data["State"].get("StartedAt") or ""),
        created=moment(data.get("Created") or ""),
    )


def server_from_summary(data: Json, network: str, *, prod: bool) -> Server:
    """Return the facts of one item of `GET /containers/json`, which tells no reason of an end.

    Arguments as for server_from_inspect.
    """
    published = [item for item in data.get("Ports") or [] if item.get("PrivatePort") == PORT]
    ports = [item["PublicPort"] for item in published if "PublicPort" in item]
    endpoint = ((data.get("NetworkSettings") or {}).get("Networks") or {}).get(network) or {}
    return _server(
        data["Id"],
        data["Labels"],
        state_of(data["State"]),
        port=ports[0] if ports and not prod else None,
        address=endpoint.get("IPAddress") or "",
        status=data["State"],
        created=datetime.fromtimestamp(data["Created"], UTC) if "Created" in data else None,
    )


def assigned_address(data: Json, network: str) -> str:
    """Return the address that was assigned when the container was made; "" for none.

    An exited container keeps it and needs it again when it is started. Works on both forms of
    the engine's answers.
    """
    endpoint = ((data.get("NetworkSettings") or {}).get("Networks") or {}).get(network) or {}
    return str((endpoint.get("IPAMConfig") or {}).get("IPv4Address") or "")


def reason_of(state: Json) -> str:
    """Return one line on why a container ended; "" when it ended well."""
    code = state.get("ExitCode", 0)
    if state.get("OOMKilled"):
        return "out of memory"
    if state.get("Error"):
        return str(state["Error"]).splitlines()[0]
    if code == _KILLED:
        return "killed"
    return f"ended with status {code}" if code else ""


def _server(
    identity: str,
    labels: Json,
    state: ServerState,
    *,
    port: int | None,
    address: str,
    status: str,
    created: datetime | None,
    started: datetime | None = None,
    exit_code: int | None = None,
    reason: str = "",
) -> Server:
    runs = state in (ServerState.RUNNING, ServerState.PAUSED)
    generation = str(labels.get(GENERATION, "0"))
    return Server(
        id=identity,
        slug=labels.get(SLUG, ""),
        generation=int(generation) if generation.isdigit() else 0,
        state=state,
        target=_target(port, address) if runs else None,
        port=port if runs else None,
        internal_url=f"http://{address}:{PORT}" if runs and address and not port else None,
        exit_code=exit_code,
        reason=reason,
        status=status,
        started=started,
        created=created,
        # A container has its image's labels, and of this prefix no others: see docker_spec.
        ours=labels.get(IMAGE_IS_OURS) == "1",
    )


def _target(port: int | None, address: str) -> Target | None:
    if port is not None:
        return Target("127.0.0.1", port)
    return Target(address, PORT) if address else None
