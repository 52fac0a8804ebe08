"""A request and its response in this mode: what counts as activity, and errors told as pages.

It fills in the steps of gateway.proxy.exchange.Exchange that differ, and adds none to others.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gateway.chp.errorpages import ErrorPages, Page, rendered
from gateway.chp.gate import HEALTHY
from gateway.chp.tally import Tally
from gateway.problems import Problem
from gateway.proxy.accesslog import Entry
from gateway.proxy.context import Context, MakeExchange
from gateway.proxy.exchange import Exchange
from gateway.proxy.interface import Activity, Client, Decision
from gateway.proxy.messages import RequestHead
from gateway.proxy.tunnel import Tunnel

if TYPE_CHECKING:
    from gateway.proxy.downstream import Downstream

logger = logging.getLogger(__name__)


def exchanges(pages: ErrorPages, tally: Tally | None = None) -> MakeExchange:
    """Return what makes the exchange of each request.

    Args:
        pages: what people are told about errors.
        tally: counts; None where nobody reads them.
    """

    def uncounted(
        context: Context, downstream: Downstream, head: RequestHead, client: Client, lines: bytes
    ) -> Exchange:
        return OpenExchange(pages, context, downstream, head, client, lines)

    def counted(
        context: Context, downstream: Downstream, head: RequestHead, client: Client, lines: bytes
    ) -> Exchange:
        assert tally is not None
        return CountedExchange(tally, pages, context, downstream, head, client, lines)

    return uncounted if tally is None else counted


class OpenExchange(Exchange):
    """A request in flight.

    Args:
        pages: what people are told about errors.
        context: shared.
        downstream: the client's connection.
        head: the request.
        client: who sent it.
        forwarding: header lines that tell an upstream.
    """

    __slots__ = ("_pages", "_telling")

    def __init__(
        self,
        pages: ErrorPages,
        context: Context,
        downstream: Downstream,
        head: RequestHead,
        client: Client,
        forwarding: bytes,
    ) -> None:
        super().__init__(context, downstream, head, client, forwarding)
        self._pages = pages
        self._telling: asyncio.Task[None] | None = None

    def _enter(self, activity: Activity) -> None:
        self._activity = activity
        activity.requests += 1

    def _settle(self, outcome: str, status: int) -> None:
        if 200 <= status < 300 and self._activity is not None and not self.settled:
            self._mark(self._activity)
        super()._settle(outcome, status)

    def _detach(self) -> None:
        super()._detach()
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None

    def _answer(self, problem: Problem) -> None:
        """Answer with the page that stands for a problem; it may have to be fetched."""
        page = self._pages.at_once(problem, self._head)
        if page is not None:
            self._tell(page)
        else:
            self._telling = asyncio.get_running_loop().create_task(
                self._fetch_and_tell(problem), name="nbgate-proxy-error-page"
            )

    async def _fetch_and_tell(self, problem: Problem) -> None:
        page = await self._pages.fetch(problem, self._head)
        self._telling = None
        self._tell(page)

    def _tell(self, page: Page) -> None:
        head = self._head
        if page.status >= 400:
            path = head.path.decode("latin-1")
            level = logging.ERROR if page.status >= 500 else logging.WARNING
            logger.log(level, "%d %s %s %s", page.status, head.method.decode(), path, page.reason)
        keep_alive = head.keep_alive and self.request_complete and not self._context.draining
        self.write(rendered(page, head, keep_alive=keep_alive))
        self._settle(f"{page.status // 100}xx", page.status)
        self._downstream.response_complete(keep_alive=keep_alive)


class CountedExchange(OpenExchange):
    """The same where somebody reads the counts.

    Args:
        tally: the counts.
        pages, context, downstream, head, client, forwarding: see OpenExchange.
    """

    __slots__ = ("_counts", "_tally")

    def __init__(
        self,
        tally: Tally,
        pages: ErrorPages,
        context: Context,
        downstream: Downstream,
        head: RequestHead,
        client: Client,
        forwarding: bytes,
    ) -> None:
        super().__init__(pages, context, downstream, head, client, forwarding)
        self._tally = tally
        self._counts = False

    def begin(self, decision: Decision) -> None:
        """Count the request unless it asks for the proxy's health: that is nobody's."""
        self._counts = decision is not HEALTHY
        if self._counts and self._head.upgrade:
            self._tally.websockets += 1
        elif self._counts:
            self._tally.requests += 1
        super().begin(decision)

    def _mark(self, activity: Activity) -> None:
        start = self._tally.clock()
        super()._mark(activity)
        self._tally.marked(self._tally.clock() - start)

    def _settle(self, outcome: str, status: int) -> None:
        if self._counts and not self.settled and outcome not in ("1xx", "aborted"):
            self._tally.statuses[status] += 1
        super()._settle(outcome, status)

    def _tunnel(
        self,
        client: asyncio.Transport,
        upstream: asyncio.Transport,
        activity: Activity | None,
        entry: Entry | None,
    ) -> Tunnel:
        return _CountedTunnel(self._tally, self._context, client, upstream, activity, entry)


class _CountedTunnel(Tunnel):
    """A tunnel whose signs of a person are counted."""

    def __init__(
        self,
        tally: Tally,
        context: Context,
        client: asyncio.Transport,
        upstream: asyncio.Transport,
        activity: Activity | None,
        entry: Entry | None,
    ) -> None:
        self._tally = tally
        super().__init__(context, client, upstream, activity, entry)

    def person_sent(self) -> None:
        """Note a sign of a person, and how long that took."""
        start = self._tally.clock()
        super().person_sent()
        self._tally.marked(self._tally.clock() - start)
