"""Before anything is measured: does the proxy do its work? One request at a time, over a socket."""

from __future__ import annotations

import base64
import http.client
import socket
import zlib
from collections.abc import Mapping

from bench.datapath import requests
from bench.datapath.peers import Running
from bench.datapath.requests import Flavour
from bench.datapath.routefile import paths
from bench.datapath.sockets import client_frame
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


def check_route(running: Running, flavour: Flavour) -> None:
    """Check that the first and the last of many routes lead somewhere. Raises WrongAnswer."""
    for path in (paths(running.routes)[0], paths(running.routes)[-1]):
        status, body = ask(running.web, "GET", path, headers_of(running, flavour))
        _expect(status == 200 and body == small_body().encode(), f"{path}: {status}")
    status, _ = ask(running.web, "GET", "/r/none", {})
    _expect(status == 404, f"an unknown route: {status}")


def check_upload(running: Running, flavour: Flavour) -> None:
    """Check that an upload is swallowed whole. Raises WrongAnswer."""
    path, headers = flavour.sink + requests.UPLOAD, headers_of(running, flavour)
    status, body = ask(running.sink, "PUT", path, headers, _UPLOAD)
    _expect((status, body) == (200, b"swallowed"), f"{path}: {status} {body[:200]!r}")


def websocket_head(running: Running, flavour: Flavour) -> str:
    """Return the head of a WebSocket handshake."""
    own = f"127.0.0.1:{running.sink}"
    headers = headers_of(running, flavour) | {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
    }
    if flavour is requests.FULL:
        headers["Origin"] = f"http://{own}"
    return requests.head("GET", flavour.sink + requests.ECHO, own, headers).decode()


def check_websocket(running: Running, flavour: Flavour) -> None:
    """Check that a message comes back as it was, through an upgrade. Raises WrongAnswer."""
    frame = client_frame(1000)
    expected = frame[:1] + bytes((frame[1] & 0x7F,)) + frame[2:4] + frame[8:]
    with socket.create_connection(("127.0.0.1", running.sink), 30) as sock:
        sock.sendall(websocket_head(running, flavour).encode())
        got = b""
        while b"\r\n\r\n" not in got and (data := sock.recv(65536)):
            got += data
        _expect(got.startswith(b"HTTP/1.1 101 "), f"handshake: {got[:200]!r}")
        sock.sendall(frame)
        got = got.partition(b"\r\n\r\n")[2]
        while len(got) < len(expected) and (data := sock.recv(65536)):
            got += data
        _expect(got == expected, f"echo: {got[:100]!r}")
    if running.checks_session and flavour is requests.FULL:
        status, _ = ask(running.sink, "GET", flavour.sink + requests.ECHO, {})
        _expect(status == 401, f"WebSocket without a cookie: {status}")


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
