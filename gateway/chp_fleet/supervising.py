"""The process that `nbgate-proxy --workers N` becomes: it holds the sockets, and owns the children.

It imports nothing of what they do, so that it stays small.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import secrets
import socket
import sys
from dataclasses import asdict
from typing import Any

from gateway.chp import logs
from gateway.chp.options import Options, Place
from gateway.chp.pidfile import write_pid
from gateway.chp.signals import STOPPED, heed
from gateway.chp.sockets import told, unix_socket
from gateway.chp.tls import client_context, server_context
from gateway.chp_fleet.journal import memories
from gateway.chp_fleet.passing import Passed
from gateway.workers.supervisor import ControlSeat, Plan, Supervisor, WorkerSeat

_BACKLOG = 1024
_MISSING = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def run(options: Options) -> int:
    """Run the supervisor until SIGTERM or SIGINT; return the exit code.

    Raises:
        InvalidInput: the public address cannot be had, or a file not be used.
    """
    logs.configure(options.log_level)
    _check(options)
    with contextlib.ExitStack() as stack:
        listeners = _listeners(options.public, stack)
        write_pid(options.pid_file, stack)
        code = asyncio.run(_supervise(options, listeners))
    return code or STOPPED


async def _supervise(options: Options, listeners: list[socket.socket]) -> int:
    with _control_socket() as control:
        plan = _plan(options, control, memories())
        return await Supervisor(plan, listeners).run(heed)


def _plan(options: Options, control: socket.socket, journal: tuple[int, int]) -> Plan:
    name = control.getsockname()
    passed = Passed(options, secrets.token_hex(16), _text(name))

    def control_command(seat: ControlSeat) -> list[str]:
        told = {"lifeline": seat.lifeline, "before": seat.before}
        told |= {"listener": control.fileno(), "journal": journal}
        return [sys.executable, "-m", "gateway.chp_fleet.control", json.dumps(told)]

    def worker_command(seat: WorkerSeat) -> list[str]:
        return [sys.executable, "-m", "gateway.chp_fleet.worker", json.dumps(asdict(seat))]

    return Plan(
        workers=options.workers,
        control_command=control_command,
        worker_command=worker_command,
        control_environment=passed.environment(os.environ),
        worker_environment=passed.without_token().environment(os.environ),
        control_descriptors=(control.fileno(), *journal),
    )


def _control_socket() -> socket.socket:
    """Return the socket where workers find control. Its name is in no directory (unix(7)).

    It stays open over a control's end, so that no other program can take the name then.
    """
    control = socket.socket(socket.AF_UNIX)
    control.bind(f"\0nbgate-proxy-{secrets.token_hex(8)}")
    control.listen(_BACKLOG)
    control.setblocking(False)
    return control


def _text(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode("ascii")


def _check(options: Options) -> None:
    """Raise InvalidInput for what no child could use: here it is one line, not one from each."""
    if options.tls.given:
        server_context(options.tls)
    if options.client_tls.given or options.client_tls.ca:
        client_context(options.client_tls)


def _listeners(place: Place, stack: contextlib.ExitStack) -> list[socket.socket]:
    """Return sockets that listen on all addresses that a place stands for. Raises InvalidInput."""
    if place.path:
        listeners = [unix_socket(place.path, stack)]
    else:
        with told(place):
            listeners = _bound(place)
    for listener in listeners:
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    return listeners


def _bound(place: Place) -> list[socket.socket]:
    """Return the sockets of a host and port; what this machine does not have is left out."""
    found = socket.getaddrinfo(
        place.host or None, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    bound, missing = [], OSError(errno.EADDRNOTAVAIL, "no address")
    for family, where in dict.fromkeys((family, where) for family, _, _, _, where in found):
        try:
            bound.append(_bound_to(family, where))
        except OSError as error:
            if error.errno not in _MISSING:
                for listener in bound:
                    listener.close()
                raise
            missing = error
    if not bound:
        raise missing
    return bound


def _bound_to(family: int, where: tuple[Any, ...]) -> socket.socket:
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(where)
    except OSError:
        listener.close()
        raise
    return listener
