"""What is beside the data path: the routes and what serves them to JupyterHub and Prometheus."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.chp.api import RoutesApi
from gateway.chp.book import Relays, RouteBook
from gateway.chp.listening import listening_tls, serve_web
from gateway.chp.metrics import Exposition
from gateway.chp.options import Options
from gateway.chp.tally import Tally
from gateway.errors import InvalidInput
from gateway.traffic import Traffic
from routes.keys import InvalidTarget, Target

logger = logging.getLogger(__name__)


def book_of(
    options: Options, retired: Callable[[Target], None], relays: Relays | None = None
) -> RouteBook:
    """Return a book without routes; see RouteBook."""
    return RouteBook(
        by_host=options.host_routing,
        prepend_path=options.prepend_path,
        retired=retired,
        relays=relays,
    )


def put_default(book: RouteBook, options: Options) -> None:
    """Set the route that the command line names. Raises InvalidInput."""
    if not options.default_target:
        return
    try:
        book.put("/", {"target": options.default_target})
    except InvalidTarget as error:
        raise InvalidInput(f"--default-target: {error}") from error
    logger.info("Route added / -> %s", options.default_target)


async def keep_in_file(book: RouteBook, options: Options, stack: contextlib.AsyncExitStack) -> None:
    """Load routes that were kept, and keep them, until the stack is left. Raises InvalidInput."""
    if options.route_file:
        from gateway.chp.keeping import keep  # noqa: PLC0415 - few keep a file

        await keep(book, Path(options.route_file), stack, by_host=options.host_routing)


async def serve_api(
    book: RouteBook, tally: Tally, options: Options, stack: contextlib.AsyncExitStack
) -> list[Any]:
    """Serve the API until the stack is left; return where. Raises InvalidInput."""
    api = RoutesApi(book, tally, options.token).server()
    tls = listening_tls(options.api_tls, stack)
    addresses = await serve_web(api, options.api, tls, stack, private=not options.token)
    logger.info("Proxy API at %s://%s/api/routes", "https" if tls else "http", options.api)
    return addresses


async def serve_metrics(
    book: RouteBook,
    tally: Tally,
    traffic: Traffic,
    options: Options,
    stack: contextlib.AsyncExitStack,
) -> list[Any]:
    """Serve the metrics until the stack is left, if they were asked for; return where.

    Raises:
        InvalidInput: it cannot listen there.
    """
    if options.metrics is None:
        return []
    shown = Exposition(tally, traffic, lambda: len(book))
    addresses = await serve_web(shown.server(), options.metrics, None, stack)
    logger.info("Serve metrics at http://%s/metrics", options.metrics)
    return addresses


def say_proxying(options: Options) -> None:
    """Say that clients are served, in the words that callers look for."""
    scheme = "https" if options.tls.given else "http"
    goal = options.default_target or "(no default)"
    logger.info("Proxying %s://%s to %s", scheme, options.public, goal)


def warn_without_token(options: Options) -> None:
    """Say that everybody on this machine may call the API."""
    if not options.token:
        logger.warning("REST API is not authenticated.")
