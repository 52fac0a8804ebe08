"""`nbgate control`: the control process of `nbgate serve --workers N`. For the supervisor alone."""

from __future__ import annotations

import argparse
import json

from gateway.cli.connection import load
from gateway.cli.parser import Parser


def add_to(parser: Parser) -> None:
    """Add the argument."""
    parser.add_argument("place", help="where it stands among the supervisor's children, as JSON")
    parser.set_defaults(run=_control)


def _control(args: argparse.Namespace) -> int:
    from gateway.app.fleet import Place, run

    return run(load({}, {}), Place(**json.loads(args.place)))
