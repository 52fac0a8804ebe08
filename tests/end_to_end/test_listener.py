"""`nbgate serve` with TLS, an access log and a route to a Unix socket, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import socketserver
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.proxy.certificates import Pair, make_pair
from tests.support.gateway import GatewayProcess
from tests.support.waiting import PATIENCE


class _Wiki(BaseHTTPRequestHandler):
    """Answers with what it was told of scheme and path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"{self.headers['X-Forwarded-Proto']} {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def address_string(self) -> str:
        return "unix"


@pytest.fixture
def wiki(tmp_path: Path) -> Iterator[Path]:
    """The Unix socket of a running HTTP server."""
    path = tmp_path / "wiki.sock"
    with socketserver.ThreadingUnixStreamServer(str(path), _Wiki) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield path
        server.shutdown()
        thread.join()


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return make_pair(tmp_path, "nb")


def _ask(process: GatewayProcess, pair: Pair, path: str) -> str:
    url = f"https://127.0.0.1:{process.port}{path}"
    context = ssl.create_default_context(cafile=str(pair.cert))
    with urllib.request.urlopen(url, timeout=PATIENCE, context=context) as answer:
        return str(answer.read().decode())


def test_tls_access_log_and_unix_socket_work_together_and_after_a_restart(
    tmp_path: Path, wiki: Path, pair: Pair
) -> None:
    log = tmp_path / "access.log"
    process = GatewayProcess(
        tmp_path / "state",
        tls_cert=str(pair.cert),
        tls_key=str(pair.key),
        access_log="json",
        access_log_file=str(log),
    )
    target = f"http+unix://{quote(str(wiki), safe='')}"
    with contextlib.ExitStack() as stack:
        stack.callback(process.stop_all)
        process.start()
        assert target in process.nbgate(
            "route", "set", "/wiki", target.replace("http+unix", "unix+http")
        )
        assert _ask(process, pair, "/wiki/a?token=hunter2") == "https /wiki/a?token=hunter2"
        own = quote(str(tmp_path / "state" / "run" / "pages.sock"), safe="")
        refused = process.run("route", "set", "/steal", f"http+unix://{own}")
        assert "the gateway's own sockets" in refused.stderr
        process.stop()
        process.start()
        assert _ask(process, pair, "/wiki/b") == "https /wiki/b"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    targets = [line["target"] for line in lines if line["status"] == 200]
    assert targets == ["/wiki/a?token=[redacted]", "/wiki/b"]
    assert "https://127.0.0.1" in process.log.read_text()
    assert "Traceback" not in process.log.read_text()


def test_a_key_that_does_not_fit_ends_serve_with_one_line(tmp_path: Path, pair: Pair) -> None:
    other = make_pair(tmp_path, "other")
    process = GatewayProcess(
        tmp_path / "state", tls_cert=str(pair.cert), tls_key=str(other.key), log_level="error"
    )
    ended = process.run("serve")
    assert ended.returncode != 0
    assert f"{other.key} is not that of the certificate {pair.cert}" in ended.stderr
    assert "Traceback" not in ended.stderr
