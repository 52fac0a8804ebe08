"""The data path of this mode, as the options want it: one in each process that serves clients."""

from __future__ import annotations

import contextlib
from pathlib import Path

from gateway.chp.errorpages import ErrorPages
from gateway.chp.exchange import exchanges
from gateway.chp.gate import OpenGate, TimedGate
from gateway.chp.headers import Appending, PlainRules, Rewriting
from gateway.chp.options import Options, TlsFiles
from gateway.chp.tally import Tally
from gateway.chp.tls import client_context, renewing
from gateway.errors import InvalidInput
from gateway.proxy.context import Manner
from gateway.proxy.interface import Gate, ProxyLimits
from gateway.proxy.renewal import Renewed, follow
from gateway.proxy.server import ProxyServer
from gateway.traffic import Traffic
from routes.keys import InvalidTarget, Target, parse_target

DRAIN_SECONDS = 5.0
"""What requests in flight have at a stop."""

_CONNECT_SECONDS = 10.0


class DataPath:
    """See the module's docstring.

    Args:
        options: what the proxy was told.
        gate: finds routes.
        tally: this mode's counts; untouched where nobody asked for metrics.
        traffic: the data path's own counts.

    Attributes:
        server: the data path.
        pages: what people are told about errors.

    Raises:
        InvalidInput: an option cannot be used.
    """

    def __init__(self, options: Options, gate: OpenGate, tally: Tally, traffic: Traffic) -> None:
        self._upstream_tls = _renewed(options.client_tls)
        self.pages = ErrorPages(
            target_told(options.error_target, "--error-target") if options.error_target else None,
            Path(options.error_path) if options.error_path else None,
            lambda: self.server.pool.tls,
        )
        counted = options.metrics is not None
        timed: Gate = TimedGate(gate, tally.clock, tally.looked_up) if counted else gate
        self.server = ProxyServer(
            timed,
            _limits(options),
            None,
            traffic,
            manner=Manner(
                PlainRules(_rewriting(options)),
                Appending(enabled=options.x_forward, custom=options.custom_headers),
                exchanges(self.pages, tally if counted else None),
            ),
        )
        self._renew()

    def open(self, stack: contextlib.AsyncExitStack) -> None:
        """Follow the files of TLS towards targets, until the stack is left; close all then."""
        stack.push_async_callback(self.pages.close)
        if self._upstream_tls is not None:
            follow(self._upstream_tls, stack, self._renew)

    def _renew(self) -> None:
        """Speak TLS with targets by the files as they are now."""
        if self._upstream_tls is not None:
            self.server.pool.tls = self._upstream_tls.current


def target_told(text: str, flag: str) -> Target:
    """Return the target that a flag names. Raises InvalidInput."""
    try:
        return parse_target(text, tls=True)
    except InvalidTarget as error:
        raise InvalidInput(f"{flag}: {error}") from error


def _renewed(files: TlsFiles) -> Renewed | None:
    """Return a context for targets; None where the defaults do, which are costly to load."""
    wanted = files.given or files.ca or not files.verify
    return renewing(files, client_context) if wanted else None


def _rewriting(options: Options) -> Rewriting:
    return Rewriting(
        x_forward=options.x_forward,
        include_prefix=options.include_prefix,
        by_host=options.host_routing,
        change_origin=options.change_origin,
        custom=options.custom_headers,
        auto_rewrite=options.auto_rewrite,
        protocol=options.protocol_rewrite,
    )


def _limits(options: Options) -> ProxyLimits:
    bounds = [bound for bound in (options.timeout, options.proxy_timeout) if bound is not None]
    return ProxyLimits(
        keepalive_timeout=options.keep_alive_timeout,
        connect_timeout=min([_CONNECT_SECONDS, *bounds]),
        response_timeout=min(bounds, default=None),
    )
