"""What the command line and the environment mean. No I/O but the reading of one file.

Numbers of time are milliseconds there; in Options they are seconds. What cannot be meant here
fails with one line.
"""

from __future__ import annotations

import argparse
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gateway.errors import InvalidInput
from gateway.proxy.fields import Field

Namespace = argparse.Namespace
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_OF_MESSAGES = frozenset({b"content-length", b"transfer-encoding", b"connection", b"upgrade"})
LEVELS = ("debug", "info", "warn", "error")


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen.

    Attributes:
        host: "" for all addresses.
        port: 0 for none of its own: any free one.
        path: of a Unix socket; "" for host and port.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return self.path
        host = f"[{self.host}]" if ":" in self.host else self.host or "*"
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files, and how they are used.

    Attributes:
        flags: the prefix of the flags that named them, for messages.
        key, cert, ca: paths; "" for none.
        passphrase: of the key; "" for none.
        ask: clients must have a certificate that `ca` vouches for.
        protocol, ciphers, dhparam: as OpenSSL names them; "" for the defaults.
        verify: the other side's certificate is checked.
    """

    flags: str
    key: str = ""
    cert: str = ""
    ca: str = ""
    passphrase: str = field(default="", repr=False)
    ask: bool = False
    protocol: str = ""
    ciphers: str = ""
    dhparam: str = ""
    verify: bool = True

    @property
    def given(self) -> bool:
        """Whether a certificate or a key was named."""
        return bool(self.key or self.cert)


@dataclass(frozen=True, slots=True)
class Options:
    """What the proxy was told; times in seconds, None for no bound.

    `route_file` keeps the routes over restarts; "" for none. `workers` is how many processes serve
    clients; one is this process itself.
    """

    public: Place
    api: Place
    metrics: Place | None
    token: str = field(repr=False)
    tls: TlsFiles
    api_tls: TlsFiles
    client_tls: TlsFiles
    default_target: str
    error_target: str
    error_path: str
    redirect_port: int | None
    redirect_to: int
    pid_file: str
    x_forward: bool
    prepend_path: bool
    include_prefix: bool
    auto_rewrite: bool
    change_origin: bool
    protocol_rewrite: str
    custom_headers: tuple[Field, ...]
    host_routing: bool
    log_level: str
    timeout: float | None
    proxy_timeout: float | None
    keep_alive_timeout: float
    route_file: str
    workers: int = 1


_AS_TOLD: Final = (
    "redirect_port",
    "x_forward",
    "prepend_path",
    "include_prefix",
    "auto_rewrite",
    "change_origin",
    "host_routing",
    "timeout",
    "proxy_timeout",
)
_TEXTS: Final = ("default_target", "error_target", "error_path", "pid_file")


def options_of(args: Namespace, environ: Mapping[str, str]) -> Options:
    """Return what was asked for.

    Args:
        args: what a parser with add_options made of the command line.
        environ: CONFIGPROXY_AUTH_TOKEN and its kin.

    Raises:
        InvalidInput: options that contradict each other, or make no sense here.
    """
    tls = _tls_of(args, "ssl", environ.get("CONFIGPROXY_SSL_KEY_PASSPHRASE", ""))
    _check(args, tls)
    public = Place(path=args.socket) if args.socket else Place(_address(args.ip), args.port or 8000)
    token = _token(environ)
    client_tls = TlsFiles(
        "--client-ssl",
        args.client_ssl_key or "",
        args.client_ssl_cert or "",
        args.client_ssl_ca or "",
        verify=not args.insecure,
    )
    as_told: dict[str, Any] = {name: getattr(args, name) for name in _AS_TOLD}
    as_told |= {name: getattr(args, name) or "" for name in _TEXTS}
    return Options(
        public=public,
        api=_api_of(args, public, token),
        metrics=_metrics_of(args),
        token=token,
        tls=tls,
        api_tls=_tls_of(args, "api_ssl", environ.get("CONFIGPROXY_API_SSL_KEY_PASSPHRASE", "")),
        client_tls=client_tls,
        redirect_to=args.redirect_to or public.port,
        protocol_rewrite=(args.protocol_rewrite or "").removesuffix(":"),
        custom_headers=_customs(args.custom_header),
        log_level=args.log_level or "info",
        keep_alive_timeout=5.0 if args.keep_alive_timeout is None else args.keep_alive_timeout,
        route_file=_route_file(args, environ),
        workers=args.workers or 1,
        **as_told,
    )


def _check(args: Namespace, tls: TlsFiles) -> None:
    _check_redirect(args, tls)
    if args.storage_backend is not None:
        raise InvalidInput(
            "--storage-backend names a Node.js module, which cannot run here; JupyterHub sets its "
            "routes again after a restart, and --persist-routes keeps them in a file"
        )
    if args.error_target and args.error_path:
        raise InvalidInput("--error-target and --error-path exclude each other; give one of them")
    for prefix in ("", "api_", "metrics_"):
        socket, ip, port = (getattr(args, prefix + name) for name in ("socket", "ip", "port"))
        if socket and (ip is not None or port is not None):
            flag = "--" + prefix.replace("_", "-")
            raise InvalidInput(
                f"{flag}socket is in place of {flag}ip and {flag}port; give either it or them"
            )
    if (args.log_level or "info").lower() not in LEVELS:
        raise InvalidInput(f"--log-level {args.log_level!r} is none of {', '.join(LEVELS)}")
    if (args.protocol_rewrite or "http").removesuffix(":") not in ("http", "https"):
        raise InvalidInput("--protocol-rewrite is http or https")


def _check_redirect(args: Namespace, tls: TlsFiles) -> None:
    if args.redirect_port is None:
        return
    if not tls.given:
        raise InvalidInput(
            "--redirect-port sends clients on to HTTPS, for which there is no certificate; "
            "name one with --ssl-key and --ssl-cert"
        )
    if args.socket and not args.redirect_to:
        raise InvalidInput(
            "--redirect-port sends clients on to a port, and --socket has none; name the one where "
            "they find it with --redirect-to"
        )


def _api_of(args: Namespace, public: Place, token: str) -> Place:
    if args.api_socket:
        return Place(path=args.api_socket)
    host = "localhost" if args.api_ip is None else _address(args.api_ip)
    if not token and not _on_loopback(host):
        raise InvalidInput(
            f"the REST API would listen on {host or 'all addresses'} without a token, open to "
            f"everybody; set CONFIGPROXY_AUTH_TOKEN, or leave --api-ip at localhost"
        )
    return Place(host, args.api_port or (public.port + 1 if public.port else 8001))


def _metrics_of(args: Namespace) -> Place | None:
    if args.metrics_socket:
        return Place(path=args.metrics_socket)
    if args.metrics_port is None:
        return None
    return Place(_address(args.metrics_ip), args.metrics_port)


def _tls_of(args: Namespace, prefix: str, passphrase: str) -> TlsFiles:
    def named(name: str) -> str:
        return getattr(args, f"{prefix}_{name}") or ""

    flags = "--" + prefix.replace("_", "-")
    files = TlsFiles(
        flags,
        named("key"),
        named("cert"),
        named("ca"),
        passphrase,
        getattr(args, f"{prefix}_request_cert"),
        args.ssl_protocol or "",
        args.ssl_ciphers or "",
        args.ssl_dhparam or "",
    )
    if bool(files.key) != bool(files.cert):
        raise InvalidInput(f"{flags}-key and {flags}-cert go together; give both")
    if files.ask and not files.ca:
        raise InvalidInput(
            f"{flags}-request-cert needs {flags}-ca, the authorities of clients' certificates"
        )
    return files


def _token(environ: Mapping[str, str]) -> str:
    token, path = environ.get("CONFIGPROXY_AUTH_TOKEN", ""), ""
    if not token:
        path = environ.get("CONFIGPROXY_AUTH_TOKEN_FILE", "")
    if path:
        try:
            token = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(
                f"cannot read {path}, which CONFIGPROXY_AUTH_TOKEN_FILE names: {error}"
            ) from error
        if not token:
            raise InvalidInput(f"{path}, which CONFIGPROXY_AUTH_TOKEN_FILE names, is empty")
    return token


def _route_file(args: Namespace, environ: Mapping[str, str]) -> str:
    """Return where routes are kept; "" for nowhere."""
    if not args.persist_routes:
        if args.route_file:
            raise InvalidInput("--route-file is for --persist-routes; give both or none")
        return ""
    path = args.route_file or environ.get("NBGATE_ROUTE_FILE", "")
    if not path:
        raise InvalidInput(
            "--persist-routes needs a file to keep them in; name one with --route-file or "
            "NBGATE_ROUTE_FILE, another one for each proxy and gateway"
        )
    return path


def _customs(texts: Sequence[str]) -> tuple[Field, ...]:
    """Return the fields; of those with one name, the last."""
    return tuple({field[0].lower(): field for field in map(_custom, texts)}.values())


def _custom(text: str) -> Field:
    name, colon, value = text.strip().partition(":")
    field = (name.strip().encode(), value.strip().encode("utf-8"))
    if not colon or not field[0]:
        raise InvalidInput(f"A colon was expected in custom header: {text.strip()}")
    if not _NAME.fullmatch(field[0]) or _CONTROL.search(field[1]):
        raise InvalidInput(f"--custom-header {text.strip()!r} is no header field; write NAME:VALUE")
    if field[0].lower() in _OF_MESSAGES:
        raise InvalidInput(
            f"--custom-header {text.strip()!r} is about the message or the connection itself, "
            f"which is the proxy's to say"
        )
    return field


def _address(text: str | None) -> str:
    return "" if text in (None, "*") else str(text)


def _on_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
