"""Routes read from the route file itself, where no gateway runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gateway.cli.connection import settings_of
from gateway.cli.failures import CommandError, Exit
from gateway.errors import NotFound


class NoRouteFile(CommandError):
    """There is no route file."""

    code = Exit.NOT_FOUND


def read(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the routes in the file, as the API has them.

    Raises:
        NoRouteFile: there is none.
        DamagedDatabase: it cannot be trusted.
    """
    from routes import apachedb  # takes long to import

    found = apachedb.read(_existing(args)).items()
    routes = ((_text(key), _text(target)) for key, target in found)
    return [
        {"key": key, "target": target, "hot": True, "slug": None, "owner": None, "project": None}
        for key, target in sorted(routes)
    ]


def read_one(args: argparse.Namespace, key: str) -> dict[str, Any]:
    """Return one route; see `read`. Raises NotFound, InvalidKey."""
    from routes.keys import canonical_key

    canonical = canonical_key(key)
    for route in read(args):
        if route["key"] == canonical:
            return route
    raise NotFound("route", canonical)


def check_file(args: argparse.Namespace) -> list[str]:
    """Return what is wrong with the file, and with what is beside it.

    Raises:
        NoRouteFile: there is no route file.
    """
    from routes import admission, extras, secretmap
    from routes.apachedb import check

    path = _existing(args)
    direct = settings_of(args).httpd_direct
    hidden = secretmap.check(secretmap.beside(path), wanted=direct)
    people = admission.check(path, wanted=direct)
    return [*check(path), *hidden, *people, *extras.check(extras.beside(path))]


def rebuild(args: argparse.Namespace) -> str:
    """Write a fresh file from the notebooks and what is readable; return one line."""
    from gateway.app import rebuild_routes  # takes long to import

    return rebuild_routes(settings_of(args))


def _existing(args: argparse.Namespace) -> Path:
    path = settings_of(args).routes_path
    if not path.exists():
        raise NoRouteFile(
            f"there is no route file {path}; name it with --route-file or NBGATE_ROUTE_FILE, or "
            f"`nbgate serve` makes it"
        )
    return path


def _text(raw: bytes) -> str:
    # Files that other programs wrote may hold anything.
    return raw.decode("ascii", "backslashreplace")
