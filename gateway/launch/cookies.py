"""The gateway's cookies: their names, their attributes, and how they are found in a request.

The session cookie says who somebody is; the state cookie ties a ticket to the browser that asked
for it, for the minutes that this takes. Whoever comes by a course's link has a session cookie of
that course, `<name>~<course>`: a page of an LMS may show two courses, which know the same student
by two names, and neither must sign the other one out.

The edge cookie is for httpd alone, where that serves hot notebooks directly: it stands for the
session there, and for nothing here. It goes with the session cookie, course by course.

Pure functions. In an LMS the notebook is in another site's frame, so the cookie must be
`SameSite=None; Secure; Partitioned` there (https://developer.mozilla.org/docs/Web/Privacy/CHIPS).
The header is written by hand: Python's cookies know Partitioned only from 3.14 on.
"""

from __future__ import annotations

import re

# A browser takes a `__Host-` cookie only from this very host, over TLS (RFC 6265bis, 4.1.3.2).
_HTTPS_NAME = "__Host-nbgate"
_HTTP_NAME = "nbgate-session"
_HTTPS_STATE = "__Host-nbgate-state"
_HTTP_STATE = "nbgate-state"
# httpd.conf has these names too.
_HTTPS_EDGE = "__Host-nbgate-edge"
_HTTP_EDGE = "nbgate-edge"
_STATE_SECONDS = 300
_HTTPS_ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=None; Partitioned"
_HTTP_ATTRIBUTES = "Path=/; HttpOnly; SameSite=Lax"

MOST_TOKENS = 12
"""Tokens of a request that are looked at one after the other."""

MOST_COURSES = 100
"""Courses of one browser that the pages look at."""

_MOST_OF_A_NAME = 4
_COURSE = re.compile(rb"[a-z0-9-]{1,63}")
OF_COURSE = "~"
"""What parts a course from the name of its session cookie."""

# Names that must never reach a container; nor do those that go on with OF_COURSE.
GATEWAY_COOKIES: frozenset[bytes] = frozenset(
    name.encode()
    for name in (_HTTPS_NAME, _HTTP_NAME, _HTTPS_STATE, _HTTP_STATE, _HTTPS_EDGE, _HTTP_EDGE)
)


def cookie_name(https: bool, course: str = "") -> str:
    """Return the name of the session cookie; `https` is the scheme that the browser sees.

    `course` is a project's name; "" for the cookie of who came by no course's link.
    """
    name = _HTTPS_NAME if https else _HTTP_NAME
    return f"{name}{OF_COURSE}{course}" if course else name


def session_cookie(token: str, https: bool, max_age: float | None = None, course: str = "") -> str:
    """Return the value of a Set-Cookie header that gives `token` to the browser.

    `max_age` is seconds; None means until the browser closes. `course` as in `cookie_name`.
    """
    lasting = "" if max_age is None else f"; Max-Age={int(max_age)}"
    return f"{cookie_name(https, course)}={token}; {_attributes(https)}{lasting}"


def clear_cookie(https: bool, course: str = "") -> str:
    """Return the value of a Set-Cookie header that takes the session cookie away."""
    return f"{cookie_name(https, course)}=; {_attributes(https)}; Max-Age=0"


def edge_cookie_name(https: bool, course: str = "") -> str:
    """Return the name of the edge cookie; arguments as in `cookie_name`."""
    name = _HTTPS_EDGE if https else _HTTP_EDGE
    return f"{name}{OF_COURSE}{course}" if course else name


def edge_cookie(edge: str, https: bool, max_age: float | None = None, course: str = "") -> str:
    """Return the value of a Set-Cookie header that gives an edge id to the browser.

    Arguments as in `session_cookie`.
    """
    lasting = "" if max_age is None else f"; Max-Age={int(max_age)}"
    return f"{edge_cookie_name(https, course)}={edge}; {_attributes(https)}{lasting}"


def clear_edge_cookie(https: bool, course: str = "") -> str:
    """Return the value of a Set-Cookie header that takes the edge cookie away."""
    return f"{edge_cookie_name(https, course)}=; {_attributes(https)}; Max-Age=0"


def courses_from(cookie_header: bytes, https: bool) -> list[str]:
    """Return the courses that have a session cookie of their own in a Cookie header."""
    prefix = f"{cookie_name(https)}{OF_COURSE}".encode()
    names = (pair.partition(b"=")[0].strip(b" \t") for pair in cookie_header.split(b";"))
    found = [name[len(prefix) :] for name in names if name.startswith(prefix)]
    return [course.decode() for course in found if _COURSE.fullmatch(course)][:MOST_COURSES]


def tokens_from(cookie_header: bytes, https: bool, most: int = MOST_TOKENS) -> list[bytes]:
    """Return all tokens in a Cookie header, at most so many, those of courses last.

    Another notebook's page may have set a cookie of the same name with a longer path, which
    browsers send first; it must not hide the real one.
    """
    name = cookie_name(https).encode()
    found = _values_of(cookie_header, name)
    if b"~" in cookie_header:
        of_courses = _values_of(cookie_header, name + OF_COURSE.encode(), prefix=True)
        found = found[:_MOST_OF_A_NAME] + of_courses
    return found[:most]


def tokens_of_course(cookie_header: bytes, https: bool, course: str) -> list[bytes]:
    """Return the tokens of one course, however many courses the browser has been to."""
    return _values_of(cookie_header, cookie_name(https, course).encode())[:_MOST_OF_A_NAME]


def token_from(cookie_header: bytes, https: bool, course: str = "") -> bytes | None:
    """Return the session's token in a Cookie header, or None; `course` as in `cookie_name`.

    The other scheme's cookie does not count: a page of plain HTTP could have set that one.
    """
    return _value_of(cookie_header, cookie_name(https, course).encode())


def state_cookie(state: str, https: bool, flow: str = "", max_age: float = _STATE_SECONDS) -> str:
    """Return the value of a Set-Cookie header that has the browser keep `state`.

    Args:
        state: to keep.
        https: the scheme that the browser sees.
        flow: a word that keeps apart what goes on at once in several tabs; "" for none.
        max_age: seconds.
    """
    return f"{_state_name(https, flow)}={state}; {_attributes(https)}; Max-Age={int(max_age)}"


def clear_state_cookie(https: bool, flow: str = "") -> str:
    """Return the value of a Set-Cookie header that takes the state cookie away."""
    return f"{_state_name(https, flow)}=; {_attributes(https)}; Max-Age=0"


def state_from(cookie_header: bytes, https: bool, flow: str = "") -> bytes | None:
    """Return the state in a Cookie header, or None."""
    return _value_of(cookie_header, _state_name(https, flow).encode())


def flows_from(cookie_header: bytes, https: bool) -> list[str]:
    """Return the words of the flows that have a state cookie in a Cookie header."""
    prefix = f"{_state_name(https)}{OF_COURSE}".encode()
    names = (pair.partition(b"=")[0].strip(b" \t") for pair in cookie_header.split(b";"))
    found = [name[len(prefix) :] for name in names if name.startswith(prefix)]
    return [flow.decode() for flow in found if _COURSE.fullmatch(flow)]


def _state_name(https: bool, flow: str = "") -> str:
    name = _HTTPS_STATE if https else _HTTP_STATE
    return f"{name}{OF_COURSE}{flow}" if flow else name


def _value_of(cookie_header: bytes, wanted: bytes) -> bytes | None:
    return next(iter(_values_of(cookie_header, wanted)), None)


def _values_of(cookie_header: bytes, wanted: bytes, *, prefix: bool = False) -> list[bytes]:
    if wanted not in cookie_header:
        return []
    pairs = (pair.partition(b"=") for pair in cookie_header.split(b";"))
    named = ((name.strip(b" \t"), value.strip(b" \t")) for name, _, value in pairs)
    if prefix:
        return [value for name, value in named if value and name.startswith(wanted)]
    return [value for name, value in named if value and name == wanted]


def _attributes(https: bool) -> str:
    return _HTTPS_ATTRIBUTES if https else _HTTP_ATTRIBUTES
