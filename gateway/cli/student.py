"""`nbgate student …`: people who have notebooks in courses, and the ids of plain links."""

from __future__ import annotations

import argparse
import sys
from operator import itemgetter

from gateway.cli.client import part
from gateway.cli.connection import add_gateway_flags, add_json_flag, client_of
from gateway.cli.failures import CommandError, Exit, UsageError
from gateway.cli.output import print_json, print_list, print_record
from gateway.cli.parser import Commands, Parser, command, commands_of

_DELETE_TIMEOUT = 300.0
_COLUMNS = ("person", "project", "slug", "state", "sessions", "last_active", "locked_by")


def add_to(noun: Parser) -> None:
    """Add the commands."""
    commands = commands_of(noun)
    for parser in (_add_list(commands), _add_show(commands)):
        add_json_flag(parser)
        add_gateway_flags(parser)
    add_gateway_flags(_add_delete(commands))
    _add_release(commands)


def _add_list(commands: Commands) -> Parser:
    show_all = command(
        commands,
        "list",
        "list who has a notebook in a course",
        "nbgate student list demo\n  nbgate student list --all --json",
        _list,
    )
    show_all.add_argument("project", metavar="COURSE", nargs="?")
    show_all.add_argument("--all", action="store_true", help="of all courses")
    return show_all


def _add_show(commands: Commands) -> Parser:
    show = command(
        commands,
        "show",
        "show what a course has of a student",
        "nbgate student show demo student7",
        _show,
    )
    _add_person(show)
    return show


def _add_delete(commands: Commands) -> Parser:
    delete = command(
        commands,
        "delete",
        "sign a student out, and delete their notebooks of a course with all files, for ever",
        "nbgate student delete demo student7 --yes",
        _delete,
    )
    _add_person(delete)
    delete.add_argument("--yes", action="store_true", help="do not ask")
    return delete


def _add_person(parser: Parser) -> None:
    parser.add_argument("project", metavar="COURSE")
    parser.add_argument("person", metavar="PERSON", help="as `list` has it, or as links have it")


def _add_release(commands: Commands) -> None:
    release = command(
        commands,
        "release",
        "free a student's id of a plain link from the browser that used it first",
        "nbgate student release demo student7",
        _release,
    )
    release.add_argument("project", metavar="COURSE")
    release.add_argument("student", metavar="ID", help="as the course's links have it")
    add_gateway_flags(release)


def _list(args: argparse.Namespace) -> int:
    if args.all == (args.project is not None):
        raise UsageError("give either a course or --all")
    path = "students" if args.all else f"projects/{part(args.project)}/students"
    students = client_of(args).get(path)["students"]
    headers = [column.upper().replace("_", " ") for column in _COLUMNS]
    none = "nobody has a notebook there"
    print_list(students, headers, itemgetter(*_COLUMNS), none, as_json=args.json)
    return Exit.OK


def _show(args: argparse.Namespace) -> int:
    student = client_of(args).get(_path(args))
    if args.json:
        print_json(student)
        return Exit.OK
    print_record(student | {"notebooks": [one["slug"] for one in student["notebooks"]]})
    return Exit.OK


def _delete(args: argparse.Namespace) -> int:
    client = client_of(args)
    student = client.get(_path(args))
    slugs = ", ".join(one["slug"] for one in student["notebooks"])
    if not args.yes:
        _confirm(student["person"], slugs)
    client.call("DELETE", _path(args), timeout=_DELETE_TIMEOUT)
    print(f"{student['person']}: deleted; {slugs} with all files")
    return Exit.OK


def _confirm(person: str, slugs: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"this removes {slugs} with all files for ever; add --yes")
    print(f"Remove {slugs} with all files for ever? Type {person}: ", end="", file=sys.stderr)
    sys.stderr.flush()
    if sys.stdin.readline().strip() != person:
        raise CommandError("nothing was deleted")


def _path(args: argparse.Namespace) -> str:
    return f"projects/{part(args.project)}/students/{part(args.person)}"


def _release(args: argparse.Namespace) -> int:
    path = f"projects/{part(args.project)}/students/{part(args.student)}/session"
    client_of(args).call("DELETE", path)
    print(f"{args.student}: released; the next browser that comes with this id has it")
    return Exit.OK
