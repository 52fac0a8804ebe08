"""Settings of what serves: listeners, origins, the data path's bounds, the logs."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings

from gateway.notebooks.ancestors import check_ancestors
from gateway.notebooks.names import RESERVED
from gateway.settings.values import DOMAIN, ORIGIN, CommaList, Network, parse_address


class ServingSettings(BaseSettings):
    """See the module's docstring. Durations are seconds, sizes bytes."""

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
        description="Origins that may show notebooks and pages in a frame, comma-separated; a "
        "project can have its own.",
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

    @field_validator("public_url")
    @classmethod
    def _origin(cls, value: str) -> str:
        value = value.removesuffix("/")
        if value and not ORIGIN.fullmatch(value):
            raise ValueError("must be http:// or https://, a host, and a port if need be")
        return value

    @field_validator("base_domain")
    @classmethod
    def _domain(cls, value: str) -> str:
        if value and not DOMAIN.fullmatch(value.lower()):
            raise ValueError("must be a domain, e.g. nb.example.org")
        return value.lower()

    @field_validator("frame_ancestors")
    @classmethod
    def _ancestors(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return check_ancestors(value)

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
