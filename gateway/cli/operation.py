"""`nbgate operation …`: what was and is done to notebooks."""

from __future__ import annotations

import argparse

from gateway.cli.client import part
from gateway.cli.connection import add_gateway_flags, add_json_flag, client_of
from gateway.cli.failures import Exit
from gateway.cli.output import print_json, print_list, print_record
from gateway.cli.parser import Parser, command, commands_of
from gateway.cli.values import given, lines

_STATES = ("queued", "running", "done", "failed", "interrupted")


def add_to(noun: Parser) -> None:
    """Add the commands."""
    commands = commands_of(noun)
    show_all = command(
        commands,
        "list",
        "list the last operations, the latest first",
        "nbgate operation list --notebook demo-x-alice --state failed",
        _show_all,
    )
    show_all.add_argument("--notebook", metavar="SLUG", help="only those of this notebook")
    show_all.add_argument("--state", choices=_STATES, help="only those in this state")
    show_all.add_argument(
        "-n", "--limit", metavar="N", type=lines, default=100, help="how many; default: 100"
    )
    show = command(
        commands,
        "show",
        "show one operation",
        "nbgate operation show 6f1ed002ab5595859014ebf0951522d9",
        _show,
    )
    show.add_argument("id", metavar="ID", help="from `nbgate operation list`")
    for parser in (show_all, show):
        add_json_flag(parser)
        add_gateway_flags(parser)


def _show_all(args: argparse.Namespace) -> int:
    query = given({"notebook": args.notebook, "state": args.state}) | {"limit": str(args.limit)}
    operations = client_of(args).get("operations", query)["operations"]
    headers = ("ID", "NOTEBOOK", "KIND", "STATE", "BY", "CREATED", "WHY OR ERROR")
    print_list(operations, headers, _row, "there are none", as_json=args.json)
    return Exit.OK


def _row(operation: dict[str, str | None]) -> list[object]:
    names = ("id", "notebook", "kind", "state", "requested_by", "created")
    return [*(operation[name] for name in names), operation["error"] or operation["reason"]]


def _show(args: argparse.Namespace) -> int:
    operation = client_of(args).get(f"operations/{part(args.id)}")
    if args.json:
        print_json(operation)
    else:
        print_record(operation)
    return Exit.OK
