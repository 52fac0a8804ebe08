"""A project's own check whether an idle server is still busy: a URL, or a command in it. Pure."""

from __future__ import annotations

import shlex
from urllib.parse import urlsplit

from gateway.errors import InvalidInput

_SCHEMES = ("http://", "https://")


def is_url(text: str) -> bool:
    """Whether it is a URL; a command else."""
    return text.lower().startswith(_SCHEMES)


def check_still_busy(text: str) -> str:
    """Return the check without spaces around it.

    The URL may lead anywhere: who can set it can run containers. So it is never to be set by
    who may not use the management API.

    Raises:
        InvalidInput: it is neither an http(s) URL nor a command.
    """
    text = text.strip()
    if "://" in text.partition(" ")[0]:
        _check_url(text)
        return text
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InvalidInput(f"{text!r} is no command: {error}") from error
    if not words or not words[0]:
        raise InvalidInput("it needs a command, or a URL")
    return text


def _check_url(text: str) -> None:
    try:
        parts = urlsplit(text)
        usable = is_url(text) and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(char.isspace() for char in text):
        raise InvalidInput(f"{text!r} is no http or https URL")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("the URL must not have a user or password in it")
