"""`nbgate project links`: what an LMS is given for each notebook, and whether it works."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, TypeAlias

from gateway.cli.client import part
from gateway.cli.connection import client_of
from gateway.cli.failures import Exit, UsageError
from gateway.cli.output import print_json, print_line, say
from gateway.cli.parser import Commands, Parser, command
from gateway.durations import parse_duration
from gateway.errors import InvalidInput

Tell: TypeAlias = Callable[[str, str], None]

_TIMEOUT = "5m"
_LONGEST = 1800.0
_EMPTY = "the course's source has no notebooks"


def add_to(commands: Commands) -> Parser:
    """Add the command."""
    links = command(
        commands,
        "links",
        "print a course's links, for the pages of an LMS",
        "nbgate project links demo\n  nbgate project links demo --check",
        _links,
    )
    links.add_argument("name", metavar="NAME")
    links.add_argument(
        "--check",
        action="store_true",
        help="open each as a student's browser does, at the public address; it starts one server, "
        "and removes it at the end",
    )
    links.add_argument(
        "--static",
        action="store_true",
        help="with --check: open each as a page to read, without a server",
    )
    links.add_argument(
        "--timeout",
        metavar="TIME",
        type=_time,
        default=_TIMEOUT,
        help=f"with --check: how long the server may take; default: {_TIMEOUT}",
    )
    return links


def _time(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except InvalidInput as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not 1 <= seconds <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not from 1s to 30m")
    return seconds


def _links(args: argparse.Namespace) -> int:
    if args.static and not args.check:
        raise UsageError("--static goes with --check")
    if args.check:
        return _check(args)
    links = client_of(args).get(f"projects/{part(args.name)}/links")["links"]
    if not links:
        say(_EMPTY)
    for link in links:
        if link["fault"]:
            say(f"{link['file']}: {link['fault']}")
    named = [link for link in links if link["url"]]
    if args.json:
        print_json([{name: link[name] for name in ("file", "url", "static")} for link in named])
    else:
        for link in named:
            print(link["url"])
    return Exit.OK


def _check(args: argparse.Namespace) -> int:
    found: list[dict[str, Any]] = []

    def tell(file: str, fault: str) -> None:
        found.append({"file": file, "fault": fault})
        if not args.json:
            print_line(f"{file}: {fault or 'ok'}")

    well = (_read_all if args.static else _open_all)(args, tell)
    if not found:
        say(_EMPTY)
    if args.json:
        print_json(found)
    return Exit.OK if well else Exit.FAILED


def _open_all(args: argparse.Namespace, tell: Tell) -> bool:
    from gateway.cli.link_check import LinkCheck  # takes long to import

    return LinkCheck(client_of(args), args.name, args.timeout).run(tell)


def _read_all(args: argparse.Namespace, tell: Tell) -> bool:
    """Open each notebook as a page to read; no server is started for it."""
    from gateway.cli.browser import Browser  # takes long to import

    browser, well = Browser(), True
    for link in client_of(args).get(f"projects/{part(args.name)}/links")["links"]:
        fault = link["fault"] or browser.fault(link["try"])
        tell(link["file"], fault)
        well = well and not fault
    return well
