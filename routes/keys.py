"""Keys and targets of the route database: validation, canonical form, the key of a request.

Pure functions over bytes and strings; no I/O. One canonical percent-encoding (RFC 3986, sections
6.2.2.1 and 6.2.2.2): unreserved characters decoded, every other escape as upper-case `%XX`, and
what a path cannot hold raw is escaped. `%2F` stays, and is no segment boundary.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

LONGEST_PATH_KEY = 8000
"""Bytes. Longer request targets need not be accepted by anybody (RFC 9112, section 3)."""

_LONGEST_HOST = 253
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# An escape, or a byte that is no `pchar` of RFC 3986, section 3.3, and no `/`.
_TO_NORMALISE = re.compile(rb"%([0-9A-Fa-f]{2})|[^A-Za-z0-9\-._~!$&'()*+,;=:@/]")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*")
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")
_PORT = re.compile(r":[0-9]*\Z")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_UNIX_SCHEMES = frozenset({"http+unix", "unix+http"})
_LONGEST_SOCKET = 107  # bytes of `sun_path` in front of its NUL, unix(7)


@dataclass(eq=False)
class InvalidKey(ValueError):
    """A key that cannot be stored: not ASCII, empty, blanks, control characters, no host or path.

    Attributes:
        key: what was given.
        reason: why not, and the remedy.
    """

    key: str | bytes
    reason: str

    def __str__(self) -> str:
        return f"route key {_shown(self.key)} {self.reason}"


@dataclass(eq=False)
class InvalidTarget(ValueError):
    """A target that httpd or the gateway could not use.

    Attributes:
        target: what was given.
        reason: why not, and the remedy.
    """

    target: str | bytes
    reason: str

    def __str__(self) -> str:
        return f"target {_shown(self.target)} {self.reason}"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a route leads.

    Attributes:
        host: host name, IPv4 address, or IPv6 address without brackets; `localhost` for a socket.
        port: 1–65535; 80 for a socket.
        scheme: `http`; `https` only where that was asked for.
        path: what is put before the raw request path; "" for a plain target. Has no trailing `/`.
        socket: absolute path of the Unix socket to connect to; "" for host and port.
        query: what is put before the request's query; only the proxy of a JupyterHub has such.
    """

    host: str
    port: int
    scheme: str = "http"
    path: str = ""
    socket: str = ""
    query: str = ""

    @property
    def plain(self) -> bool:
        """Whether it is a `host:port` that httpd can use."""
        return self.scheme == "http" and not (self.path or self.socket or self.query)

    def __str__(self) -> str:
        path = f"{self.path}?{self.query}" if self.query else self.path
        if self.socket:
            return f"{self.scheme}+unix://{quote(self.socket, safe='')}{path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.plain:
            return f"{host}:{self.port}"
        return f"{self.scheme}://{host}:{self.port}{path}"


def canonical_key(item: str | bytes) -> str:
    """Return `item` as a key of the route database.

    A key that begins with `/` is a path prefix: canonical percent-encoding, no trailing `/`
    except in `/` itself. Any other is a host: lower case, without port or trailing dot.

    Raises:
        InvalidKey: it cannot be a key; the text says why.
    """
    reason = _unusable_text(item)
    if reason:
        raise InvalidKey(item, reason)
    text = item if isinstance(item, str) else item.decode("ascii")
    return _path_key(text) if text.startswith("/") else _host_key(text)


def canonical_path(raw: bytes) -> str:
    """Return a request's raw path in the form that path keys have; never raises.

    Blanks, control characters, bytes ≥ 0x80 and a `%` that begins no escape are percent-encoded.
    A query, if there is one, is cut off. Trailing slashes stay.
    """
    return canonical_segment(raw.partition(b"?")[0]).decode("ascii")


def canonical_segment(raw: bytes) -> bytes:
    """Return one segment, or several, of a raw path in canonical percent-encoding."""
    return _TO_NORMALISE.sub(_normalised, raw)


def canonical_host(raw: bytes) -> str:
    """Return a Host header's value in the form that host keys have; never raises.

    Lower case, port and trailing dot removed; an IPv6 address stays in its brackets, compressed
    (RFC 5952). What is no host comes back as some text that equals no key.
    """
    text = _PORT.sub("", raw.decode("latin-1").strip().lower())
    if text.startswith("["):
        return _bracketed(text) or text
    return text.removesuffix(".")


def parse_target(item: str | bytes, *, tls: bool = False) -> Target:
    """Return the target that `item` stands for.

    It is `host:port`, `http://host[:port][/path]`, or for a Unix socket
    `http+unix://%2Fpath%2Fto.sock[/path]` (`unix+http://` is the same; a port behind the socket,
    which JupyterHub writes, means nothing). Without a port, an `http://` target has port 80. Host
    names are lower-cased.

    Args:
        item: the text.
        tls: whether `https://host[:port][/path]` is a target too; its port is 443 without one.

    Raises:
        InvalidTarget: neither httpd nor the gateway could use it; the text says why.
    """
    reason = _unusable_text(item)
    if reason:
        raise InvalidTarget(item, reason)
    text = item if isinstance(item, str) else item.decode("ascii")
    scheme = _SCHEME.match(text)
    if scheme and scheme[1].lower() in _UNIX_SCHEMES:
        authority, slash, path = text[scheme.end() :].partition("/")
        place = _PORT.sub("", authority)
        path = _target_path(item, slash + path)
        return Target("localhost", 80, "http", path, _target_socket(item, place))
    name = scheme[1].lower() if scheme else "http"
    if name != "http" and not (tls and name == "https"):
        raise InvalidTarget(item, f"has scheme {name}: only http is spoken to notebooks")
    authority, slash, path = text[scheme.end() if scheme else 0 :].partition("/")
    if slash and not scheme:
        raise InvalidTarget(item, "has a path but no scheme; write http://host:port/path")
    default = _DEFAULT_PORTS[name] if scheme else ""
    host, port = _host_and_port(item, authority, default)
    return Target(host, port, name, _target_path(item, slash + path))


def canonical_target(item: str | bytes) -> str:
    """Return `item` as the route file holds it. Raises InvalidTarget."""
    return str(parse_target(item))


def checked_text(item: str | bytes) -> str:
    """Return `item`, a value of a map that holds no targets (secrets, JSON), as it is.

    Raises:
        InvalidTarget: it is empty (httpd takes that for a miss), not ASCII, or has control
            characters.
    """
    reason = _unusable_text(item, blanks=True)
    if reason:
        raise InvalidTarget(item, reason)
    return item if isinstance(item, str) else item.decode("ascii")


def _shown(item: str | bytes) -> str:
    text = item if isinstance(item, str) else item.decode("ascii", "backslashreplace")
    return ascii(text) if len(text) <= 80 else ascii(text[:77]) + "…"


def _unusable_text(item: str | bytes, *, blanks: bool = False) -> str:
    """Return why `item` is no printable ASCII text, or "" when it is."""
    if not item:
        return "is empty"
    if not item.isascii():
        return "is not ASCII; percent-encode what is not (é is %C3%A9)"
    codes = item.encode("ascii") if isinstance(item, str) else item
    if not blanks and b" " in codes:
        return "has a blank; percent-encode it as %20"
    if min(codes) < 0x20 or 0x7F in codes:
        return "has a control character"
    return ""


def _normalised(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    code = int(escape, 16) if escape else match[0][0]
    return bytes((code,)) if code in _UNRESERVED else b"%%%02X" % code


def _path_key(text: str) -> str:
    if "?" in text or "#" in text:
        raise InvalidKey(text, "has a query or fragment; a key is a path alone")
    raw = text.encode("ascii")
    if _BROKEN_ESCAPE.search(raw):
        raise InvalidKey(text, "has a % that begins no escape; write %25 for a percent sign")
    key = canonical_segment(raw).decode("ascii").rstrip("/") or "/"
    if len(key) > LONGEST_PATH_KEY:
        raise InvalidKey(text, f"is longer than {LONGEST_PATH_KEY} bytes")
    if not {".", ".."}.isdisjoint(key.split("/")):
        raise InvalidKey(text, "has a . or .. segment, which clients remove before they ask")
    return key


def _host_key(text: str) -> str:
    if _SCHEME.match(text):
        raise InvalidKey(text, "is a URL; a key is a host name, or a path that begins with /")
    host = canonical_host(text.encode("ascii"))
    if host.startswith("[") and _bracketed(host):
        return host
    if not _HOST.fullmatch(host) or len(host) > _LONGEST_HOST or _long_label(host):
        raise InvalidKey(text, "is neither a host name nor a path that begins with /")
    return host


def _long_label(host: str) -> bool:
    return any(len(label) > 63 for label in host.split("."))


def _bracketed(text: str) -> str | None:
    """Return the IPv6 literal `[…]` with its address compressed; None when it is none."""
    try:
        address = ipaddress.IPv6Address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    if not text.endswith("]") or address.scope_id:
        return None
    return f"[{address.compressed}]"


def _host_and_port(item: str | bytes, authority: str, default: str) -> tuple[str, int]:
    if "@" in authority:
        raise InvalidTarget("…", "has credentials; a target has none")
    if "?" in authority or "#" in authority:
        raise InvalidTarget(item, "has a query or fragment; a target has none")
    host, colon, port = authority.lower().rpartition(":")
    if not colon or port.endswith("]"):
        host, port = authority.lower(), default
    if not port:
        raise InvalidTarget(item, "has no port; write host:port")
    if not (port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise InvalidTarget(item, "has a port that is no number from 1 to 65535")
    return _target_host(item, host), int(port)


def _target_host(item: str | bytes, host: str) -> str:
    if host.startswith("["):
        literal = _bracketed(host)
        if literal is None:
            raise InvalidTarget(item, "has no valid IPv6 address in its brackets")
        return literal[1:-1]
    if ":" in host:
        raise InvalidTarget(item, "has an IPv6 address without brackets; write [::1]:8888")
    if not _HOST.fullmatch(host) or len(host) > _LONGEST_HOST or not _numbers_fit(host):
        raise InvalidTarget(item, "has no valid host; write host:port")
    return host


def _numbers_fit(host: str) -> bool:
    """Return False for what resolvers take for an IPv4 address, but is none."""
    return not host.rpartition(".")[2].isdigit() or _IPV4.fullmatch(host) is not None


def _target_socket(item: str | bytes, name: str) -> str:
    """Return the path of the Unix socket that `name` is, percent-encoded as one segment."""
    if _BROKEN_ESCAPE.search(name.encode()) or re.search(r"[^A-Za-z0-9\-._~!$&'()*+,;=%]", name):
        raise InvalidTarget(item, "has no percent-encoded socket path; write %2Frun%2Fmy.sock")
    path = unquote(name, "latin-1")
    if not path.isascii() or not path.isprintable():
        raise InvalidTarget(item, "has a socket path with characters that are not printable ASCII")
    segments = path.split("/")
    if segments[0] or len(segments) < 2:
        raise InvalidTarget(item, "has no absolute socket path; write %2Frun%2Fmy.sock")
    if not {"", ".", ".."}.isdisjoint(segments[1:]):
        raise InvalidTarget(item, "has a socket path with an empty, . or .. segment")
    if len(path) > _LONGEST_SOCKET:
        raise InvalidTarget(item, f"has a socket path longer than {_LONGEST_SOCKET} bytes")
    return path


def _target_path(item: str | bytes, path: str) -> str:
    if "?" in path or "#" in path:
        raise InvalidTarget(item, "has a query or fragment; a target has none")
    raw = path.encode("ascii")
    if _BROKEN_ESCAPE.search(raw) or re.search(rb"[^A-Za-z0-9\-._~!$&'()*+,;=:@/%]", raw):
        raise InvalidTarget(item, "has a path with characters that must be percent-encoded")
    return path.rstrip("/")
