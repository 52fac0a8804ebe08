"""The access log: one line per request, when it has ended. Off unless the operator wants it.

Two forms: `combined`, that of httpd and nginx with three fields more at its end, and `json`. What
may be logged of a URL is redaction.py's, how lines get to the disk logfile.py's. Cookies and
other headers never get here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from gateway.errors import InvalidInput
from gateway.proxy.interface import Client, Clock
from gateway.proxy.logfile import LogFile
from gateway.proxy.messages import RequestHead
from gateway.proxy.redaction import redacted
from gateway.proxy.transports import Counted

Form = Literal["combined", "json"]

ABORTED = 499
"""The status of a request whose answer did not reach its end; nginx's for a client that left."""

_LONGEST = 2048  # bytes of one field
_UNSAFE = re.compile(rb'[^\x20-\x7e]|["\\]')
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


class AccessLog:
    """Formats lines and hands them to a file.

    Args:
        form: `combined` or `json`.
        write: takes a line, its line feed included; never waits.
        now: seconds since the epoch.
    """

    def __init__(self, form: Form, write: Callable[[bytes], None], now: Clock = time.time) -> None:
        self._line = _combined if form == "combined" else _json
        self._write = write
        self._now = now

    def record(
        self,
        head: RequestHead,
        client: Client,
        *,
        status: int,
        sent: int,
        seconds: float,
        user: str | None,
        request_id: bytes,
    ) -> None:
        """Log a request that has ended.

        Args:
            head: the request.
            client: who sent it.
            status: what was answered; 101 for a WebSocket, which is logged when it is closed;
                ABORTED where the client went away or the answer was cut off.
            sent: bytes of the answer given to the client's connection, heads and body, of a
                WebSocket too.
            seconds: since the head was read.
            user: the session's subject where the data path asked for one; None for nobody.
            request_id: as in X-Request-ID.
        """
        fields = {
            "client": client.address,
            "user": user or "",
            "method": _text(head.method),
            "host": _text(client.host.encode("latin-1")),
            "target": _text(redacted(head.target)),
            "protocol": "HTTP/1.1" if head.version == 11 else "HTTP/1.0",
            "referer": _text(redacted(head.get(b"referer") or b"")),
            "user_agent": _text(head.get(b"user-agent") or b""),
        }
        self._put(fields, status, sent, seconds, request_id)

    def record_refused(
        self, transport: asyncio.Transport, status: int, sent: int, request_id: bytes
    ) -> None:
        """Log an answer to what could not be read as a request (400, 408, 431 …)."""
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        self._put({"client": address}, status, sent, 0.0, request_id)

    def _put(
        self, fields: dict[str, str], status: int, sent: int, seconds: float, request_id: bytes
    ) -> None:
        identity = request_id.decode("latin-1")
        line = self._line(fields, self._now(), status, sent, seconds, identity)
        self._write(line.encode("ascii", "backslashreplace") + b"\n")


class Entry:
    """A request that will be logged.

    Attributes:
        user: the session's subject; None for nobody.
    """

    __slots__ = (
        "_before", "_began", "_client", "_clock", "_counted", "_head", "_log", "_request_id", "user"
    )  # fmt: skip

    def __init__(
        self,
        log: AccessLog,
        head: RequestHead,
        client: Client,
        request_id: bytes,
        transport: object,
        clock: Clock,
    ) -> None:
        assert isinstance(transport, Counted)
        self._log, self._head, self._client, self._request_id = log, head, client, request_id
        self._counted, self._clock = transport, clock
        self._before, self._began = transport.sent, clock()
        self.user: str | None = None

    def end(self, status: int) -> None:
        """Log it."""
        self._log.record(
            self._head,
            self._client,
            status=status,
            sent=self._counted.sent - self._before,
            seconds=self._clock() - self._began,
            user=self.user,
            request_id=self._request_id,
        )


def open_access_log(
    form: Literal["off", "combined", "json"], path: str, stack: contextlib.AsyncExitStack
) -> AccessLog | None:
    """Return the access log, which is written out when `stack` is left; None when it is off.

    Args:
        form: of the lines.
        path: the file; `-` for standard output.
        stack: closes it.

    Raises:
        InvalidInput: the file cannot be opened.
    """
    if form == "off":
        return None
    try:
        file = LogFile(None if path == "-" else Path(path))
    except OSError as error:
        raise InvalidInput(
            f"cannot open the access log {path}: {error.strerror}; choose a file that the "
            f"gateway's user can write with NBGATE_ACCESS_LOG_FILE, or - for standard output"
        ) from error
    stack.push_async_callback(asyncio.to_thread, file.close)
    return AccessLog(form, file.append)


def _combined(
    fields: dict[str, str], now: float, status: int, sent: int, seconds: float, identity: str
) -> str:
    stamp = time.gmtime(now)
    when = f"{stamp.tm_mday:02}/{_MONTHS[stamp.tm_mon - 1]}/{time.strftime('%Y:%H:%M:%S', stamp)}"
    shown = {name: _escaped(value) for name, value in fields.items()}
    request = "{method} {target} {protocol}".format(**shown) if "method" in shown else "-"
    user = shown.get("user", "").replace(" ", "\\x20") or "-"
    referer, agent = shown.get("referer") or "-", shown.get("user_agent") or "-"
    client, host = shown["client"] or "-", shown.get("host") or "-"
    return (
        f'{client} - {user} [{when} +0000] "{request}" {status} {sent} "{referer}" "{agent}" '
        f"{host} {seconds:.3f} {_escaped(identity) or '-'}"
    )


def _json(
    fields: dict[str, str], now: float, status: int, sent: int, seconds: float, identity: str
) -> str:
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03}Z"
    filled = {name: value or None for name, value in fields.items()}
    rest = {"status": status, "sent": sent, "seconds": round(seconds, 6)}
    return json.dumps({"time": when, **filled, **rest, "request_id": identity or None})


def _text(value: bytes) -> str:
    """Return it as text, bytes that are no UTF-8 escaped, and no longer than a line should be."""
    if len(value) > _LONGEST:
        value = value[:_LONGEST] + b"[cut]"
    return value.decode("utf-8", "backslashreplace")


def _escaped(value: str) -> str:
    r"""Return it in one field between quotes: what could end it or begin a line is `\xHH`."""
    raw = value.encode("utf-8", "backslashreplace")
    return _UNSAFE.sub(lambda match: b"\\x%02X" % match[0][0], raw).decode("ascii")
