"""What a worker is told at its start: so much of the settings as it needs, as JSON. Pure."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

from gateway.namespace import Namespace
from gateway.proxy.forwarded import Network
from gateway.proxy.interface import ProxyLimits


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Settings of a worker. It holds no secret: it is an argument of the process.

    Attributes:
        fleet: names the supervisor's run.
        listeners: descriptors of the listening sockets.
        board: descriptor of the board of all workers' numbers of connections.
        slot: this worker's place on it.
        workers: how many there are.
        lifeline: descriptor of the lifeline.
        control_socket: path of the control socket.
        pages_socket: path of the pages' socket.
        base_domain: see Namespace; so are the next two.
        port_suffix: see Namespace.
        scheme: see Namespace.
        hold_timeout: seconds a request waits for its notebook.
        drain_seconds: seconds that requests in flight have at a stop.
        head_bytes: see ProxyLimits; so are the next four, in seconds.
        head_timeout: see ProxyLimits.
        keepalive_timeout: see ProxyLimits.
        connect_timeout: see ProxyLimits.
        response_timeout: see ProxyLimits.
        tls_cert: see gateway.proxy.tls; None for plain HTTP.
        tls_key: see gateway.proxy.tls.
        access_log: form of the access log; workers append whole lines to one file.
        access_log_file: see gateway.proxy.accesslog.
        trusted: networks of proxies in front.
        user_headers: in which those name a person.
        log_level: least severe log lines that are shown.
        log_format: their form.
    """

    fleet: str
    listeners: tuple[int, ...]
    board: int
    slot: int
    workers: int
    lifeline: int
    control_socket: str
    pages_socket: str
    base_domain: str
    port_suffix: str
    scheme: str
    hold_timeout: float
    drain_seconds: float
    head_bytes: int
    head_timeout: float
    keepalive_timeout: float
    connect_timeout: float
    response_timeout: float
    tls_cert: str | None = None
    tls_key: str | None = None
    access_log: Literal["off", "combined", "json"] = "off"
    access_log_file: str = "-"
    trusted: tuple[str, ...] = ()
    user_headers: tuple[str, ...] = ()
    log_level: str = "info"
    log_format: Literal["text", "json"] = "text"

    def dump(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Self:
        """Return what `dump` wrote."""
        return cls(**json.loads(text))

    @property
    def namespace(self) -> Namespace:
        """Where notebooks live."""
        return Namespace(self.base_domain, self.port_suffix, self.scheme)

    @property
    def limits(self) -> ProxyLimits:
        """The bounds of the data path."""
        return ProxyLimits(
            head_bytes=self.head_bytes,
            head_timeout=self.head_timeout,
            keepalive_timeout=self.keepalive_timeout,
            connect_timeout=self.connect_timeout,
            response_timeout=self.response_timeout,
        )

    @property
    def networks(self) -> tuple[Network, ...]:
        """The trusted proxies as networks."""
        return tuple(ipaddress.ip_network(item) for item in self.trusted)

    @property
    def tls(self) -> tuple[Path | None, Path | None]:
        """The files of certificate and key."""
        if self.tls_cert is None or self.tls_key is None:
            return None, None
        return Path(self.tls_cert), Path(self.tls_key)

    @property
    def control_path(self) -> Path:
        """The control socket."""
        return Path(self.control_socket)

    @property
    def pages_path(self) -> Path:
        """The pages' socket."""
        return Path(self.pages_socket)
