"""Arguments that several commands share: limits, variables, labels."""

from __future__ import annotations

import argparse
import math
from typing import Any

from gateway.cli.parser import Parser


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
