"""Keys and targets of the route database: validation, canonical form, the key of a request.

Pure functions over bytes and strings; no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass


class InvalidKey(ValueError):
    """A key that cannot be stored: not ASCII, empty, blanks, control characters, not canonical.

    The text names the key and says why.
    """


class InvalidTarget(ValueError):
    """A target that httpd or the gateway could not use. The text names it and says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a route leads.

    Attributes:
        host: host name, IPv4 address, or IPv6 address without brackets.
        port: 1–65535.
        scheme: `http`.
        path: what is put before the raw request path; "" for a plain target. Has no trailing `/`.
    """

    host: str
    port: int
    scheme: str = "http"
    path: str = ""

    @property
    def plain(self) -> bool:
        """Whether it is a `host:port` that httpd can use."""
        return self.scheme == "http" and not self.path

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.plain:
            return f"{host}:{self.port}"
        return f"{self.scheme}://{host}:{self.port}{self.path}"
