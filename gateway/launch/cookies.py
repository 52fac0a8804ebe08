"""The gateway's cookies: their names, their attributes, and how they are found in a request.

The session cookie says who somebody is; the state cookie ties a ticket to the browser that asked
for it, for the minutes that this takes. Whoever comes by a course's link has a session cookie of
that course, `<name>~<course>`: a page of an LMS may show two courses, which know the same student
by two names, and neither must sign the other one out.

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
_STATE_SECONDS = 300
_HTTPS_ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=None; Partitioned"
_HTTP_ATTRIBUTES = "Path=/; HttpOnly; SameSite=Lax"

_MOST_TOKENS = 12
_COURSE = re.compile(rb"[a-z0-9-]{1,63}")
OF_COURSE = "~"
"""What parts a course from the name of its session cookie."""

# Names that must never reach a container; nor do those that go on with OF_COURSE.
GATEWAY_COOKIES: frozenset[bytes] = frozenset(
    name.encode() for name in (_HTTPS_NAME, _HTTP_NAME, _HTTPS_STATE, _HTTP_STATE)
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


def courses_from(cookie_header: bytes, https: bool) -> list[str]:
    """Return the courses that have a session cookie of their own in a Cookie header."""
    prefix = f"{cookie_name(https)}{OF_COURSE}".encode()
    names = (pair.partition(b"=")[0].strip(b" \t") for pair in cookie_header.split(b";"))
    found = [name[len(prefix) :] for name in names if name.startswith(prefix)]
    return [course.decode() for course in found if _COURSE.fullmatch(course)][:_MOST_TOKENS]


def tokens_from(cookie_header: bytes, https: bool) -> list[bytes]:
    """Return all tokens in a Cookie header, at most twelve, those of courses last.

    Another notebook's page may have set a cookie of the same name with a longer path, which
    browsers send first; it must not hide the real one.
    """
    name = cookie_name(https).encode()
    found = _values_of(cookie_header, name)
    if b"~" in cookie_header:
        of_courses = _values_of(cookie_header, name + OF_COURSE.encode(), prefix=True)
        found = found[:4] + of_courses
    return found[:_MOST_TOKENS]


def token_from(cookie_header: bytes, https: bool, course: str = "") -> bytes | None:
    """Return the session's token in a Cookie header, or None; `course` as in `cookie_name`.

    The other scheme's cookie does not count: a page of plain HTTP could have set that one.
    """
    return _value_of(cookie_header, cookie_name(https, course).encode())


def state_cookie(state: str, https: bool) -> str:
    """Return the value of a Set-Cookie header that has the browser keep `state` for 5 minutes."""
    return f"{_state_name(https)}={state}; {_attributes(https)}; Max-Age={_STATE_SECONDS}"


def clear_state_cookie(https: bool) -> str:
    """Return the value of a Set-Cookie header that takes the state cookie away."""
    return f"{_state_name(https)}=; {_attributes(https)}; Max-Age=0"


def state_from(cookie_header: bytes, https: bool) -> bytes | None:
    """Return the state in a Cookie header, or None."""
    return _value_of(cookie_header, _state_name(https).encode())


def _state_name(https: bool) -> str:
    return _HTTPS_STATE if https else _HTTP_STATE


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
