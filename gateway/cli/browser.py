"""A browser without a screen: it keeps cookies, follows redirects, and says what a page says.

What keeps a page from being reached is told in one line, with what to do about it. Names below
`localhost` are this machine, as they are for browsers (RFC 6761, section 6.3).
"""

from __future__ import annotations

import html
import http.client
import http.cookiejar
import json
import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_SECONDS = 30.0
_MOST_BYTES = 4 * 2**20
_MOST_REDIRECTS = 20
_PAGE = {
    "Accept": "text/html",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "none",
}
_SCRIPT = {
    "Accept": "application/json",
    "Sec-Fetch-Dest": "empty",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Site": "same-origin",
}
_SAID = re.compile(r"<h1[^>]*>(.*?)</h1>(?:\s*<p[^>]*>(.*?)</p>)?", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
# See https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/.
_OVER = frozenset((9, 10))
_OF_OTHERS = frozenset((62, 64))


class NotReached(Exception):
    """Nothing answers at a URL. The text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a URL answered, behind all redirects.

    Attributes:
        status: HTTP status code.
        url: where it is, behind the redirects.
        text: the body, at most 4 MiB of it.
    """

    status: int
    url: str
    text: str

    @property
    def said(self) -> str:
        """The heading of the page and what is below it, or a problem's detail; "" for neither."""
        problem = self.json.get("detail")
        if isinstance(problem, str):
            return problem
        found = _SAID.search(self.text)
        if found is None:
            return ""
        parts = (
            " ".join(html.unescape(_TAG.sub("", part or "")).split()) for part in found.groups()
        )
        return ". ".join(part.rstrip(".") for part in parts if part)

    @property
    def told(self) -> str:
        """Its status and what it says, in one line."""
        return f"status {self.status}" + (f": {self.said}" if self.said else "")

    @property
    def json(self) -> dict[str, Any]:
        """The body as a JSON object; empty if it is none."""
        try:
            found = json.loads(self.text)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


class Browser:
    """See the module's docstring. Its cookies are its own."""

    def __init__(self) -> None:
        # A cookie without a domain is the very host's, as in browsers; not of those below it.
        strict = http.cookiejar.DefaultCookiePolicy.DomainStrictNonDomain
        policy = http.cookiejar.DefaultCookiePolicy(strict_ns_domain=strict)
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar(policy))
        self._opener = urllib.request.build_opener(_PlainHandler, _TlsHandler, _Redirects, cookies)

    def page(self, url: str) -> Answer:
        """Return what somebody gets who goes to `url`. Raises NotReached."""
        return self._open(url, _PAGE)

    def call(self, url: str) -> Answer:
        """Return what a script of that site's page gets. Raises NotReached."""
        return self._open(url, _SCRIPT)

    def fault(self, url: str) -> str:
        """Return why a page does not open; "" if it does."""
        try:
            answer = self.page(url)
        except NotReached as error:
            return f"not reached: {error}"
        return "" if answer.status == 200 else answer.told

    def _open(self, url: str, headers: Mapping[str, str]) -> Answer:
        request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310 - our own
        try:
            try:
                response = self._opener.open(request, timeout=_SECONDS)
            except urllib.error.HTTPError as error:
                response = error
            with response:
                text = response.read(_MOST_BYTES).decode("utf-8", "replace")
                return Answer(response.status, response.url, text)
        except urllib.error.URLError as error:
            raise NotReached(_reason(error.reason, url)) from error
        except (OSError, http.client.HTTPException) as error:
            raise NotReached(_reason(error, url)) from error


def _reason(error: object, url: str) -> str:
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
    match error:
        case ssl.SSLCertVerificationError():
            return _of_certificate(error, origin)
        case ssl.SSLError():
            return f"{origin} speaks no TLS that can be used ({error.reason or error})"
        case socket.gaierror():
            return (
                f"{origin}: a host name is not known; check NBGATE_PUBLIC_URL and the names in "
                f"the DNS (with routing by host *.NBGATE_BASE_DOMAIN too)"
            )
        case TimeoutError():
            return f"{origin} did not answer within {_SECONDS:g} s"
        case OSError(strerror=str(text)):
            what = text.lower()
        case _:
            what = str(error) or type(error).__name__
    return f"{origin}: {what}; check NBGATE_PUBLIC_URL, and what serves there"


def _of_certificate(error: ssl.SSLCertVerificationError, origin: str) -> str:
    if error.verify_code in _OVER:
        return f"the certificate of {origin} is not valid now; renew it, or put the clock right"
    if error.verify_code in _OF_OTHERS:
        return (
            f"the certificate of {origin} or of a notebook there is for other names; have one made "
            f"for them (with routing by host *.NBGATE_BASE_DOMAIN too)"
        )
    return (
        f"the certificate of {origin} is of nobody who is trusted here ({error.verify_message}); "
        f"if that is right, name the certificate of who made it: SSL_CERT_FILE=/path/to/ca.pem"
    )


def _is_here(host: str) -> bool:
    return host.lower().rstrip(".").endswith(".localhost")


class _Plain(http.client.HTTPConnection):
    def connect(self) -> None:
        place = "localhost" if _is_here(self.host) else self.host
        self.sock = socket.create_connection((place, self.port), self.timeout)


class _Tls(http.client.HTTPSConnection):
    def connect(self) -> None:
        if not _is_here(self.host):
            super().connect()
            return
        plain = socket.create_connection(("localhost", self.port), self.timeout)
        context = ssl.create_default_context()
        self.sock = context.wrap_socket(plain, server_hostname=self.host)


class _PlainHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Plain, req)


class _TlsHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Tls, req)


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = _MOST_REDIRECTS
