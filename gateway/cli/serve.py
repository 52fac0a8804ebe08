"""`nbgate serve`: every setting has a flag, made from the settings themselves."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from gateway.cli.connection import load
from gateway.cli.parser import Parser
from gateway.settings import Settings

_ABOUT = """\
Run the gateway until it gets SIGTERM or SIGINT. A setting comes from its flag, else from
NBGATE_<NAME> in the environment, else from the file that NBGATE_CONFIG names.
"""

_EXAMPLE = """\
example:
  nbgate serve
  nbgate serve --spawner docker --listen 0.0.0.0:8000 --public-url https://nb.example.org
  NBGATE_SPAWNER=docker nbgate serve
"""


def add_to(parser: Parser) -> None:
    """Add the flags."""
    parser.description, parser.epilog = _ABOUT, _EXAMPLE
    for name, field in Settings.model_fields.items():
        _add_flag(parser, name, field)
    parser.set_defaults(run=_serve)


def flag_of(name: str) -> str:
    """Return the flag of a setting."""
    return "--" + name.replace("_", "-")


def _add_flag(parser: Parser, name: str, field: FieldInfo) -> None:
    text = f"{field.description} Default: {_shown_default(field)}.".replace("%", "%%")
    if field.annotation is bool:
        parser.add_argument(flag_of(name), action=argparse.BooleanOptionalAction, help=text)
    elif get_origin(field.annotation) is Literal:
        choices = get_args(field.annotation)
        parser.add_argument(flag_of(name), choices=choices, help=text)
    else:
        parser.add_argument(flag_of(name), metavar="VALUE", help=text)


def _shown_default(field: FieldInfo) -> str:
    default = field.default
    if default is None or default in ("", ()):
        return "none"
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, Path):
        return str(default).replace(str(Path.home()), "~", 1)
    return f"{default:.15g}" if isinstance(default, float) else str(default)


def settings_of(args: argparse.Namespace) -> Settings:
    """Return the settings in force, with the flags of `nbgate serve`. Raises UsageError."""
    names = {name: flag_of(name) for name in Settings.model_fields}
    return load({name: getattr(args, name) for name in names}, names)


def _serve(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    if settings.workers > 1:
        from gateway.cli.fleet import run as run_fleet

        return run_fleet(settings)
    # The application takes long to import: wrong flags are told at once.
    from gateway.app import run

    return run(settings)
