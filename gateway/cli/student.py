"""`nbgate student …`: people who came by links."""

from __future__ import annotations

import argparse

from gateway.cli.client import part
from gateway.cli.connection import add_gateway_flags, client_of
from gateway.cli.failures import Exit
from gateway.cli.parser import Parser, command, commands_of


def add_to(noun: Parser) -> None:
    """Add the commands."""
    release = command(
        commands_of(noun),
        "release",
        "free a student's id of a plain link from the browser that used it first",
        "nbgate student release demo student7",
        _release,
    )
    release.add_argument("project", metavar="COURSE")
    release.add_argument("student", metavar="ID", help="as the course's links have it")
    add_gateway_flags(release)


def _release(args: argparse.Namespace) -> int:
    path = f"projects/{part(args.project)}/students/{part(args.student)}/session"
    client_of(args).call("DELETE", path)
    print(f"{args.student}: released; the next browser that comes with this id has it")
    return Exit.OK
