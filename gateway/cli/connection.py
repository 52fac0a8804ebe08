"""From flags and settings to a client of the running gateway, or to its route file."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.client import Client, token_of
from gateway.cli.failures import TokenUnusable, UsageError
from gateway.cli.parser import Parser
from gateway.errors import InvalidInput

if TYPE_CHECKING:
    from gateway.settings import Settings


def add_gateway_flags(parser: Parser) -> None:
    """Add the flags that name the gateway to talk to."""
    group = parser.add_argument_group("which gateway")
    group.add_argument(
        "--management",
        metavar="HOST:PORT",
        help="its management API; default: NBGATE_MANAGEMENT_LISTEN, else 127.0.0.1:8001",
    )
    group.add_argument(
        "--state-dir",
        metavar="DIR",
        help="its state folder, which has the token; default: NBGATE_STATE_DIR, else "
        "~/.local/state/nbgate",
    )
    group.add_argument(
        "--token-file",
        metavar="FILE",
        help="its management token; default: NBGATE_TOKEN, else management.token in the state "
        "folder",
    )


def add_json_flag(parser: Parser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def client_of(args: argparse.Namespace) -> Client:
    """Return the client for the gateway that flags and settings name.

    Raises:
        UsageError: a flag or setting is wrong.
    """
    from gateway.settings import parse_address  # takes long to import

    settings = settings_of(args)
    host, port = parse_address(settings.management_listen)
    file = Path(args.token_file) if args.token_file else settings.token_file

    def read_token() -> str:
        given = os.environ.get("NBGATE_TOKEN", "").strip()
        if not given or args.token_file:
            return token_of(file)
        if not given.isascii() or not given.isprintable():
            raise TokenUnusable("NBGATE_TOKEN holds no token; unset it, or set it to the token")
        return given

    return Client(host, port, read_token)


def settings_of(args: argparse.Namespace) -> Settings:
    """Return the settings in force, with the flags of add_gateway_flags. Raises UsageError."""
    flags = {"management_listen": args.management, "state_dir": args.state_dir}
    names = {"management_listen": "--management", "state_dir": "--state-dir"}
    if getattr(args, "route_file", None):
        flags["route_file"], names["route_file"] = args.route_file, "--route-file"
    return load(flags, names)


def load(flags: Mapping[str, Any], names: Mapping[str, str]) -> Settings:
    """Return the settings with `flags`; an error names the flag where one was given.

    Args:
        flags: values by setting; None where the flag was not given.
        names: how each setting's flag is written.

    Raises:
        UsageError: a value is wrong.
    """
    from gateway.settings import load_settings  # takes long to import

    try:
        return load_settings(**flags)
    except InvalidInput as error:
        text = str(error)
        for field, flag in names.items():
            variable = f"NBGATE_{field.upper()}:"
            if flags.get(field) is not None and text.startswith(variable):
                text = text.replace(variable, f"{flag}:", 1)
        raise UsageError(text) from error
