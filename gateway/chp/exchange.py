"""A request and its response in this mode: what counts as activity, and errors told as pages.

It fills in the steps of gateway.proxy.exchange.Exchange that differ, and adds none to others.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from gateway.chp.errorpages import ErrorPages, Page, rendered
from gateway.chp.gate import HEALTHY
from gateway.chp.headers import PlainRules
from gateway.chp.tally import Tally
from gateway.errors import Problem
from gateway.proxy.context import Context, MakeExchange
from gateway.proxy.exchange import Exchange
from gateway.proxy.interface import Activity, Client, Relay
from gateway.proxy.messages import RequestHead, ResponseHead

if TYPE_CHECKING:
    from gateway.proxy.downstream import Downstream

logger = logging.getLogger(__name__)


def exchanges(rules: PlainRules, pages: ErrorPages, tally: Tally) -> MakeExchange:
    """Return what makes the exchange of each request."""
    return partial(OpenExchange, rules, pages, tally)


class OpenExchange(Exchange):
    """A request in flight.

    Args:
        rules: header rules.
        pages: what people are told about errors.
        tally: counts.
        context: shared.
        downstream: the client's connection.
        head: the request.
        client: who sent it.
        forwarding: header lines that tell an upstream.
    """

    __slots__ = ("_pages", "_rules", "_tally", "_telling", "_told")

    def __init__(
        self,
        rules: PlainRules,
        pages: ErrorPages,
        tally: Tally,
        context: Context,
        downstream: Downstream,
        head: RequestHead,
        client: Client,
        forwarding: bytes,
    ) -> None:
        super().__init__(context, downstream, head, client, forwarding)
        self._rules, self._pages, self._tally = rules, pages, tally
        self._telling: asyncio.Task[None] | None = None
        self._told = False
        if head.upgrade:
            tally.websockets += 1
        else:
            tally.requests += 1

    def _enter(self, activity: Activity) -> None:
        self._activity = activity
        activity.requests += 1

    def _settle(self, outcome: str, status: int) -> None:
        if not self._told and outcome not in ("1xx", "aborted"):
            self._tally.statuses[status] += 1
            if self._activity is not None and 200 <= status < 300:
                self._activity.last = self._context.clock()
                self._tally.activity += 1
        self._told = True
        super()._settle(outcome, status)

    def _prepared(self, head: ResponseHead, *, keep_alive: bool) -> bytes:
        made = super()._prepared(head, keep_alive=keep_alive)
        if self._rules.rewrites_location and isinstance(self._relaying, Relay):
            return self._rules.with_location(
                made, head.status, self._relaying.entry, self._head.host
            )
        return made

    def _detach(self) -> None:
        super()._detach()
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None

    def _answer(self, problem: Problem) -> None:
        """Answer with the page that stands for a problem; it may have to be fetched."""
        if problem.code == HEALTHY.code:  # nobody's request
            self._told = True
            self._tally.requests -= 1
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
