"""The browser of the commands, with real servers: cookies, redirects, names, certificates."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.cli.browser import Answer, Browser, NotReached
from tests.proxy.certificates import Pair, make_pair


class _Site(http.server.BaseHTTPRequestHandler):
    """`/set` sets a cookie and goes on to `/`, which tells the cookies; `/round` never ends."""

    def do_GET(self) -> None:
        where = {"/set": "/", "/round": "/round?again"}.get(self.path.partition("?")[0])
        self.send_response(200 if where is None else 303)
        if where is not None:
            self.send_header("Location", where)
            self.send_header("Set-Cookie", "a=1; Path=/; HttpOnly; SameSite=Lax")
        self.end_headers()
        self.wfile.write(f"<h1>{self.headers.get('Cookie')}</h1>".encode())

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving(pair: Pair | None = None) -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Site) as server:
        if pair is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(pair.cert, pair.key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_cookie_is_kept_for_its_very_host() -> None:
    with serving() as port:
        browser, origin = Browser(), f"http://nb.localhost:{port}"
        answer = browser.page(f"{origin}/set")
        assert (answer.status, answer.url, answer.said) == (200, f"{origin}/", "a=1")
        assert browser.call(f"http://x.nb.localhost:{port}/").said == "None"
        assert Browser().page(f"{origin}/").said == "None"


def test_circle_of_redirects_ends() -> None:
    with serving() as port:
        assert Browser().page(f"http://127.0.0.1:{port}/round").status == 303


@pytest.mark.parametrize(
    ("names", "known", "told"),
    [
        ("DNS:localhost,DNS:nb.localhost", False, "SSL_CERT_FILE="),
        ("DNS:other.example.org", True, "is for other names"),
        ("DNS:localhost,DNS:nb.localhost", True, ""),
    ],
)
def test_certificate_that_is_not_good_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: str, known: bool, told: str
) -> None:
    pair = make_pair(tmp_path, "own", names=names)
    if known:
        monkeypatch.setenv("SSL_CERT_FILE", str(pair.cert))
    with serving(pair) as port:
        for host in ("localhost", "nb.localhost"):
            fault = Browser().fault(f"https://{host}:{port}/")
            assert (told in fault, "\n" in fault) == (True, False), fault
            assert bool(fault) == bool(told)


def test_server_without_tls_is_told() -> None:
    with serving() as port, pytest.raises(NotReached, match="speaks no TLS"):
        Browser().page(f"https://localhost:{port}/")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<h1>Full</h1>\n<p>Come <em>again</em>.</p>", "Full. Come again"),
        ("<h1>a &lt;b&gt;</h1>", "a <b>"),
        ('{"status": 503, "detail": "no engine"}', "no engine"),
        ("[1]", ""),
        ("", ""),
    ],
)
def test_page_is_told_in_one_line(text: str, said: str) -> None:
    assert Answer(503, "http://h/", text).said == said
