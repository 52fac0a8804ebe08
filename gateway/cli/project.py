"""`nbgate project …`."""

from __future__ import annotations

import argparse
from operator import itemgetter
from pathlib import Path
from typing import Any

from gateway.cli import project_links
from gateway.cli.client import part
from gateway.cli.connection import add_gateway_flags, add_json_flag, client_of
from gateway.cli.failures import Exit, UsageError
from gateway.cli.output import print_json, print_list, print_record, size
from gateway.cli.parser import Parser, command, commands_of
from gateway.cli.values import (
    DEFAULT,
    add_lifetime_flags,
    add_spec_flags,
    given,
    lifetimes_of,
    shown_lifetimes,
    spec_of,
)


def add_to(noun: Parser) -> None:
    """Add the commands."""
    commands = commands_of(noun)
    add = command(
        commands,
        "add",
        "add a project or course",
        "nbgate project add demo --title 'Demo course' --source ./course --memory 2G",
        _add,
    )
    add.add_argument("name", metavar="NAME", help="a-z, 0-9 and hyphens")
    _add_fields(add)
    show_all = command(commands, "list", "list projects", "nbgate project list --json", _list)
    show = command(commands, "show", "show one project", "nbgate project show demo", _show)
    show.add_argument("name", metavar="NAME")
    update = command(
        commands,
        "update",
        "change a project; servers that run keep what they have until they start again",
        "nbgate project update demo --memory 4G --image nbgate/jupyter:2",
        _update,
    )
    update.add_argument("name", metavar="NAME")
    _add_fields(update)
    delete = command(
        commands,
        "delete",
        "delete a project that has no notebooks any more",
        "nbgate project delete demo",
        _delete,
    )
    delete.add_argument("name", metavar="NAME")
    links = project_links.add_to(commands)
    for parser in (add, show_all, show, update, links):
        add_json_flag(parser)
    for parser in (add, show_all, show, update, delete, links):
        add_gateway_flags(parser)


def _add_fields(parser: Parser) -> None:
    parser.add_argument("--title", metavar="T", help="what pages show; default: the name")
    parser.add_argument(
        "--source",
        metavar="S",
        help="a folder, or a git URL (#BRANCH after it), whose files each new notebook gets",
    )
    parser.add_argument(
        "--staff", metavar="PERSON", action="append", help="who teaches it; repeat it for more"
    )
    parser.add_argument(
        "--links",
        choices=("off", "signed", "plain"),
        help="which links of an LMS lead into it; default: off (docs/links.md)",
    )
    parser.add_argument(
        "--links-page",
        choices=("notebook", "lab"),
        help="which page of Jupyter they end on; default: notebook",
    )
    parser.add_argument(
        "--anonymous",
        action=argparse.BooleanOptionalAction,
        help="whether anybody gets a notebook of it for a moment, without a name; default: no",
    )
    parser.add_argument(
        "--frame-ancestors",
        metavar="ORIGIN,…",
        help="which sites may show its pages in a frame, e.g. https://lms.example.org; `none`, or "
        "`default` for the installation's",
    )
    add_spec_flags(parser)
    add_lifetime_flags(parser)


def _fields(args: argparse.Namespace) -> dict[str, Any]:
    source = None if args.source is None else _absolute(args.source)
    own = given(
        {
            "title": args.title,
            "source": source,
            "staff": args.staff,
            "links": args.links,
            "links_page": args.links_page,
            "anonymous": args.anonymous,
        }
    )
    if args.frame_ancestors is not None:
        own["frame_ancestors"] = _origins(args.frame_ancestors)
    return own | spec_of(args) | lifetimes_of(args)


def _origins(text: str) -> list[str] | None:
    """Return what --frame-ancestors says; None is the installation's."""
    if text == DEFAULT:
        return None
    return [] if text == "none" else [origin.strip() for origin in text.split(",")]


def _absolute(source: str) -> str:
    """Return a relative folder as an absolute one; URLs stay."""
    if "://" in source or (":" in source and "@" in source.partition(":")[0]):
        return source
    return str(Path(source).expanduser().absolute().resolve())


def _add(args: argparse.Namespace) -> int:
    project = client_of(args).post("projects", {"name": args.name} | _fields(args))
    return _done(args, project, "added")


def _update(args: argparse.Namespace) -> int:
    changes = _fields(args)
    if not changes:
        raise UsageError("nothing to change; see `nbgate project update --help`")
    project = client_of(args).call("PATCH", f"projects/{part(args.name)}", changes)
    return _done(args, project, "changed")


def _done(args: argparse.Namespace, project: dict[str, Any], what: str) -> int:
    if args.json:
        print_json(project)
    else:
        print(f"{project['name']}: {what}")
    return Exit.OK


def _list(args: argparse.Namespace) -> int:
    projects = client_of(args).get("projects")["projects"]
    headers = ("NAME", "TITLE", "SOURCE", "IMAGE")
    cells = itemgetter("name", "title", "source", "image")
    none = "there are no projects; add one with `nbgate project add NAME --source DIR`"
    print_list(projects, headers, cells, none, as_json=args.json)
    return Exit.OK


def _show(args: argparse.Namespace) -> int:
    project = client_of(args).get(f"projects/{part(args.name)}")
    if args.json:
        print_json(project)
    else:
        print_record(project | {"memory": size(project["memory"])} | shown_lifetimes(project))
    return Exit.OK


def _delete(args: argparse.Namespace) -> int:
    client_of(args).call("DELETE", f"projects/{part(args.name)}")
    print(f"{args.name}: deleted")
    return Exit.OK
