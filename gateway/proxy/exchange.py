"""One request and its response: carries a decision out and ties two connections together.

What has to be awaited is obtaining.py's, in one task that exists only when there is something to
wait for. Reading the client is downstream.py's, reading
the upstream is upstream.py's.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from gateway.errors import UpstreamUnreachable
from gateway.problems import Problem, problem_of
from gateway.proxy.accesslog import ABORTED, Entry
from gateway.proxy.activity import shows_person
from gateway.proxy.answers import problem_of_refusal
from gateway.proxy.context import Context
from gateway.proxy.framing import Body, response_body
from gateway.proxy.interface import Activity, Client, Decision, Hold, Local, Refuse, Relay
from gateway.proxy.messages import COUNTED, Framing, RequestHead, ResponseHead
from gateway.proxy.obtaining import from_pool, obtain
from gateway.proxy.tunnel import Tunnel
from gateway.proxy.upstream import Upstream

if TYPE_CHECKING:
    from gateway.proxy.downstream import Downstream

logger = logging.getLogger(__name__)

_HELD_BYTES: Final = 64 * 1024
_REPLAYABLE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_OUTCOMES: Final = ("", "1xx", "2xx", "3xx", "4xx", "5xx")


class Exchange:
    """A request in flight.

    Attributes:
        request_complete: whether all of the request was read from the client.
        admitted: what let it through to a route, with who and by which session; None for our own
            pages.
        settled: whether it is over: answered, broken off or turned into a tunnel.
        write: sends response bytes to the client.
    """

    __slots__ = (
        "_activity",
        "_client",
        "_context",
        "_downstream",
        "_entry",
        "_forwarding",
        "_head",
        "_held",
        "_held_bytes",
        "_keep_alive",
        "_relaying",
        "_replayable",
        "_request_id",
        "_status",
        "_task",
        "_uploads",
        "_upstream",
        "admitted",
        "request_complete",
        "settled",
        "write",
    )

    def __init__(
        self,
        context: Context,
        downstream: Downstream,
        head: RequestHead,
        client: Client,
        forwarding: bytes,
    ) -> None:
        self._context = context
        self._downstream = downstream
        self.write = downstream.write
        self._head = head
        self._client = client
        self._forwarding = forwarding
        self._request_id = context.request_ids.of(head)
        self.request_complete = head.framing is Framing.NONE or (
            head.framing is Framing.LENGTH and not head.length
        )
        self._replayable = self.request_complete and head.method in _REPLAYABLE
        self._relaying: Relay | Local | None = None
        self._activity: Activity | None = None
        self._uploads = True  # whether bytes of the body are a sign of a person
        self._upstream: Upstream | None = None
        self._task: asyncio.Task[None] | None = None
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._status = 0
        self._keep_alive = False
        self.admitted: Relay | Hold | None = None
        self.settled = False
        log = context.access_log
        self._entry = (
            None
            if log is None
            else Entry(log, head, client, self._request_id, downstream.transport, context.clock)
        )

    # -- for the client's connection

    def begin(self, decision: Decision) -> None:
        """Carry `decision` out; waits in a task of its own if it must."""
        if isinstance(decision, Refuse):
            self._answer(problem_of_refusal(decision))
            return
        if not isinstance(decision, Local):
            self.admitted = decision
            if decision.entry.activity is not None:
                self._enter(decision.entry.activity)
            if isinstance(decision, Hold):
                self._wait(decision)
                return
        upstream = from_pool(self._context, decision, replayable=self._replayable)
        if upstream is None:
            self._wait(decision)
        else:
            self._attach(upstream, decision)

    def send(self, data: bytes) -> None:
        """Send bytes of the request's body, or hold them until there is an upstream."""
        if self._activity is not None and self._uploads:
            self._mark(self._activity)
        if self._upstream is not None:
            self._upstream.write(data)
            return
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > _HELD_BYTES:
            self._downstream.pause_for_upstream()

    def complete(self) -> None:
        """The request was read to its end."""
        self.request_complete = True
        if self._upstream is not None and not self._status:
            self._downstream.await_response()

    def be_last(self) -> None:
        """Let the client's connection end behind the response, though its head may say else."""
        self._keep_alive = False

    def cancel(self) -> None:
        """The client went away: nothing of this request goes on."""
        self._detach()
        self._settle("aborted", ABORTED)

    def fail(self, error: BaseException) -> None:
        """Tell the client about `error` if no answer has begun, else break the connection."""
        self.fail_with(problem_of(error))

    def fail_with(self, problem: Problem) -> None:
        """The same with the problem already made."""
        self._detach()
        if self._status:
            self._settle("aborted", ABORTED)
            self._downstream.break_off()
        else:
            self._answer(problem)

    def pause_download(self) -> None:
        """The client reads too slowly."""
        if self._upstream is not None:
            self._upstream.pause_reading()

    def resume_download(self) -> None:
        """The client has caught up."""
        if self._upstream is not None:
            self._upstream.resume_reading()

    # -- for the upstream's connection

    def pause_upload(self) -> None:
        """The upstream reads too slowly."""
        self._downstream.pause_for_upstream()

    def resume_upload(self) -> None:
        """The upstream has caught up."""
        self._downstream.resume_for_upstream()

    def interim(self, head: ResponseHead) -> None:
        """Pass a 1xx on; HTTP/1.0 knows none (RFC 9110, 15.2)."""
        if self._head.version == 11:
            self._downstream.write(self._prepared(head, keep_alive=True))

    def respond(self, head: ResponseHead) -> bytes:
        """Return the client's head for a final response."""
        delimited = self._head.version == 11 or head.framing in COUNTED
        self._keep_alive = (
            self._head.keep_alive
            and self.request_complete
            and delimited
            and not self._context.draining
        )
        self._status = head.status
        self._downstream.response_began(delimited=delimited)
        return self._prepared(head, keep_alive=self._keep_alive)

    def body_of(self, head: ResponseHead) -> Body | None:
        """Return the tracker of a response's body; None when there is none."""
        return response_body(
            head.framing,
            head.length,
            self._context.rules.response_trailers,
            modern=self._head.version == 11,
        )

    def finished(self) -> None:
        """The response was handed to the client's connection to its end."""
        self._upstream = None
        self._settle(_OUTCOMES[self._status // 100], self._status)
        self._downstream.response_complete(keep_alive=self._keep_alive)

    def upstream_lost(self, upstream: Upstream, error: Exception) -> None:
        """The upstream's connection broke, or what it sent is not HTTP."""
        self._upstream = None
        if upstream.reused and not upstream.heard and self._replayable and self._relaying:
            # It was closed while our request was on its way (RFC 9112, 9.3.1).
            self._wait(self._relaying, fresh=True)
            return
        logger.info("upstream failed error=%r request_id=%s", error, self._request_id.decode())
        self.fail(UpstreamUnreachable("the upstream broke the connection off"))

    def switch(self, upstream: Upstream, head: ResponseHead, rest: bytes) -> None:
        """101: from now on the two connections are one tunnel."""
        if not self._head.upgrade:
            self.fail(UpstreamUnreachable("the upstream switched protocols without being asked"))
            return
        self._upstream = None
        self._downstream.write(self._prepared(head, keep_alive=True))
        entry, self._entry = self._entry, None
        if entry is not None and isinstance(self._relaying, Relay):
            entry.user = self._relaying.user
        self._settle("1xx", 101)
        activity = self._relaying.entry.activity if isinstance(self._relaying, Relay) else None
        client_side, early = self._downstream.release_for_tunnel()
        tunnel = self._tunnel(client_side, upstream.release_for_tunnel(), activity, entry)
        tunnel.admitted = self.admitted
        tunnel.start(from_client=early, from_upstream=rest)

    # -- inside

    def _enter(self, activity: Activity) -> None:
        self._activity = activity
        activity.requests += 1
        head = self._head
        standing = head.standing
        if standing is None or head.method == b"PUT":  # which depends on its target
            person = self._uploads = shows_person(head)
        else:
            if standing.person is None or standing.person[0] != head.method:
                standing.person = (head.method, shows_person(head))
            person = standing.person[1]
        if person:
            self._mark(activity)

    def _mark(self, activity: Activity) -> None:
        activity.last = self._context.clock()

    def _tunnel(
        self,
        client: asyncio.Transport,
        upstream: asyncio.Transport,
        activity: Activity | None,
        entry: Entry | None,
    ) -> Tunnel:
        return Tunnel(self._context, client, upstream, activity, entry)

    def _settle(self, outcome: str, status: int) -> None:
        if self.settled:
            return
        self.settled = True
        if self._activity is not None:
            self._activity.requests -= 1
        self._context.observer.request_finished(outcome)
        if self._entry is not None:
            if isinstance(self._relaying, Relay):
                self._entry.user = self._relaying.user
            self._entry.end(status)

    def _detach(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abandon()

    def _answer(self, problem: Problem) -> None:
        keep_alive = self._downstream.answer(problem, self._head, self._request_id)
        self._settle(_OUTCOMES[problem.status // 100], problem.status)
        self._downstream.response_complete(keep_alive=keep_alive)

    def _prepared(self, head: ResponseHead, *, keep_alive: bool) -> bytes:
        relay = self._relaying if isinstance(self._relaying, Relay) else None
        return self._context.rules.to_client(
            head, self._head, self._request_id, relay=relay, keep_alive=keep_alive
        )

    def _attach(self, upstream: Upstream, decision: Relay | Local) -> None:
        self._upstream, self._relaying = upstream, decision
        rules = self._context.rules
        if isinstance(decision, Local):
            head = rules.to_pages(
                self._head, decision, self._client, self._forwarding, self._request_id
            )
        else:
            head = rules.to_route(self._head, decision, self._forwarding, self._request_id)
        downstream = self._downstream
        downstream.resume_for_upstream()
        if downstream.write_paused:
            upstream.pause_reading()
        upstream.begin(self, self._head.method, head)
        if self._held:
            upstream.write(b"".join(self._held))
            self._held.clear()
        if self.request_complete:
            downstream.await_response()

    def _wait(self, decision: Relay | Hold | Local, *, fresh: bool = False) -> None:
        self._task = asyncio.get_running_loop().create_task(
            self._obtain(decision, fresh=fresh), name="nbgate-exchange"
        )
        self._task.add_done_callback(self._obtained)

    def _obtained(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if task is not self._task:
            return  # since it ended, the request was answered otherwise, or tried again
        self._task = None
        if error is not None:
            if problem_of(error).code == "internal":
                told = self._request_id.decode()
                logger.error("request failed request_id=%s", told, exc_info=error)
            self.fail(error)

    async def _obtain(self, decision: Relay | Hold | Local, *, fresh: bool) -> None:
        obtained = await obtain(self._context, decision, replayable=self._replayable, fresh=fresh)
        if isinstance(obtained, Refuse):
            self._answer(problem_of_refusal(obtained))
        else:
            self._attach(*obtained)
