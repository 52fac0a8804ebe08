"""`nbgate project links`: what an LMS is given for each notebook, and whether it works."""

from __future__ import annotations

import argparse
import urllib.error
import urllib.request
from typing import Any

from gateway.cli.client import part
from gateway.cli.connection import client_of
from gateway.cli.failures import Exit
from gateway.cli.output import print_json, say
from gateway.cli.parser import Commands, Parser, command

_SECONDS = 30.0


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
        "--check", action="store_true", help="open each notebook to read, as a browser would"
    )
    return links


def _links(args: argparse.Namespace) -> int:
    links = client_of(args).get(f"projects/{part(args.name)}/links")["links"]
    if not links:
        say("the course's source has no notebooks")
    if args.check:
        return _check(args, links)
    if args.json:
        print_json([{name: link[name] for name in ("file", "url", "static")} for link in links])
    else:
        for link in links:
            print(link["url"])
    return Exit.OK


def _check(args: argparse.Namespace, links: list[dict[str, Any]]) -> int:
    faults = {link["file"]: _fault(link["try"]) for link in links}
    if args.json:
        print_json([{"file": file, "fault": fault} for file, fault in faults.items()])
    else:
        for file, fault in faults.items():
            print(f"{file}: {fault or 'ok'}")
    return Exit.FAILED if any(faults.values()) else Exit.OK


def _fault(url: str) -> str:
    """Return what is wrong with a page, or "" if it opens."""
    request = urllib.request.Request(url, headers={"Accept": "text/html"})  # noqa: S310 - our own
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            return "" if answer.status == 200 else f"status {answer.status}"
    except urllib.error.HTTPError as error:
        return f"status {error.code}"
    except urllib.error.URLError as error:
        return f"not reached: {error.reason}"
    except OSError as error:
        return f"not reached: {error}"
