"""`nbgate notebook …`: the commands and their arguments; what they do is notebook_actions.py's."""

from __future__ import annotations

from gateway.cli import notebook_actions as actions
from gateway.cli.connection import add_gateway_flags, add_json_flag
from gateway.cli.parser import Commands, Parser, command, commands_of
from gateway.cli.values import add_spec_flags, lines


def add_to(noun: Parser) -> None:
    """Add the commands."""
    commands = commands_of(noun)
    parsers = [
        *_add_records(commands),
        *_add_servers(commands),
        *_add_sharing(commands),
        *_add_locks(commands),
        _add_logs(commands),
        _add_url(commands),
    ]
    for parser in parsers:
        add_gateway_flags(parser)


def _add_records(commands: Commands) -> list[Parser]:
    create = command(
        commands,
        "create",
        "make a named notebook; its server starts when somebody opens it",
        "nbgate notebook create genome-2024 --project demo --name 'Genome 2024' --owner alice",
        actions.create,
    )
    _add_slug(create)
    create.add_argument("--project", metavar="P", required=True, help="what it belongs to")
    create.add_argument("--name", metavar="N", help="what people see; default: the slug")
    create.add_argument("--owner", metavar="PERSON", help="who may use it; default: admin")
    add_spec_flags(create)
    show_all = command(
        commands,
        "list",
        "list notebooks",
        "nbgate notebook list --project demo --json",
        actions.show_all,
    )
    show_all.add_argument("--project", metavar="P", help="only those of this project")
    show_all.add_argument("--owner", metavar="PERSON", help="only those of this person")
    show = command(
        commands, "show", "show one notebook", "nbgate notebook show demo-x-alice", actions.show
    )
    _add_slug(show)
    for parser in (create, show_all, show):
        add_json_flag(parser)
    return [create, show_all, show, _add_delete(commands)]


def _add_delete(commands: Commands) -> Parser:
    delete = command(
        commands,
        "delete",
        "stop a notebook and forget it; its files are kept",
        "nbgate notebook delete demo-x-alice\n"
        "  nbgate notebook delete demo-x-alice --purge-space --yes",
        actions.delete,
    )
    _add_slug(delete)
    delete.add_argument(
        "--purge-space", action="store_true", help="remove the person's files as well, for ever"
    )
    delete.add_argument("--yes", action="store_true", help="do not ask")
    return delete


def _add_servers(commands: Commands) -> list[Parser]:
    start = command(
        commands,
        "start",
        "start a notebook's server and wait until it is ready",
        "nbgate notebook start demo-x-alice",
        actions.start,
    )
    _add_slug(start)
    start.add_argument("--no-wait", action="store_true", help="do not wait")
    stop = command(
        commands,
        "stop",
        "stop servers; the next visit starts them again",
        "nbgate notebook stop demo-x-alice demo-x-bob\n  nbgate notebook stop --all",
        actions.stop,
    )
    sync = command(
        commands,
        "sync",
        "bring the records in line with the container engine",
        "nbgate notebook sync demo-x-alice\n  nbgate notebook sync --all",
        actions.sync,
    )
    stop.add_argument("--no-wait", action="store_true", help="do not wait")
    stop.add_argument("--reason", metavar="R", default="", help="why, for others to read")
    for parser in (stop, sync):
        parser.add_argument("slugs", metavar="SLUG", nargs="*")
        parser.add_argument("--all", action="store_true", help="all notebooks")
    return [start, stop, sync]


def _add_sharing(commands: Commands) -> list[Parser]:
    share = command(
        commands,
        "share",
        "let more people use a notebook, as its owner does",
        "nbgate notebook share genome-2024 bob carol",
        actions.share,
    )
    unshare = command(
        commands,
        "unshare",
        "let people use a notebook no more",
        "nbgate notebook unshare genome-2024 carol",
        actions.unshare,
    )
    for parser in (share, unshare):
        _add_slug(parser)
        parser.add_argument("people", metavar="PERSON", nargs="+")
        add_json_flag(parser)
    return [share, unshare]


def _add_locks(commands: Commands) -> list[Parser]:
    lock = command(
        commands,
        "lock",
        "protect a notebook from being stopped, deleted or reconfigured",
        "nbgate notebook lock demo-x-alice --reason 'exam until Friday'",
        actions.lock,
    )
    _add_slug(lock)
    lock.add_argument("--reason", metavar="R", required=True, help="why, for others to read")
    unlock = command(
        commands,
        "unlock",
        "lift the lock of a notebook",
        "nbgate notebook unlock demo-x-alice",
        actions.unlock,
    )
    _add_slug(unlock)
    for parser in (lock, unlock):
        parser.add_argument("--by", metavar="WHO", help="who does it; default: admin")
    return [lock, unlock]


def _add_logs(commands: Commands) -> Parser:
    logs = command(
        commands,
        "logs",
        "print the end of what a notebook's server has written",
        "nbgate notebook logs demo-x-alice -n 50",
        actions.logs,
    )
    _add_slug(logs)
    logs.add_argument(
        "-n", "--lines", metavar="N", type=lines, default=200, help="how many lines; default: 200"
    )
    return logs


def _add_url(commands: Commands) -> Parser:
    url = command(
        commands,
        "url",
        "print a URL that opens a notebook; it logs its owner in, once",
        "nbgate notebook url demo-x-alice\n"
        "  nbgate notebook url --project demo --person alice w1/first.ipynb",
        actions.url,
    )
    url.add_argument(
        "words", metavar="SLUG | FILE", nargs="*", help="the notebook, then a file of its space"
    )
    url.add_argument("--project", metavar="P", help="with --person, instead of SLUG: the course")
    url.add_argument("--person", metavar="X", help="whose notebook; it is made if it is new")
    url.add_argument(
        "--direct",
        action="store_true",
        help="the server's own URL on localhost, with its token; dev mode only",
    )
    add_json_flag(url)
    return url


def _add_slug(parser: Parser) -> None:
    parser.add_argument("slug", metavar="SLUG", help="the notebook's slug")
