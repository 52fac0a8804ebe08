"""The event stream that a waiting page follows: each change of a start, as server-sent events.

See https://html.spec.whatwg.org/multipage/server-sent-events.html. Streams are few: pages of one
browser share one, and who gets none polls. They end with the start or the gateway, and at once with
the session, or when its person may use the notebook no more.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from aiohttp import web

from gateway.activation.progress import Phase
from gateway.activation.watching import Watch
from gateway.notebooks.model import Notebook
from gateway.web.context import Pages, own_notebook, pages_of, user_of
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


@dataclass(frozen=True, slots=True, eq=False)
class _Stream:
    """One that is open.

    Attributes:
        slug: the notebook that it is of.
        session: whose it is.
        watch: that it follows.
        allowed: whether it may go on; asked after each change that may shut somebody out.
    """

    slug: str
    session: str
    watch: Watch
    allowed: Callable[[], bool]


class Streams:
    """The streams that are open; a bound keeps one person from holding all of the gateway's."""

    def __init__(self) -> None:
        self._open: Counter[tuple[str, str]] = Counter()
        self._by_slug: dict[str, set[_Stream]] = {}
        self._by_session: dict[str, set[_Stream]] = {}

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

    @contextlib.contextmanager
    def watched(self, stream: _Stream) -> Iterator[None]:
        """Urge a stream's watch, while the context is open, when it is allowed no more."""
        tables = (self._by_slug, stream.slug), (self._by_session, stream.session)
        for table, key in tables:
            table.setdefault(key, set()).add(stream)
        try:
            yield
        finally:
            for table, key in tables:
                table[key].discard(stream)
                if not table[key]:
                    del table[key]

    def sessions_ended(self, session_ids: Collection[str]) -> None:
        """End the streams of some sessions."""
        for session_id in session_ids:
            self._look(self._by_session.get(session_id, ()))

    def notebook_changed(self, slug: str, notebook: Notebook | None) -> None:
        """End the streams of whoever may use a notebook no more; see Catalogue.subscribe."""
        del notebook
        self._look(self._by_slug.get(slug, ()))

    def project_changed(self, name: str) -> None:
        """End the streams of whoever teaches no more; see Catalogue.subscribe_projects."""
        del name  # seldom, and there are few streams
        for streams in self._by_slug.values():
            self._look(streams)

    def _look(self, streams: Collection[_Stream]) -> None:
        for stream in streams:
            if not stream.allowed():
                stream.watch.urge()


STREAMS: web.AppKey[Streams] = web.AppKey("streams")


def streams_of(pages: Pages) -> Streams:
    """Return streams that end with sessions and with what people may use."""
    streams = Streams()
    pages.sessions.subscribe(streams.sessions_ended)
    pages.catalogue.subscribe(streams.notebook_changed)
    pages.catalogue.subscribe_projects(streams.project_changed)
    return streams


@routes.get("/gateway/events/{slug}", allow_head=False)
async def events(request: web.Request) -> web.StreamResponse:
    """Tell a waiting page each change of the start until it has ended. It wakes nothing."""
    slug = request.match_info["slug"]
    principal = user_of(request, own_notebook(request, slug))
    if principal is None:
        return unknown(request)

    def allowed() -> bool:
        # The one session, whatever others the browser has: each begins a stream of its own.
        alive = pages_of(request).table.principal(principal.session) is not None
        return alive and own_notebook(request, slug) is not None

    with request.config_dict[STREAMS].opened(slug, principal.session) as has_room:
        if not has_room:
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
            stream = _Stream(slug, principal.session, watch, allowed)
            with request.config_dict[STREAMS].watched(stream):
                await _tell(request, answer, stream)
        return answer


async def _tell(request: web.Request, answer: web.StreamResponse, stream: _Stream) -> None:
    slug, watch = stream.slug, stream.watch
    last: Told = {}
    while stream.allowed() and not watch.over:
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
