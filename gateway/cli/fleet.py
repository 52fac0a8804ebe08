"""`nbgate serve --workers N`: from settings to what the supervisor starts.

It imports nothing of what control and the workers do: the supervisor stays small.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict
from urllib.parse import urlsplit

from gateway import logs
from gateway.errors import InvalidInput
from gateway.proxy.tls import load_pair
from gateway.settings import Settings, parse_address
from gateway.workers.options import WorkerOptions
from gateway.workers.supervisor import ControlSeat, Plan, Supervisor, WorkerSeat

_BACKLOG = 1024
_DRAIN_SECONDS = 10.0


def run(settings: Settings, program: Sequence[str] = ("gateway",)) -> int:
    """Run the supervisor; return the exit code.

    Args:
        settings: in force.
        program: the module, and arguments of its own, that has the command `control`.

    Raises:
        InvalidInput: the public address cannot be had, or the certificate not be used.
    """
    logs.configure(settings.log_level, settings.log_format)
    if settings.tls_cert is not None and settings.tls_key is not None:
        load_pair(settings.tls_cert, settings.tls_key)  # here it is one line, not one per worker
    listener = _listener(settings.listen)
    return asyncio.run(_supervise(_plan(settings, program), listener))


async def _supervise(plan: Plan, listener: socket.socket) -> int:
    return await Supervisor(plan, [listener]).run()


def _listener(address: str) -> socket.socket:
    """Return the public socket, listening: the first address that the host stands for."""
    host, port = parse_address(address)
    listener = None
    try:
        family, *_, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(_BACKLOG)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise InvalidInput(
            f"cannot listen on {address}: {error.strerror}; stop what uses it, or choose "
            f"another address with NBGATE_LISTEN"
        ) from error
    return listener


def _plan(settings: Settings, program: Sequence[str]) -> Plan:
    fleet = secrets.token_hex(8)
    clean = {name: text for name, text in os.environ.items() if not name.startswith("NBGATE_")}

    def control_command(seat: ControlSeat) -> list[str]:
        place = json.dumps({"fleet": fleet, **asdict(seat)})
        return [sys.executable, "-m", *program, "control", place]

    def worker_command(seat: WorkerSeat) -> list[str]:
        options = _worker_options(settings, fleet, seat)
        return [sys.executable, "-m", "gateway.workers.worker", options.dump()]

    return Plan(
        workers=settings.workers,
        control_command=control_command,
        worker_command=worker_command,
        control_environment=clean | _as_environment(settings),
        worker_environment=clean,
    )


def _as_environment(settings: Settings) -> dict[str, str]:
    """Return the settings in force as variables: control is to have the very same."""
    values = settings.model_dump(mode="json")
    return {f"NBGATE_{name.upper()}": str(v) for name, v in values.items() if v is not None}


def _worker_options(settings: Settings, fleet: str, seat: WorkerSeat) -> WorkerOptions:
    origin = urlsplit(settings.origin)
    by_host = settings.routing == "host"
    return WorkerOptions(
        fleet=fleet,
        **asdict(seat),
        workers=settings.workers,
        control_socket=str(settings.state_dir / "run" / "control.sock"),
        pages_socket=str(settings.state_dir / "run" / "pages.sock"),
        base_domain=settings.base_domain if by_host else "",
        port_suffix=f":{origin.port}" if by_host and origin.port else "",
        scheme=origin.scheme if by_host else "http",
        hold_timeout=settings.hold_timeout,
        drain_seconds=_DRAIN_SECONDS,
        head_bytes=settings.head_bytes,
        head_timeout=settings.head_timeout,
        keepalive_timeout=settings.keepalive_timeout,
        connect_timeout=settings.connect_timeout,
        response_timeout=settings.response_timeout,
        tls_cert=None if settings.tls_cert is None else str(settings.tls_cert),
        tls_key=None if settings.tls_key is None else str(settings.tls_key),
        access_log=settings.access_log,
        access_log_file=settings.access_log_file,
        trusted=tuple(map(str, settings.networks)),
        user_headers=settings.user_headers,
        log_level=settings.log_level,
        log_format=settings.log_format,
    )
