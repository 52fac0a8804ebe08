"""The data path's own answers, as bytes: problem+json (RFC 9457) with Content-Length. Pure."""

from __future__ import annotations

import json

from gateway.problems import Problem
from gateway.proxy.interface import Refuse
from gateway.proxy.messages import RequestHead


def problem_of_refusal(refusal: Refuse) -> Problem:
    """Return the problem a Refuse stands for."""
    return Problem(refusal.status, refusal.code, refusal.detail, refusal.retry_after)


def render(
    problem: Problem,
    *,
    keep_alive: bool,
    request: RequestHead | None = None,
    request_id: bytes = b"",
) -> bytes:
    """Return the whole answer.

    Args:
        problem: what to tell.
        keep_alive: whether the connection lives on.
        request: what is answered; None when its head could not be read.
        request_id: told in X-Request-ID unless empty.
    """
    document = problem.as_dict()
    body = json.dumps(document).encode()
    lines = [
        b"HTTP/1.1 %d %b" % (problem.status, str(document["title"]).encode()),
        b"Content-Type: application/problem+json",
        b"Content-Length: %d" % len(body),
        b"Cache-Control: no-store",
    ]
    if problem.retry_after is not None:
        lines.append(b"Retry-After: %d" % problem.retry_after)
    if request_id:
        lines.append(b"X-Request-ID: %b" % request_id)
    if not keep_alive:
        lines.append(b"Connection: close")
    elif request is not None and request.version == 10:
        lines.append(b"Connection: keep-alive")
    if request is not None and request.method == b"HEAD":
        body = b""
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
