"""A browser for links: it keeps cookies, follows nothing by itself, and asks the real data path."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.proxy.harness import Rig
from tests.proxy.wire import Message

HOST = "h"
MOST = 8


@dataclass
class Browser:
    """One browser at the gateway's origin.

    Attributes:
        proxy: the data path that it asks.
        cookies: name → value.
        keeps_cookies: whether it takes cookies at all.
    """

    proxy: Rig
    cookies: dict[str, str] = field(default_factory=dict)
    keeps_cookies: bool = True

    async def ask(self, path: str, method: str = "GET", **headers: str) -> Message:
        """Send one request; keep the cookies of its answer."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", "Accept: text/html"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if method == "POST":
            lines.append("Content-Length: 0")
        if self.cookies:
            lines.append("Cookie: " + "; ".join(f"{k}={v}" for k, v in self.cookies.items()))
        answer = await self.proxy.ask("\r\n".join([*lines, "", ""]).encode("latin-1"), method)
        if self.keeps_cookies:
            for line in answer.all(b"set-cookie"):
                name, _, value = line.decode().partition(";")[0].partition("=")
                self.cookies[name] = value
        return answer

    async def open(self, path: str) -> Message:
        """Follow redirects at the gateway's own pages; return the first other answer."""
        for _ in range(MOST):
            answer = await self.ask(path)
            where = location(answer)
            if not where or where.startswith("/nb/"):
                return answer
            path = where
        raise AssertionError(f"it goes round and round: {path}")


def location(answer: Message) -> str:
    """Return where an answer leads, on its own origin; "" for nowhere else."""
    where = (answer.one(b"location") or b"").decode()
    parts = urlsplit(where)
    assert parts.netloc in ("", HOST), where
    assert not where.startswith(("//", "/\\")), where
    return where.removeprefix(f"http://{HOST}")
