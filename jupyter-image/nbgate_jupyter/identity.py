"""Who a request is from: the gateway, which proves itself by the hop secret, names the person.

Jupyter's own token stays empty, so the page's configuration has none and a stale `?token=`
cannot spoil a request of the gateway's. Stands by itself: the gateway gives this file to images
that are not ours too, and to servers that are processes.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Any
from urllib.parse import unquote

from jupyter_server.auth import IdentityProvider, User
from traitlets import Unicode

USER_HEADER = "X-Nbgate-User"
NAME_HEADER = "X-Nbgate-User-Name"
_LONGEST_NAME = 200
_MOST_NAMES = 100
_AUTHORIZATION = re.compile(r"(?:token|bearer)\s+(\S+)\s*", re.IGNORECASE)


class HopIdentityProvider(IdentityProvider):
    """Trusts whoever has the hop secret.

    - `Authorization: token <secret>`: the gateway. It has checked session and Origin; who the
      person is stands in `X-Nbgate-User`, and what they are called in `X-Nbgate-User-Name` if
      that is known, both percent-encoded UTF-8. httpd, where it serves notebooks by itself, knows
      the first alone: then the name counts that was told last. No cookie is set.
    - `?token=<secret>`, or the secret in the login form: a browser that came by the direct URL of
      the development mode. It gets Jupyter's normal login cookie, and Jupyter's own checks.
    """

    hop_secret = Unicode("", help="The secret shared with the gateway.").tag(config=True)
    user_name = Unicode("", help="The person's name where no header tells it.").tag(config=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self._names: dict[str, str] = {}

    def get_user(self, handler: Any) -> Any:
        """Return the person, or an awaitable of the person or None."""
        if self._from_gateway(handler):
            return self._person(handler)
        return self._get_user(handler)

    async def get_user_token(self, handler: Any) -> User | None:
        """Return the person if `?token=` is the secret."""
        if self._is_secret(handler.get_argument("token", "")):
            return self._person(handler)
        return None

    def is_token_authenticated(self, handler: Any) -> bool:
        """Tell whether the secret came with the request; then XSRF and Origin are not checked."""
        return self._from_gateway(handler) or bool(super().is_token_authenticated(handler))

    def process_login_form(self, handler: Any) -> User | None:
        """Return the person if the form's password is the secret."""
        if self._is_secret(handler.get_argument("password", default="")):
            return self._person(handler)
        return None

    def get_cookie_name(self, handler: Any) -> str:
        """Return a name of this notebook's own.

        Jupyter's has the port in it, which changes when a container is started again; cookies do
        not tell ports apart, so notebooks on one host must not share a name either.
        """
        return f"nbgate-{derive(self.hop_secret, 'cookie name').hex()[:12]}"

    def _from_gateway(self, handler: Any) -> bool:
        match = _AUTHORIZATION.fullmatch(handler.request.headers.get("Authorization", ""))
        return match is not None and self._is_secret(match[1])

    def _is_secret(self, candidate: str) -> bool:
        mine, theirs = self.hop_secret.encode(), candidate.encode(errors="replace")
        return bool(mine) and hmac.compare_digest(mine, theirs)

    def _person(self, handler: Any) -> User:
        subject, told = "", ""
        if self._from_gateway(handler):
            subject = readable(unquote(handler.request.headers.get(USER_HEADER, "")))
            told = readable(unquote(handler.request.headers.get(NAME_HEADER, "")))
        subject = subject or readable(self.user_name) or "anonymous"
        name = self._remembered(subject, told) or short(subject)
        return User(username=subject, name=name, display_name=name, initials=initials(name))

    def _remembered(self, subject: str, told: str) -> str:
        """Return what `subject` was called last; `told` is what they are called now, or ""."""
        if not told or self._names.get(subject) == told:
            return self._names.get(subject, "")
        if len(self._names) >= _MOST_NAMES:
            del self._names[next(iter(self._names))]
        self._names[subject] = told
        return told


def derive(secret: str, purpose: str) -> bytes:
    """Return 32 bytes that follow from `secret` and tell nothing about it."""
    return hmac.new(secret.encode(), purpose.encode(), hashlib.sha256).digest()


def readable(name: str) -> str:
    """Return `name` without control characters, at most 200 characters long."""
    return "".join(letter for letter in name if letter.isprintable())[:_LONGEST_NAME].strip()


def short(subject: str) -> str:
    """Return the part of `subject` that names the person: `oidc/login.example.org:ada` is ada."""
    return subject.rpartition(":")[2].strip() or subject


def initials(name: str) -> str:
    """Return up to two letters for `name`: of its first and of its last word."""
    words = [word for word in re.split(r"[\s._@-]+", name) if word]
    letters = [words[0][0], words[-1][0]] if len(words) > 1 else [name[:1]]
    return "".join(letters).upper()
