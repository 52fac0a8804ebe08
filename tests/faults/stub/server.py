"""A notebook's server that behaves as STUB says, or as a request asks; standard library only.

STUB: `well` (the default), `silent` (never answers), `errors` (500 to everything), `slow` (each
answer takes STUB_SECONDS), `exits` (at once, with status 3), `floods` (its log, for ever), `deaf`
(to SIGTERM), `dies` (with its first answer, but only once in a space).
"""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BEHAVIOUR = os.environ.get("STUB", "well")
SECONDS = float(os.environ.get("STUB_SECONDS", "1"))
BASE = os.environ["NBGATE_BASE_URL"]
SECRET = os.environ["NBGATE_HOP_SECRET"]
LINE = "x" * 200 + "\n"
DIED = Path("died")  # in the space, where servers are started
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Handler(BaseHTTPRequestHandler):
    """Answers `api/status`, `hello`, `half` (half of an answer) and `socket` (a WebSocket)."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer as the stub's behaviour says."""
        if BEHAVIOUR == "silent":
            threading.Event().wait()
        if BEHAVIOUR == "slow":
            time.sleep(SECONDS)
        if BEHAVIOUR == "errors":
            self._answer(500, b"broken")
        elif self.headers.get("Authorization") != f"token {SECRET}":
            self._answer(403, b"not ours")
        elif self.path == f"{BASE}half":
            self._half()
        elif self.path == f"{BASE}socket":
            self._socket()
        else:
            self._answer(200, b"{}")
            self._die()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name there
        """Say nothing."""

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _die(self) -> None:
        if BEHAVIOUR == "dies" and not DIED.exists():
            DIED.touch()
            os._exit(4)

    def _half(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 500)
        threading.Event().wait()

    def _socket(self) -> None:
        key = self.headers["Sec-WebSocket-Key"] + _GUID
        accepted = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accepted)
        self.end_headers()
        self.wfile.write(b"\x81\x05hello")
        threading.Event().wait()


def flood() -> None:
    """Write to the log as fast as it takes it."""
    while True:
        sys.stdout.write(LINE * 50)


def main() -> None:
    """Serve until the process is ended."""
    if BEHAVIOUR == "exits":
        sys.stderr.write("the stub gives up\n")
        sys.exit(3)
    if BEHAVIOUR == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if BEHAVIOUR == "floods":
        threading.Thread(target=flood, daemon=True).start()
    ThreadingHTTPServer(("0.0.0.0", 8888), Handler).serve_forever()


if __name__ == "__main__":
    main()
