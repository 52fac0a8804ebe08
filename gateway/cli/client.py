"""The client of the management API: standard library only, for commands must start fast."""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from gateway.cli.failures import CommandError, NotReachable, Refused, TokenUnusable

CONNECT_TIMEOUT = 5.0
ANSWER_TIMEOUT = 60.0


class Client:
    """Talks to one gateway.

    Args:
        host: of the management listener.
        port: of it.
        read_token: returns the token; asked only once something listens there, so that a
            gateway that does not run is told as that. Raises TokenUnusable.
    """

    def __init__(self, host: str, port: int, read_token: Callable[[], str]) -> None:
        self._host = _reachable(host)
        self._port = port
        self._read_token = read_token

    @property
    def address(self) -> str:
        """`host:port` for messages."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._port}"

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        timeout: float = ANSWER_TIMEOUT,
    ) -> Any:
        """Return the JSON that the gateway answers; None where it has no body.

        Args:
            method: HTTP method.
            path: below `/gateway/api/`; parts that hold names go through `part`.
            body: sent as JSON; None for no body.
            query: query arguments.
            timeout: seconds for the answer.

        Raises:
            NotReachable, TokenUnusable, Refused: see failures.py.
        """
        connection = self._connected()
        try:
            connection.sock.settimeout(timeout)
            self._send(connection, method, _target(path, query), body)
            response = connection.getresponse()
            return self._read(response, response.read())
        except TimeoutError as error:
            raise CommandError(
                f"the gateway at {self.address} did not answer within {timeout:g} s; "
                f"its log has more"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise NotReachable(self.address, _reason(error)) from error
        finally:
            connection.close()

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Return the JSON at `path`; see `call`."""
        return self.call("GET", path, query=query)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Post `body`; see `call`."""
        return self.call("POST", path, body=body)

    def _connected(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=CONNECT_TIMEOUT)
        try:
            connection.connect()
        except (OSError, UnicodeError) as error:
            raise NotReachable(self.address, _reason(error)) from error
        return connection

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        body: Mapping[str, Any] | None,
    ) -> None:
        headers = {"Authorization": f"Bearer {self._read_token()}", "Accept": "application/json"}
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        connection.request(method, target, payload, headers)

    def _read(self, response: http.client.HTTPResponse, raw: bytes) -> Any:
        if response.status == 204:
            return None
        try:
            answer = json.loads(raw)
        except ValueError as error:
            raise self._stranger(response) from error
        if response.status < 300:
            return answer
        if not isinstance(answer, dict) or "detail" not in answer:
            raise self._stranger(response)
        if response.status == 401:
            raise TokenUnusable(
                f"the gateway at {self.address} refuses the management token; is it another "
                f"gateway's? Name the right one with --state-dir, --token-file or NBGATE_TOKEN"
            )
        raise Refused(response.status, str(answer["detail"]), str(answer.get("log_tail", "")))

    def _stranger(self, response: http.client.HTTPResponse) -> NotReachable:
        return NotReachable(self.address, f"what listens there answers {response.status}, no JSON")


def _reachable(host: str) -> str:
    """Return where a listener on `host` is reached from the same machine."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def _target(path: str, query: Mapping[str, str] | None) -> str:
    return f"/gateway/api/{path}" + (f"?{urlencode(query)}" if query else "")


def part(name: str) -> str:
    """Return a name as one segment of a path."""
    return quote(name, safe="")


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "its host name is not known"
    if isinstance(error, TimeoutError):
        return "no connection in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def token_of(file: Path) -> str:
    """Return the token in `file`.

    Raises:
        TokenUnusable: it is not there, cannot be read, or is empty.
    """
    remedy = "name the right one with --state-dir, --token-file or NBGATE_TOKEN"
    try:
        token = file.read_text(encoding="ascii").strip()
    except FileNotFoundError as error:
        raise TokenUnusable(f"there is no token file {file}; {remedy}") from error
    except PermissionError as error:
        raise TokenUnusable(
            f"cannot read token file {file}: permission denied; run as the gateway's user, or "
            f"{remedy}"
        ) from error
    except OSError as error:
        raise TokenUnusable(f"cannot read token file {file}: {error.strerror}; {remedy}") from error
    except UnicodeError as error:
        raise TokenUnusable(f"token file {file} holds no token; {remedy}") from error
    if not token or not token.isprintable():
        raise TokenUnusable(f"token file {file} holds no token; {remedy}")
    return token
