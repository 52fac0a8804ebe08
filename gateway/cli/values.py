"""Arguments that several commands share: limits, variables, labels."""

from __future__ import annotations

import argparse
import math
from typing import Any

from gateway.cli.parser import Parser
from gateway.durations import in_words, parse_duration
from gateway.errors import InvalidInput

DEFAULT = "default"
_LIFETIMES = {
    "idle_timeout": "stop a server that nobody has used for so long, e.g. 30m or 12h; 0: never; "
    "default: the installation's (so for all of these)",
    "max_age": "stop a server so long after its start, whatever it does; 0: never",
    "warning": "tell open pages so long before a stop; 0: not at all",
    "busy_cap": "work alone, e.g. a busy kernel, keeps a server so long after the last sign of a "
    "person; 0: for ever",
    "pause_after": "pause a server that nobody has used for so long: it keeps its memory; 0: never",
    "remove_after": "keep a stopped container for so long; 0: not at all",
    "autosave": "between two saves of an open document, the most that a stop can lose",
}


def add_spec_flags(parser: Parser) -> None:
    """Add what projects and notebooks have in common."""
    parser.add_argument("--image", metavar="I", help="container image; default: the level above")
    parser.add_argument("--memory", metavar="SIZE", help="memory limit, e.g. 512M or 2G")
    parser.add_argument("--cpus", metavar="N", type=cores, help="CPU limit in cores, e.g. 1.5")
    parser.add_argument(
        "--env",
        metavar="NAME=VALUE",
        type=pair,
        action="append",
        help="a variable for its servers; repeat it for more",
    )
    parser.add_argument(
        "--label",
        metavar="NAME=VALUE",
        type=pair,
        action="append",
        help="a label for its containers; repeat it for more",
    )


def add_lifetime_flags(parser: Parser) -> None:
    """Add how long a project's servers stay."""
    for name, what in _LIFETIMES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="TIME", type=time, help=what)
    parser.add_argument(
        "--still-busy",
        metavar="CHECK",
        help="asked before a stop: a URL that answers 200, or a command in the server that ends "
        "with 0, as long as it is busy; `default` for the installation's",
    )


def lifetimes_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return what add_lifetime_flags gave, as fields of a body; without what was not given."""
    given_ones = given({name: getattr(args, name) for name in (*_LIFETIMES, "still_busy")})
    return {name: None if text == DEFAULT else text for name, text in given_ones.items()}


def shown_lifetimes(project: dict[str, Any]) -> dict[str, str | None]:
    """Return a project's durations as people write them; what is not there is None."""
    seconds = {name: project.get(name) for name in _LIFETIMES}
    return {name: None if one is None else in_words(one) for name, one in seconds.items()}


def time(text: str) -> str | float:
    """Return a duration in seconds, or `default`."""
    if text == DEFAULT:
        return text
    try:
        return parse_duration(text)
    except InvalidInput as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def spec_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return what add_spec_flags gave, as fields of a body; without what was not given."""
    fields = {"image": args.image, "memory": args.memory, "cpus": args.cpus}
    if args.env is not None:
        fields["environment"] = dict(args.env)
    if args.label is not None:
        fields["labels"] = dict(args.label)
    return given(fields)


def given(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def pair(text: str) -> tuple[str, str]:
    """Return (name, value) of `name=value`."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def cores(text: str) -> float:
    """Return a positive number of cores."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of cores, e.g. 1.5")
    return number


def lines(text: str) -> int:
    """Return a number of lines from 1 to 10,000."""
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= 10_000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 10000")
    return int(text)
