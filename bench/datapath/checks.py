"""Before anything is measured: does the proxy do its work? One request at a time, over a socket."""

from __future__ import annotations

import http.client
import zlib
from collections.abc import Mapping

from bench.datapath import requests
from bench.datapath.peers import Running
from bench.datapath.requests import Flavour
from bench.datapath.upstream import file_content, small_body

_UPLOAD = bytes(range(256)) * 4096


class WrongAnswer(Exception):
    """A proxy does not do what is to be measured; the text says what was wrong."""


def headers_of(running: Running, flavour: Flavour) -> dict[str, str]:
    """Return the headers of a flavour's requests to this proxy."""
    return flavour.headers(f"http://127.0.0.1:{running.web}", running.cookie)


def check_small(running: Running, flavour: Flavour) -> None:
    """Check the small answer, and that nobody gets it without a session. Raises WrongAnswer."""
    path, headers = flavour.web + requests.SMALL, headers_of(running, flavour)
    status, body = ask(running.web, "GET", path, headers)
    _expect(status == 200 and body == small_body().encode(), f"{path}: {status} {body[:200]!r}")
    if running.checks_session and flavour is requests.FULL:
        for wrong in ({}, {"Cookie": running.cookie[:-1] + "?"}):
            others = {name: value for name, value in headers.items() if name != "Cookie"}
            status, _ = ask(running.web, "GET", path, others | wrong)
            _expect(status == 401, f"{path} with {wrong or 'no cookie'}: {status}")


def check_download(running: Running, flavour: Flavour, path: str) -> None:
    """Check that a file arrives as it is. Raises WrongAnswer."""
    headers = headers_of(running, flavour)
    status, body = ask(running.web, "GET", flavour.web + path, headers)
    checksum = 0
    for block in file_content(path.rpartition("/")[2]):
        checksum = zlib.crc32(block, checksum)
    _expect(status == 200 and zlib.crc32(body) == checksum, f"{path}: {status}, {len(body)} bytes")


def check_upload(running: Running, flavour: Flavour) -> None:
    """Check that an upload is swallowed whole. Raises WrongAnswer."""
    path, headers = flavour.sink + requests.UPLOAD, headers_of(running, flavour)
    status, body = ask(running.sink, "PUT", path, headers, _UPLOAD)
    _expect((status, body) == (200, b"swallowed"), f"{path}: {status} {body[:200]!r}")


def ask(
    port: int, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
) -> tuple[int, bytes]:
    """Send one request; return status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _expect(right: bool, what: str) -> None:
    if not right:
        raise WrongAnswer(what)
