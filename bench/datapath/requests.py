"""The requests that are sent, and the prefixes that every proxy routes."""

from __future__ import annotations

from dataclasses import dataclass

NOTEBOOK = "/nb/bench"
NOTEBOOK_SINK = "/nb/echo"
PLAIN = "/plain/bench"
PLAIN_SINK = "/plain/echo"

SMALL = "/api/status"
MEBIBYTE = "/files/1m.bin"
HUNDRED_MEBIBYTES = "/files/100m.bin"
UPLOAD = "/upload"
ECHO = "/channels"

_AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0.0.0 Safari/537.36"
)


@dataclass(frozen=True, slots=True)
class Flavour:
    """How requests look in a case.

    Attributes:
        name: `full` (a browser's headers and a session; a notebook's route) or `bare`.
        web: prefix of the route to the answers and files.
        sink: prefix of the route to the upload sink and the echo.
    """

    name: str
    web: str
    sink: str

    def headers(self, origin: str, cookie: str) -> dict[str, str]:
        """Return the headers besides Host.

        Args:
            origin: `http://host:port` of the proxy.
            cookie: the session's `name=value`.
        """
        return browser_headers(origin, cookie) if self.name == "full" else {}


FULL = Flavour("full", NOTEBOOK, NOTEBOOK_SINK)
BARE = Flavour("bare", PLAIN, PLAIN_SINK)


def browser_headers(origin: str, cookie: str) -> dict[str, str]:
    """Return what a notebook's page sends with a request of its own: ten headers and cookies."""
    return {
        "User-Agent": _AGENT,
        "Accept": "application/json",
        "Accept-Language": "en-GB,en;q=0.9,fr;q=0.8",
        "Accept-Encoding": "gzip, deflate, br, zstd",
        "Referer": f"{origin}{NOTEBOOK}/lab/tree/first-steps.ipynb",
        "Sec-Fetch-Dest": "empty",
        "Sec-Fetch-Mode": "cors",
        "Sec-Fetch-Site": "same-origin",
        "Cache-Control": "no-store",
        "X-XSRFToken": "2|1f0b8f3e|6f1f6c3a2b7d4e5f8091a2b3c4d5e6f7|1780000000",
        "Cookie": f"_xsrf=2|1f0b8f3e|6f1f6c3a2b7d4e5f8091a2b3c4d5e6f7|1780000000; {cookie}",
    }


def head(method: str, target: str, host: str, headers: dict[str, str]) -> bytes:
    """Return a request head on the wire."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
