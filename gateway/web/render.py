"""HTML answers: the templates, and the headers that every page carries."""

from __future__ import annotations

import jinja2
from aiohttp import web

from gateway.web.context import pages_of, wants_html
from gateway.web.framing import ancestors_of
from gateway.web.language import DEFAULT, Words, words_for

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("gateway.web"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def request_id_of(request: web.Request) -> str:
    """Return the request's X-Request-ID; the data path has made it or found it sane."""
    return request.headers.get("X-Request-ID", "")


def words_of(request: web.Request) -> Words:
    """Return the words of the language that the request wants."""
    return words_for(request.headers.get("Accept-Language", ""))


def page(
    request: web.Request, template: str, *, status: int = 200, **values: object
) -> web.Response:
    """Return a page that no cache keeps and that only allowed sites may frame."""
    words, home = words_of(request), pages_of(request).origin
    text = _TEMPLATES.get_template(template).render(home=home, t=words, **values)
    return web.Response(
        text=text,
        status=status,
        content_type="text/html",
        headers={
            "Cache-Control": "no-store",
            "Vary": "Accept-Language",
            # With "no-referrer" the forms on these pages would be sent with `Origin: null`.
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": (
                "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
                f"img-src 'self' data:; form-action 'self'; base-uri 'none'; "
                f"frame-ancestors {ancestors_of(request)}"
            ),
        },
    )


def say(
    request: web.Request, status: int, key: str, code: str, detail: str | None = None
) -> web.Response:
    """Return the message that the words have under `key`, for programs in English.

    Args:
        request: decides between page and problem+json, and the language.
        status: HTTP status code.
        key: of the words.
        code: a stable word for programs.
        detail: said in place of the words' own; None for those.
    """
    words = words_of(request) if wants_html(request) else words_for(DEFAULT)
    return message(request, status, words(f"{key}.title"), detail or words(f"{key}.detail"), code)


def message(
    request: web.Request, status: int, title: str, detail: str, code: str = "error"
) -> web.Response:
    """Return a short message: a page for people, problem+json (RFC 9457) for programs.

    Both tell the request's id, by which an operator finds it in the log.
    """
    request_id = request_id_of(request)
    if wants_html(request):
        words = {"title": title, "detail": detail, "request_id": request_id}
        return page(request, "message.html", status=status, **words)
    problem = {"type": f"about:blank#{code}", "title": title, "status": status, "detail": detail}
    return web.json_response(
        problem | {"request_id": request_id},
        status=status,
        content_type="application/problem+json",
        headers={"Cache-Control": "no-store"},
    )
