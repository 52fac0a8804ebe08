"""`nbgate route …`: through the gateway, or on the route file itself where none runs."""

from __future__ import annotations

import argparse
from operator import itemgetter
from typing import Any

from gateway.cli import route_file
from gateway.cli.connection import add_gateway_flags, add_json_flag, client_of
from gateway.cli.failures import Exit, NotReachable
from gateway.cli.output import print_json, print_list, say
from gateway.cli.parser import Commands, Parser, Run, command, commands_of


def add_to(noun: Parser) -> None:
    """Add the commands."""
    commands = commands_of(noun)
    _add_reading(commands)
    _add_changing(commands)
    _add_mending(commands)


def _add_reading(commands: Commands) -> None:
    show_all = _command(commands, "list", "list routes", "nbgate route list --json", _list)
    get = _command(commands, "get", "print a route's target", "nbgate route get /docs", _get)
    get.add_argument("key", metavar="KEY")
    for parser in (show_all, get):
        add_json_flag(parser)
        _add_file_flag(parser)


def _add_changing(commands: Commands) -> None:
    put = _command(
        commands,
        "set",
        "set a route; when the command returns, httpd sees it too",
        "nbgate route set /docs 127.0.0.1:9000\n  nbgate route set docs.example.org 10.0.0.7:80",
        _set,
    )
    put.add_argument("key", metavar="KEY", help="a host name, or a path that begins with /")
    put.add_argument(
        "target", metavar="TARGET", help="host:port, a URL, or http+unix://%%2Fpath%%2Fto.sock"
    )
    delete = _command(commands, "delete", "delete a route", "nbgate route delete /docs", _delete)
    delete.add_argument("key", metavar="KEY")
    _command(
        commands,
        "reload",
        "read the route file again, after another program has written it",
        "nbgate route reload",
        _reload,
    )
    _command(
        commands,
        "flush",
        "return when all routes that came through JupyterHub's API are on disk",
        "nbgate route flush",
        _flush,
    )


def _add_mending(commands: Commands) -> None:
    check = _command(
        commands,
        "check",
        "say what is wrong with the route file and httpd's map of secrets; nothing is changed",
        "nbgate route check",
        _check,
    )
    add_json_flag(check)
    rebuild = _command(
        commands,
        "rebuild",
        "write a fresh route file; a damaged one is kept beside it",
        "nbgate route rebuild",
        _rebuild,
    )
    for parser in (check, rebuild):
        _add_file_flag(parser)


def _command(commands: Commands, name: str, summary: str, example: str, run: Run) -> Parser:
    parser = command(commands, name, summary, example, run)
    add_gateway_flags(parser)
    return parser


def _add_file_flag(parser: Parser) -> None:
    parser.add_argument(
        "--route-file",
        metavar="FILE",
        help="work on this file and ask no gateway; without it, the gateway's own file is used "
        "where no gateway runs",
    )


def _ask(args: argparse.Namespace, path: str, method: str = "GET", **query: str) -> Any | None:
    """Return the gateway's answer, or None where the route file is to be used itself."""
    if args.route_file:
        return None
    try:
        return client_of(args).call(method, f"routes{path}", query=query)
    except NotReachable as error:
        say(f"no gateway answers at {error.address}: using the route file itself")
        return None


def _list(args: argparse.Namespace) -> int:
    answer = _ask(args, "")
    routes = route_file.read(args) if answer is None else answer["routes"]
    cells = itemgetter("key", "target", "slug")
    none = "there are no routes; set one with `nbgate route set KEY TARGET`"
    print_list(routes, ("KEY", "TARGET", "NOTEBOOK"), cells, none, as_json=args.json)
    return Exit.OK


def _get(args: argparse.Namespace) -> int:
    route = _ask(args, "/one", key=args.key)
    if route is None:
        route = route_file.read_one(args, args.key)
    if args.json:
        print_json(route)
    elif route["target"] is None:
        say(f"{route['key']} is cold: nothing runs behind it")
    else:
        print(route["target"])
    return Exit.OK


def _set(args: argparse.Namespace) -> int:
    body, query = {"target": args.target}, {"key": args.key}
    route = client_of(args).call("PUT", "routes/one", body, query)
    print(f"{route['key']}: {route['target']}")
    return Exit.OK


def _delete(args: argparse.Namespace) -> int:
    client_of(args).call("DELETE", "routes/one", query={"key": args.key})
    print(f"{args.key}: deleted")
    return Exit.OK


def _reload(args: argparse.Namespace) -> int:
    print(f"{client_of(args).post('routes/reload')['routes']} routes read from the file")
    return Exit.OK


def _flush(args: argparse.Namespace) -> int:
    client_of(args).post("routes/flush")
    print("all routes are on disk")
    return Exit.OK


def _check(args: argparse.Namespace) -> int:
    answer = _ask(args, "/check")
    findings = route_file.check_file(args) if answer is None else answer["findings"]
    if args.json:
        print_json(findings)
    elif findings:
        print("\n".join(findings))
        say("`nbgate route rebuild` writes fresh files and keeps damaged ones beside them")
    else:
        print("the route file is sound")
    return Exit.FAILED if findings else Exit.OK


def _rebuild(args: argparse.Namespace) -> int:
    answer = _ask(args, "/rebuild", "POST")
    print(route_file.rebuild(args) if answer is None else answer["result"])
    return Exit.OK
