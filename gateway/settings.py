"""All settings: one pydantic-settings tree, read by app.py and cli/ alone.

A setting comes from a flag of `nbgate serve`, else from the environment (`NBGATE_…`), else from
the file named by NBGATE_CONFIG (`KEY=value` lines), else from its default here.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PlainSerializer, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gateway.errors import InvalidInput
from gateway.notebooks.names import RESERVED
from gateway.sizes import parse_bytes

__all__ = ["CommaList", "Network", "Settings", "load_settings", "parse_address", "parse_bytes"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
CommaList = Annotated[tuple[str, ...], NoDecode, PlainSerializer(",".join, return_type=str)]


def parse_address(text: str) -> tuple[str, int]:
    """Return (host, port) of `host:port`, IPv6 hosts in brackets.

    Raises:
        InvalidInput: it is no such pair.
    """
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise InvalidInput(f"{text!r} is not host:port; write for example 127.0.0.1:8000")
    return host, int(port)


_LEAST_MEMORY = 32 * 2**20
_HOST = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*"
_DOMAIN = re.compile(_HOST)
_ORIGIN = re.compile(rf"https?://(?:{_HOST}|\[[0-9a-f:]+\])(?::[0-9]{{1,5}})?", re.IGNORECASE)
_ANCESTOR = re.compile(rf"https?://(?:\*\.)?{_HOST}(?::(?:[0-9]{{1,5}}|\*))?", re.IGNORECASE)


class Settings(BaseSettings):
    """The settings of one gateway. Durations are seconds, sizes bytes."""

    model_config = SettingsConfigDict(env_prefix="NBGATE_", extra="ignore", frozen=True)

    state_dir: Path = Field(
        default=Path.home() / ".local/state/nbgate",
        description="Folder for the key, the database, the route file, sockets and spaces.",
    )
    listen: str = Field(
        default="127.0.0.1:8000", description="host:port that people's browsers reach."
    )
    workers: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Processes that serve people's browsers, beside one for control; 0 or 1: one "
        "process does everything.",
    )
    management_listen: str = Field(
        default="127.0.0.1:8001",
        description="host:port of the management API and the metrics; keep it off the notebooks' "
        "network.",
    )
    public_url: str = Field(
        default="",
        description="Origin of the gateway as people see it, e.g. https://nb.example.org; "
        "empty: http:// (https:// with tls_cert) and `listen`.",
    )
    tls_cert: Path | None = Field(
        default=None,
        description="PEM file with the certificate of `listen`, its chain behind it; the files are "
        "read again when they change. None: plain HTTP.",
    )
    tls_key: Path | None = Field(
        default=None, description="PEM file with the certificate's private key, not encrypted."
    )
    routing: Literal["path", "host"] = Field(
        default="path",
        description="path: notebooks at /nb/<slug>/; host: at <slug>.<base_domain>, one origin "
        "each (the secure mode).",
    )
    base_domain: str = Field(
        default="", description="Domain under which notebooks get their host in host routing."
    )
    trusted_proxies: CommaList = Field(
        default=(),
        description="Addresses or networks of proxies in front whose X-Forwarded-* and Forwarded "
        "headers count, comma-separated.",
    )
    frame_ancestors: CommaList = Field(
        default=(),
        description="Origins that may show notebooks in a frame, comma-separated.",
    )
    spawner: Literal["process", "docker"] = Field(
        default="process",
        description="process: Jupyter as a child process, no isolation, for development; "
        "docker: containers.",
    )
    docker_host: str = Field(
        default="", description="Docker Engine; empty: DOCKER_HOST, else the local socket."
    )
    mode: Literal["auto", "dev", "prod"] = Field(
        default="auto",
        description="dev: notebooks at published localhost ports; prod: at their address on the "
        "Docker network; auto: prod if the gateway runs in a container.",
    )
    network_subnet: str = Field(
        default="10.213.0.0/20",
        description="Subnet of the notebooks' Docker network; the spawner assigns its addresses.",
    )
    image: str = Field(
        default="nbgate/jupyter:latest", description="Notebook image where none is chosen."
    )
    memory: str = Field(
        default="2G", description="Memory limit of a notebook where none is chosen, e.g. 2G."
    )
    cpus: float = Field(
        default=2.0, gt=0, le=4096, description="CPU limit in cores where none is chosen."
    )
    pids: int = Field(default=512, gt=0, description="Limit of processes in a container.")
    database_url: str = Field(
        default="",
        description="SQLAlchemy URL; empty: SQLite in state_dir. postgresql+asyncpg://… works too.",
    )
    route_file: Path | None = Field(
        default=None, description="GDBM route file; none: routes/routes.gdbm in state_dir."
    )
    persist_routes: bool = Field(
        default=True,
        description="Keep routes that are set through JupyterHub's API (/api/routes on "
        "`management_listen`) over restarts, in the route file and its companion.",
    )
    httpd_direct: bool = Field(
        default=False,
        description="Publish hot notebooks to httpd, which then serves them directly. Only "
        "where httpd itself authenticates people.",
    )
    spaces_dir: Path | None = Field(
        default=None, description="Root of people's spaces; none: spaces in state_dir."
    )
    spaces_host_dir: Path | None = Field(
        default=None,
        description="The same folder as the engine's host sees it; none: found out from the "
        "gateway's own mounts.",
    )
    start_timeout: float = Field(
        default=60.0, gt=0, description="Seconds a notebook may take until it is ready."
    )
    starts_at_once: int = Field(
        default=os.cpu_count() or 1, gt=0, description="How many notebooks start at once."
    )
    hold_timeout: float = Field(
        default=50.0,
        gt=0,
        description="Seconds a request is held for a starting notebook; keep it below the "
        "timeout of a proxy in front.",
    )
    stop_grace: float = Field(
        default=10.0, ge=0, description="Seconds between SIGTERM and SIGKILL."
    )
    session_lifetime: float = Field(
        default=14 * 86400.0, gt=0, description="Seconds a session lives."
    )
    link_lifetime: float = Field(
        default=600.0, gt=0, description="Seconds a one-time login link can be used."
    )
    head_bytes: int = Field(
        default=65536, ge=1024, description="Largest request head in bytes; more is 431."
    )
    head_timeout: float = Field(
        default=20.0, gt=0, description="Seconds until a request head must be complete; 408."
    )
    keepalive_timeout: float = Field(
        default=75.0, gt=0, description="Seconds an idle connection is kept."
    )
    connect_timeout: float = Field(
        default=5.0, gt=0, description="Seconds to connect to a notebook; then 504."
    )
    response_timeout: float = Field(
        default=600.0, gt=0, description="Seconds until a notebook begins its answer; then 504."
    )
    access_log: Literal["off", "combined", "json"] = Field(
        default="off", description="Form of the access log: one line per request."
    )
    access_log_file: str = Field(
        default="-",
        description="File of the access log, made anew when it was moved away; -: standard output.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe log lines that are shown."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Form of the log on standard error."
    )

    @field_validator("trusted_proxies", "frame_ancestors", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(item.strip() for item in value.split(",") if item.strip())
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for item in value:
            ipaddress.ip_network(item, strict=False)
        return value

    @field_validator("listen", "management_listen")
    @classmethod
    def _address(cls, value: str) -> str:
        parse_address(value)
        return value

    @field_validator("memory")
    @classmethod
    def _size(cls, value: str) -> str:
        if parse_bytes(value) < _LEAST_MEMORY:
            raise ValueError("is less than the 32M that a server needs at least")
        return value

    @field_validator("public_url")
    @classmethod
    def _origin(cls, value: str) -> str:
        value = value.removesuffix("/")
        if value and not _ORIGIN.fullmatch(value):
            raise ValueError("must be http:// or https://, a host, and a port if need be")
        return value

    @field_validator("base_domain")
    @classmethod
    def _domain(cls, value: str) -> str:
        if value and not _DOMAIN.fullmatch(value.lower()):
            raise ValueError("must be a domain, e.g. nb.example.org")
        return value.lower()

    @field_validator("frame_ancestors")
    @classmethod
    def _ancestors(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for item in value:
            if not _ANCESTOR.fullmatch(item):
                raise ValueError(
                    f"{item!r} is no origin; write for example https://lms.example.org"
                )
        return value

    @field_validator("network_subnet")
    @classmethod
    def _subnet(cls, value: str) -> str:
        network = ipaddress.ip_network(value)
        if network.version != 4:
            raise ValueError(f"{value} is no IPv4 network")
        if network.num_addresses < 256:
            raise ValueError("must have room for at least 256 addresses")
        return value

    @field_validator("tls_cert", "tls_key", mode="before")
    @classmethod
    def _file(cls, value: Any) -> Any:
        return None if value == "" else value

    @model_validator(mode="after")
    def _tls(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            missing = "NBGATE_TLS_KEY" if self.tls_key is None else "NBGATE_TLS_CERT"
            raise ValueError(
                f"{missing} is not set; TLS needs certificate and key, set both or none"
            )
        if self.tls_cert is not None and self.public_url.lower().startswith("http://"):
            raise ValueError("public_url is http://, but with tls_cert people need https://")
        return self

    @model_validator(mode="after")
    def _host_routing(self) -> Self:
        if self.routing == "host" and not self.base_domain:
            raise ValueError("routing=host needs base_domain, e.g. nb.example.org")
        label, _, domain = (urlsplit(self.origin).hostname or "").partition(".")
        if self.routing == "host" and domain == self.base_domain and label not in RESERVED:
            raise ValueError(
                f"public_url's host {label}.{domain} could be a notebook's; use {domain} itself, "
                f"or a name that no notebook can have, e.g. www.{domain}"
            )
        return self

    @property
    def origin(self) -> str:
        """`scheme://host[:port]` of the gateway's own pages."""
        scheme = "http" if self.tls_cert is None else "https"
        return self.public_url or f"{scheme}://{self.listen}"

    @property
    def networks(self) -> tuple[Network, ...]:
        """The trusted proxies as networks."""
        return tuple(ipaddress.ip_network(item, strict=False) for item in self.trusted_proxies)

    @property
    def routes_path(self) -> Path:
        """The GDBM route file."""
        return self.route_file or self.state_dir / "routes" / "routes.gdbm"

    @property
    def spaces_path(self) -> Path:
        """The root of people's spaces, as the gateway sees it."""
        return self.spaces_dir or self.state_dir / "spaces"

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or f"sqlite+aiosqlite:///{self.state_dir / 'nbgate.db'}"

    @property
    def token_file(self) -> Path:
        """The 0600 file with the management API's token."""
        return self.state_dir / "management.token"


def load_settings(**flags: Any) -> Settings:
    """Return the settings in force; `flags` that are not None win.

    Raises:
        InvalidInput: a value is wrong; the text is one line that names the variable.
    """
    config = os.environ.get("NBGATE_CONFIG")
    if config:
        _check_file(Path(config))
    chosen = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(_env_file=config or None, **chosen)
    except ValidationError as error:
        first = error.errors()[0]
        name = "NBGATE_" + str(first["loc"][0]).upper() if first["loc"] else "settings"
        message = first["msg"].removeprefix("Value error, ")
        raise InvalidInput(f"{name}: {message}") from error


def _check_file(path: Path) -> None:
    """Raise InvalidInput where the settings file cannot be read, or names what is no setting."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"NBGATE_CONFIG: cannot read {path}: {error}") from error
    known = {f"NBGATE_{name.upper()}" for name in Settings.model_fields}
    for line in lines:
        name = line.partition("=")[0].removeprefix("export ").strip()
        if name.upper().startswith("NBGATE_") and name.upper() not in known:
            raise InvalidInput(f"{path}: {name} is no setting; docs/settings.md lists them")
