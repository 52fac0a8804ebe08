"""The event stream that a waiting page follows: each change of a start, as server-sent events.

See https://html.spec.whatwg.org/multipage/server-sent-events.html. Streams are few: pages of one
browser share one, and who gets none polls. They end with the start, the session or the gateway.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator

from aiohttp import web

from gateway.activation.activator import Phase
from gateway.activation.watching import Watch
from gateway.web.context import own_notebook, pages_of, principal_of
from gateway.web.notebook import status_of, unknown
from gateway.web.render import message
from gateway.web.telling import Told

routes = web.RouteTableDef()

_PER_NOTEBOOK = 8
_PER_SESSION = 6
_IN_ALL = 2000
_HEARTBEAT = 10.0
_PAUSE_OF_PULL = 0.25
_PAUSE_PER_PLACE = 0.02
_LONGEST_PAUSE = 5.0
_GOING = frozenset({Phase.QUEUED.value, Phase.CREATING.value, Phase.STARTING.value})


class Streams:
    """How many streams are open; a bound keeps one person from holding all of the gateway's."""

    def __init__(self) -> None:
        self._open: Counter[tuple[str, str]] = Counter()

    def __len__(self) -> int:
        return self._open[("", "")]

    @contextlib.contextmanager
    def opened(self, slug: str, session: str) -> Iterator[bool]:
        """Count a stream while the context is open; yield whether it may be."""
        counted = ("notebook", slug), ("session", session), ("", "")
        limits = (_PER_NOTEBOOK, _PER_SESSION, _IN_ALL)
        if any(self._open[one] >= limit for one, limit in zip(counted, limits, strict=True)):
            yield False
            return
        self._open.update(counted)
        try:
            yield True
        finally:
            self._open.subtract(counted)
            for one in counted:
                if not self._open[one]:
                    del self._open[one]


STREAMS: web.AppKey[Streams] = web.AppKey("streams")


@routes.get("/gateway/events/{slug}", allow_head=False)
async def events(request: web.Request) -> web.StreamResponse:
    """Tell a waiting page each change of the start until it has ended. It wakes nothing."""
    slug = request.match_info["slug"]
    principal = principal_of(request)
    if principal is None or own_notebook(request, slug) is None:
        return unknown(request)
    with request.config_dict[STREAMS].opened(slug, principal.session) as allowed:
        if not allowed:
            return _ask_instead(request)
        answer = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-store",
                # nginx in front would gather the events otherwise.
                "X-Accel-Buffering": "no",
            }
        )
        await answer.prepare(request)
        # A client that has gone away is noticed by what is written.
        gone = contextlib.suppress(ConnectionError)
        with gone, pages_of(request).activator.subscribe(slug) as watch:
            await _tell(request, answer, slug, watch)
        return answer


async def _tell(request: web.Request, answer: web.StreamResponse, slug: str, watch: Watch) -> None:
    last: Told = {}
    while own_notebook(request, slug) is not None and not watch.over:
        status = status_of(request, slug)
        if status != last:
            await answer.write(f"data: {json.dumps(status)}\n\n".encode())
        else:
            await answer.write(b":\n\n")
        last = status
        if status["phase"] not in _GOING:
            return
        await watch.moved(_pause(status), _HEARTBEAT)


def _pause(status: Told) -> float:
    """Return for how many seconds changes are gathered: who is far back is told less often."""
    if status["pulling"]:
        return _PAUSE_OF_PULL
    return min(_LONGEST_PAUSE, _PAUSE_PER_PLACE * int(status["position"] or 0))


def _ask_instead(request: web.Request) -> web.Response:
    answer = message(request, 503, "Too many streams", "Ask for the status instead.", "streams")
    answer.headers["Retry-After"] = "2"
    return answer
