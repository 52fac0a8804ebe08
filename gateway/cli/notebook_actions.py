"""What the commands of `nbgate notebook` do."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

from gateway.cli.client import Client, part
from gateway.cli.connection import client_of
from gateway.cli.failures import (
    CommandError,
    Exit,
    NotReachable,
    Refused,
    TokenUnusable,
    UsageError,
)
from gateway.cli.output import print_json, print_list, print_record, say, size
from gateway.cli.values import given, spec_of

_STOP_TIMEOUT = 300.0
_POLL_EVERY = 0.3
_QUIET_FOR = 2.0

Record = dict[str, Any]


def create(args: argparse.Namespace) -> int:
    """Make a named notebook."""
    fields = given({"name": args.name, "owner": args.owner}) | spec_of(args)
    body = {"slug": args.slug, "project": args.project} | fields
    notebook = client_of(args).post("notebooks", body)
    if args.json:
        print_json(notebook)
    else:
        print(f"{notebook['slug']}: created; `nbgate notebook url {notebook['slug']}` opens it")
    return Exit.OK


def show_all(args: argparse.Namespace) -> int:
    """List notebooks."""
    query = given({"project": args.project, "owner": args.owner})
    notebooks = client_of(args).get("notebooks", query)["notebooks"]
    headers = ("SLUG", "NAME", "PROJECT", "OWNER", "STATE", "HEALTH", "LOCKED BY")
    none = "there are none; `nbgate notebook url --project P --person X` makes one"
    print_list(notebooks, headers, _row, none, as_json=args.json)
    return Exit.OK


_SHOWN = ("slug", "name", "project", "owner", "state", "health")


def _row(notebook: Record) -> list[object]:
    lock = notebook["lock"]
    names = [notebook[column] for column in _SHOWN]
    return [*names, lock["by"] if lock else None]


def show(args: argparse.Namespace) -> int:
    """Show one notebook."""
    notebook = client_of(args).get(_path(args.slug))
    if args.json:
        print_json(notebook)
        return Exit.OK
    lock, failure = notebook["lock"], notebook["failure"]
    print_record(
        notebook
        | {
            "memory": size(notebook["memory"]),
            "queue_position": notebook["queue_position"] or None,
            "failure": failure and failure["reason"],
            "lock": lock and f"by {lock['by']} since {lock['since']}: {lock['reason']}",
        }
    )
    return Exit.OK


def delete(args: argparse.Namespace) -> int:
    """Stop a notebook and forget it."""
    client = client_of(args)
    if args.purge_space and not args.yes:
        client.get(_path(args.slug))
        _confirm(args.slug)
    query = {"purge_space": "true"} if args.purge_space else None
    client.call("DELETE", _path(args.slug), query=query, timeout=_STOP_TIMEOUT)
    files = "its files too" if args.purge_space else "its files are kept"
    print(f"{args.slug}: deleted; {files}")
    return Exit.OK


def _confirm(slug: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"--purge-space removes the files of {slug!r} for ever; add --yes")
    print(f"Remove all files of {slug!r} for ever? Type its slug: ", end="", file=sys.stderr)
    sys.stderr.flush()
    if sys.stdin.readline().strip() != slug:
        raise CommandError("nothing was deleted")


def start(args: argparse.Namespace) -> int:
    """Start a server, and show how far it is where that takes a while."""
    client = client_of(args)
    notebook = client.post(f"{_path(args.slug)}/start")
    if args.no_wait:
        print(f"{args.slug}: {notebook['phase']}{_operation_of(notebook)}")
        return Exit.OK
    _wait_until_ready(client, args.slug, notebook)
    print(f"{args.slug}: running")
    return Exit.OK


def _wait_until_ready(client: Client, slug: str, notebook: Record) -> None:
    began, told = time.monotonic(), ""
    while notebook["phase"] != "ready":
        if notebook["phase"] in ("failed", "cold"):
            raise _start_error(slug, notebook["failure"])
        seconds = time.monotonic() - began
        progress = _progress(notebook)
        if seconds > _QUIET_FOR and progress != told:
            say(f"{slug}: {progress} ({seconds:.0f} s)")
            told = progress
        time.sleep(_POLL_EVERY)
        notebook = client.get(_path(slug))


def _progress(notebook: Record) -> str:
    position = notebook["queue_position"]
    return f"{notebook['phase']}, number {position} in the queue" if position else notebook["phase"]


def _start_error(slug: str, failure: Record | None) -> CommandError:
    if failure is None:
        return CommandError(f"notebook {slug!r} was stopped while it started; start it again")
    reason = f"notebook {slug!r} did not start: {failure['reason']}"
    return Refused(503, reason, failure["log_tail"])


def stop(args: argparse.Namespace) -> int:
    """Stop servers, each one whatever happens to the others."""

    def stop_one(client: Client, slug: str) -> str:
        query = given({"reason": args.reason or None, "wait": "false" if args.no_wait else None})
        path = f"{_path(slug)}/stop"
        notebook = client.call("POST", path, query=query, timeout=_STOP_TIMEOUT)
        told = f"stopping{_operation_of(notebook)}" if args.no_wait else "stopped"
        return f"{slug}: {told}"

    return _for_each(args, stop_one, _has_server)


def _has_server(notebook: Record) -> bool:
    """Whether something runs, or waits on the engine."""
    return notebook["state"] != "cold" or notebook["container_id"] is not None


def _operation_of(answer: Record) -> str:
    operation = answer["operation"]
    return f"; `nbgate operation show {operation}` tells how it goes" if operation else ""


def sync(args: argparse.Namespace) -> int:
    """Sync records with the engine, each one whatever happens to the others."""
    return _for_each(args, _sync_one, lambda notebook: True)


def _sync_one(client: Client, slug: str) -> str:
    return str(client.call("POST", f"{_path(slug)}/sync", timeout=_STOP_TIMEOUT)["found"])


def _for_each(
    args: argparse.Namespace,
    act: Callable[[Client, str], str],
    concerned: Callable[[Record], bool],
) -> int:
    if args.all == bool(args.slugs):
        raise UsageError("give either slugs or --all")
    client, worst = client_of(args), Exit.OK
    slugs = args.slugs
    if args.all:
        slugs = [one["slug"] for one in client.get("notebooks")["notebooks"] if concerned(one)]
    for slug in slugs:
        try:
            print(act(client, slug), flush=True)
        except (NotReachable, TokenUnusable):
            raise
        except CommandError as error:
            say(str(error))
            worst = max(worst, error.code)
    if not slugs:
        say("there is nothing to do")
    return worst


def share(args: argparse.Namespace) -> int:
    """Let more people use a notebook."""
    return _shared(args, "share")


def unshare(args: argparse.Namespace) -> int:
    """Let people use a notebook no more."""
    return _shared(args, "unshare")


def _shared(args: argparse.Namespace, verb: str) -> int:
    notebook = client_of(args).post(f"{_path(args.slug)}/{verb}", {"people": args.people})
    if args.json:
        print_json(notebook)
    else:
        people = ", ".join(notebook["shared_with"])
        print(f"{args.slug}: shared with {people}" if people else f"{args.slug}: not shared")
    return Exit.OK


def lock(args: argparse.Namespace) -> int:
    """Lock a notebook."""
    body = {"reason": args.reason} | given({"by": args.by})
    notebook = client_of(args).post(f"{_path(args.slug)}/lock", body)
    print(f"{args.slug}: locked by {notebook['lock']['by']}")
    return Exit.OK


def unlock(args: argparse.Namespace) -> int:
    """Lift a notebook's lock."""
    client_of(args).post(f"{_path(args.slug)}/unlock", given({"by": args.by}))
    print(f"{args.slug}: unlocked")
    return Exit.OK


def logs(args: argparse.Namespace) -> int:
    """Print the end of a server's output."""
    text = client_of(args).get(f"{_path(args.slug)}/logs", {"lines": str(args.lines)})["logs"]
    if text:
        print(text.rstrip("\n"))
    else:
        say(f"{args.slug} has no log: it does not run; `nbgate notebook start {args.slug}`")
    return Exit.OK


def url(args: argparse.Namespace) -> int:
    """Print a link, and nothing else."""
    link = client_of(args).call("POST", "links", _link_body(args), timeout=_STOP_TIMEOUT)
    if args.json:
        print_json(link)
    else:
        print(link["url"])
    return Exit.OK


def _link_body(args: argparse.Namespace) -> Record:
    by_person = args.project is not None or args.person is not None
    if by_person and (args.project is None or args.person is None):
        raise UsageError("--project and --person go together")
    words = list(args.words)
    body: Record = {"direct": args.direct}
    if by_person:
        body |= {"project": args.project, "person": args.person}
    elif words:
        body["slug"] = words.pop(0)
    else:
        raise UsageError("give a notebook's SLUG, or --project and --person")
    if len(words) > 1:
        raise UsageError(f"too many arguments: {words[1]!r}; see `nbgate notebook url --help`")
    return body | ({"file": words[0]} if words else {})


def _path(slug: str) -> str:
    return f"notebooks/{part(slug)}"
