"""The page of links that asks: a text, and one thing to do."""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web

from gateway.web.render import page


def question(
    request: web.Request,
    status: int,
    key: str,
    *,
    action: str = "",
    onward: str = "",
    tab: str = "",
    file: str = "",
    who: str = "",
) -> web.Response:
    """Return a page of links: a text, and one thing to do.

    Args:
        request: of the page.
        status: HTTP status code.
        key: of its words.
        action: what its button posts to; "" for no button.
        onward: what its link leads to; "" for no link.
        tab: likewise, in a tab of its own.
        file: that the text names.
        who: likewise.
    """
    for place in (action, onward, tab):
        assert not urlsplit(place).netloc
    values = {"key": key, "action": action, "onward": onward, "tab": tab, "file": file, "who": who}
    return page(request, "link.html", status=status, **values)
