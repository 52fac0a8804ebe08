"""The flags, as configurable-http-proxy has them; options.py says what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable

Group = argparse._ArgumentGroup
_MOST_WORKERS = 64


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add every option to `parser`."""
    _add_listening(parser)
    _add_tls(parser)
    _add_routing(parser)
    _add_running(parser)


def _add_listening(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where to listen")
    _value(group, "--ip", "address or name to listen on; default: all addresses")
    _value(group, "--port", "port to listen on; default: 8000", of=_port)
    _value(group, "--socket", "Unix socket to listen on, in place of --ip and --port")
    _value(group, "--api-ip", "address of the REST API; default: localhost")
    _value(group, "--api-port", "port of the REST API; default: --port plus one", of=_port)
    _value(
        group, "--api-socket", "Unix socket of the REST API, in place of --api-ip and --api-port"
    )
    _value(group, "--metrics-ip", "address of the metrics; default: all addresses")
    _value(group, "--metrics-port", "port of the metrics; default: no metrics", of=_port)
    _value(group, "--metrics-socket", "Unix socket of the metrics, in place of ip and port")
    _value(group, "--redirect-port", "port for HTTP that sends clients on to HTTPS", of=_port)
    _value(group, "--redirect-to", "port that they are sent to; default: --port", of=_port)


def _add_tls(parser: argparse.ArgumentParser) -> None:
    for prefix, title in (("", "TLS"), ("api-", "TLS of the REST API")):
        group = parser.add_argument_group(title)
        _value(group, f"--{prefix}ssl-key", "PEM file with the private key")
        _value(group, f"--{prefix}ssl-cert", "PEM file with the certificate and its chain")
        _value(group, f"--{prefix}ssl-ca", "PEM file with the authorities of clients' certificates")
        _flag(group, f"--{prefix}ssl-request-cert", "ask clients for a certificate")
        _flag(
            group,
            f"--{prefix}ssl-reject-unauthorized",
            "turn clients without a valid one away; asking does so by itself",
        )
        if not prefix:
            _value(group, "--ssl-protocol", "the one version to speak, e.g. TLSv1_2; default: any")
            _value(group, "--ssl-ciphers", "cipher list for TLS 1.2; default: OpenSSL's")
            _value(group, "--ssl-dhparam", "PEM file with Diffie-Hellman parameters")
    group = parser.add_argument_group("TLS towards targets")
    _value(group, "--client-ssl-key", "PEM file with the key of this proxy as a client")
    _value(group, "--client-ssl-cert", "PEM file with its certificate")
    _value(group, "--client-ssl-ca", "PEM file with the authorities of targets' certificates")
    _flag(group, "--client-ssl-request-cert", "accepted, and without effect: targets have one")
    _flag(group, "--client-ssl-reject-unauthorized", "accepted, and always so but for --insecure")
    _flag(group, "--insecure", "do not check the certificates of targets")


def _add_routing(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where requests go, and what is changed on the way")
    _value(group, "--default-target", "URL for what no other route is for")
    _value(group, "--error-target", "URL that has a page for each error status")
    _value(group, "--error-path", "folder with error pages: 404.html, 503.html, error.html")
    _flag(group, "--host-routing", "the first segment of a route is the host")
    _off(group, "--no-include-prefix", "cut the prefix of the route off the path")
    _off(group, "--no-prepend-path", "do not put the path of the target before the path")
    _off(group, "--no-x-forward", "leave the X-Forwarded-* headers alone")
    _flag(group, "--change-origin", "send the target's name as Host")
    _flag(group, "--auto-rewrite", "put the client's host into a Location that names the target")
    _value(group, "--protocol-rewrite", "and this scheme: http or https")
    group.add_argument(
        "--custom-header",
        metavar="NAME:VALUE",
        action="append",
        default=[],
        help="a header for targets; repeat it for more",
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how it runs")
    _value(group, "--timeout", "ms until a request is given up; default: never", of=_millis)
    _value(
        group,
        "--proxy-timeout",
        "ms that a target has until its answer begins; default: no bound",
        of=_millis,
    )
    _value(
        group,
        "--keep-alive-timeout",
        "ms that an idle connection is kept; default: 5000",
        of=_millis,
    )
    _value(group, "--pid-file", "file to write the process id to")
    _value(group, "--log-level", "debug, info, warn or error; default: info")
    group.add_argument(
        "--storage-backend",
        metavar="VALUE",
        help="refused: it names a Node.js module; see --persist-routes",
    )
    _value(group, "--workers", "processes that serve clients; default: 1", of=_workers)
    _flag(group, "--persist-routes", "keep the routes over restarts, in --route-file")
    _value(group, "--route-file", "GDBM file for them; default: NBGATE_ROUTE_FILE")


def _value(group: Group, flag: str, text: str, of: Callable[[str], object] = str) -> None:
    group.add_argument(flag, metavar="VALUE", type=of, help=text)


def _flag(group: Group, flag: str, text: str) -> None:
    group.add_argument(flag, action="store_true", help=text)


def _off(group: Group, flag: str, text: str) -> None:
    name = flag.removeprefix("--no-").replace("-", "_")
    group.add_argument(flag, dest=name, action="store_false", help=text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port from 1 to 65535")
    return int(text)


def _workers(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= _MOST_WORKERS):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {_MOST_WORKERS}")
    return int(text)


def _millis(text: str) -> float | None:
    if not (text.isascii() and text.isdigit() and len(text) < 13):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of milliseconds")
    return int(text) / 1000 or None
