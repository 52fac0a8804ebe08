"""Values of settings that are more than text and numbers: addresses, networks, lists, origins."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import PlainSerializer
from pydantic_settings import NoDecode

from gateway.errors import InvalidInput
from gateway.notebooks.ancestors import HOST

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
CommaList = Annotated[tuple[str, ...], NoDecode, PlainSerializer(",".join, return_type=str)]

DOMAIN = re.compile(HOST)
ORIGIN = re.compile(rf"https?://(?:{HOST}|\[[0-9a-f:]+\])(?::[0-9]{{1,5}})?", re.IGNORECASE)


def parse_address(text: str) -> tuple[str, int]:
    """Return (host, port) of `host:port`, IPv6 hosts in brackets.

    Raises:
        InvalidInput: it is no such pair.
    """
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise InvalidInput(f"{text!r} is not host:port; write for example 127.0.0.1:8000")
    return host, int(port)
