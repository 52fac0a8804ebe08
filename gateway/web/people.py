"""What the pages need to let people in who come without an LMS."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from gateway.launch.provider import Provider
from gateway.launch.subjects import Naming


@dataclass(frozen=True, slots=True)
class SignIn:
    """A provider at which people sign in.

    Attributes:
        provider: asks it.
        naming: who its people are here.
        name: what people call it.
        straight_on: whether whoever is not signed in is sent there without being asked.
    """

    provider: Provider
    naming: Naming
    name: str
    straight_on: bool = False


_LONGEST_PATH = 1000
SIGN_IN: web.AppKey[SignIn] = web.AppKey("sign-in")


def sign_in_of(request: web.Request) -> SignIn | None:
    """Return the provider at which people sign in, or None."""
    return request.config_dict.get(SIGN_IN)


def is_framed(request: web.Request) -> bool:
    """Whether the page is to be shown in another page's frame (Fetch Metadata)."""
    return request.headers.get("Sec-Fetch-Dest", "") in ("iframe", "frame", "embed", "object")


def path_of_ours(text: str) -> str:
    """Return `text` if it is a path at the gateway's own origin, else the home page's."""
    plain = text.isascii() and text.isprintable() and " " not in text and "\\" not in text
    if not plain or not text.startswith("/") or text.startswith("//"):
        return "/"
    return text if len(text) <= _LONGEST_PATH else "/"
