"""Getting a connection for a decision: the only awaits of a request.

Waiting for a notebook and connecting happen here; what is done with the connection is
exchange.py's.
"""

from __future__ import annotations

import errno
from typing import Final

from gateway.errors import PagesUnavailable, UpstreamTimeout, UpstreamUnreachable
from gateway.proxy.context import Context
from gateway.proxy.interface import Hold, Local, Refuse, Relay
from gateway.proxy.pool import Address
from gateway.proxy.upstream import Upstream

_LOCAL_FAULTS: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EPERM}
)


def from_pool(context: Context, relaying: Relay | Local, *, replayable: bool) -> Upstream | None:
    """Return a free connection for `relaying`; None when there is none."""
    address = _address(context, relaying)
    return None if address is None else context.pool.acquire(address, replayable=replayable)


async def obtain(
    context: Context, decision: Relay | Hold | Local, *, replayable: bool, fresh: bool
) -> tuple[Upstream, Relay | Local] | Refuse:
    """Return a connection and what it leads to, or a refusal.

    A target that does not accept is reported as suspect, and what comes of that is tried once. So
    is what became of a notebook that was stopped since the gate decided: its address may be
    another's by now.

    Args:
        context: shared.
        decision: the gate's.
        replayable: whether the request may be sent again.
        fresh: take no connection that was used before.

    Raises:
        UpstreamUnreachable: no connection.
        UpstreamTimeout: no connection in time.
    """
    may_suspect = True
    while True:
        relaying = await context.gate.awaken(decision) if isinstance(decision, Hold) else decision
        if isinstance(relaying, Refuse):
            return relaying
        try:
            _check_stands(context, relaying)
            upstream = None if fresh else from_pool(context, relaying, replayable=replayable)
            return upstream or await _connect(context, relaying), relaying
        except (UpstreamUnreachable, UpstreamTimeout) as error:
            blamed = may_suspect and _is_the_targets_fault(error)
            again = _suspected(context, relaying) if blamed else None
            if again is None:
                raise
            decision, may_suspect = again, False


async def _connect(context: Context, relaying: Relay | Local) -> Upstream:
    address = _address(context, relaying)
    if address is None:
        raise UpstreamUnreachable("the notebook is not running")
    try:
        upstream = await context.pool.connect(address)
    except UpstreamUnreachable as error:
        if isinstance(relaying, Local):
            raise PagesUnavailable from error
        raise
    try:
        _check_stands(context, relaying)
    except UpstreamUnreachable:
        upstream.abort()
        raise
    return upstream


def _check_stands(context: Context, relaying: Relay | Local) -> None:
    """Raise UpstreamUnreachable where a stop took the target out of use meanwhile."""
    if isinstance(relaying, Relay) and not context.gate.stands(relaying):
        raise UpstreamUnreachable("the notebook was stopped meanwhile")


def _is_the_targets_fault(error: Exception) -> bool:
    """Tell a target that does not accept from a fault on this side, e.g. no descriptors left."""
    cause = error.__cause__
    local = isinstance(cause, OSError) and cause.errno in _LOCAL_FAULTS
    return not local


def _suspected(context: Context, relaying: Relay | Local) -> Hold | None:
    return None if isinstance(relaying, Local) else context.gate.suspect(relaying)


def _address(context: Context, relaying: Relay | Local) -> Address | None:
    if isinstance(relaying, Local):
        return context.pages
    target = relaying.entry.target
    return None if target is None else target.socket or (target.host, target.port, target.scheme)
