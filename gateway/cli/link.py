"""`nbgate link …`: signed links into courses, and the keys that sign them."""

from __future__ import annotations

import argparse
from operator import itemgetter

from gateway.cli.client import part
from gateway.cli.connection import add_gateway_flags, add_json_flag, client_of
from gateway.cli.failures import Exit
from gateway.cli.output import print_json, print_list, print_record, say
from gateway.cli.parser import Commands, Parser, command, commands_of
from gateway.cli.values import given
from gateway.durations import parse_duration
from gateway.errors import InvalidInput

_NO_KEYS = "there are no keys; make one with `nbgate link key add --project NAME`"


def add_to(noun: Parser) -> None:
    """Add the commands."""
    commands = commands_of(noun)
    parsers = [_add_sign(commands), *_add_keys(commands)]
    for parser in parsers:
        add_gateway_flags(parser)


def _add_sign(commands: Commands) -> Parser:
    sign = command(
        commands,
        "sign",
        "print a signed link that opens a notebook of a course for a person",
        "nbgate link sign demo w1/first.ipynb --person student7 --name 'Mary A.'",
        _sign,
    )
    sign.add_argument("project", metavar="COURSE")
    sign.add_argument(
        "notebook", metavar="FILE", nargs="?", help="of the course; default: the front page"
    )
    sign.add_argument("--person", metavar="X", required=True, help="as the key's issuer names them")
    sign.add_argument("--name", metavar="N", help="what pages call them; default: PERSON")
    sign.add_argument(
        "--lifetime", metavar="T", type=_seconds, help="e.g. 90s, 10m, 24h; default: 10m"
    )
    sign.add_argument("--key", metavar="KID", help="default: the newest that fits the course")
    sign.add_argument("--once", action="store_true", help="the link works a single time")
    add_json_flag(sign)
    return sign


def _add_keys(commands: Commands) -> list[Parser]:
    key = commands.add_parser(
        "key",
        help="make, list and remove keys that sign links",
        description="make, list and remove keys that sign links.",
        example="nbgate link key add --project demo\n  nbgate link key list",
    )
    keys = commands_of(key)
    add = command(
        keys, "add", "make a key, and print its secret", "nbgate link key add --project demo", _add
    )
    whose = add.add_mutually_exclusive_group(required=True)
    whose.add_argument("--project", metavar="COURSE", help="it signs for this course alone")
    whose.add_argument("--issuer", metavar="NAME", help="a platform that signs for all courses")
    whose.add_argument(
        "--own-people",
        action="store_true",
        help="it signs for all courses, and names people as `notebook url --person` does",
    )
    show_all = command(keys, "list", "list the keys", "nbgate link key list", _list)
    remove = command(
        keys,
        "remove",
        "remove a key; its links open nothing from then on",
        "nbgate link key remove k0123456789abcdef",
        _remove,
    )
    remove.add_argument("kid", metavar="KID")
    for parser in (add, show_all):
        add_json_flag(parser)
    return [add, show_all, remove]


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except InvalidInput as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _sign(args: argparse.Namespace) -> int:
    body = given(
        {
            "project": args.project,
            "notebook": args.notebook,
            "person": args.person,
            "name": args.name,
            "lifetime": args.lifetime,
            "kid": args.key,
            "once": args.once or None,
        }
    )
    link = client_of(args).post("links/signed", body)
    if args.json:
        print_json(link)
    else:
        print(link["url"])
    return Exit.OK


def _add(args: argparse.Namespace) -> int:
    body = given(
        {
            "project": args.project,
            "issuer": args.issuer,
            "own_people": args.own_people or None,
        }
    )
    key = client_of(args).post("link-keys", body)
    if args.json:
        print_json(key)
        return Exit.OK
    print_record({"kid": key["kid"], "secret": key["secret"]})
    say("the secret is not shown again; give it to the LMS, and to nobody else")
    return Exit.OK


def _list(args: argparse.Namespace) -> int:
    keys = client_of(args).get("link-keys")["keys"]
    headers = ("KID", "COURSE", "ISSUER", "CREATED")
    cells = itemgetter("kid", "project", "issuer", "created")
    print_list(keys, headers, cells, _NO_KEYS, as_json=args.json)
    return Exit.OK


def _remove(args: argparse.Namespace) -> int:
    client_of(args).call("DELETE", f"link-keys/{part(args.kid)}")
    print(f"{args.kid}: removed")
    return Exit.OK
