"""`nbgate network …`: run as root on the engine's host."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import re

from gateway.cli.connection import add_gateway_flags, client_of, load, settings_of
from gateway.cli.failures import Exit, UsageError
from gateway.cli.parser import Parser, command, commands_of


def add_to(noun: Parser) -> None:
    """Add the commands."""
    protect = command(
        commands_of(noun),
        "protect",
        "set the firewall rules that keep notebooks from the host and from each other; run it "
        "as root on the engine's host, and again after Docker or the firewall was restarted",
        "sudo nbgate network protect --state-dir /var/lib/nbgate\n"
        "  sudo nbgate network protect --installation 1a2b3c4d --remove",
        _protect,
    )
    protect.add_argument(
        "--installation",
        metavar="ID",
        help="whose network; default: the one of the state folder, else of the running gateway",
    )
    protect.add_argument(
        "--network-subnet",
        metavar="NET",
        help="the network's addresses; default: as for `nbgate serve`",
    )
    protect.add_argument("--remove", action="store_true", help="take the rules away")
    add_gateway_flags(protect)


def _protect(args: argparse.Namespace) -> int:
    from gateway.spawners import firewall  # takes long to import

    subnet = _subnet(args)
    rules = firewall.rules(_installation(args), subnet)
    if args.remove:
        print(f"{asyncio.run(firewall.remove(rules))} of {len(rules)} rules removed")
    else:
        print(f"{asyncio.run(firewall.apply(rules))} of {len(rules)} rules set, the rest were")
    return Exit.OK


def _subnet(args: argparse.Namespace) -> ipaddress.IPv4Network:
    flags = {"network_subnet": args.network_subnet}
    settings = load(flags, {"network_subnet": "--network-subnet"})
    subnet = ipaddress.ip_network(settings.network_subnet)
    if not isinstance(subnet, ipaddress.IPv4Network):
        raise UsageError(f"--network-subnet: {subnet} is not an IPv4 network")
    return subnet


def _installation(args: argparse.Namespace) -> str:
    if args.installation is not None:
        if not re.fullmatch(r"[0-9a-f]{8}", args.installation):
            raise UsageError(f"--installation: {args.installation!r} is not 8 hexadecimal digits")
        return str(args.installation)
    state_dir = settings_of(args).state_dir
    # Identity.load would make a new one, which would be nobody's.
    if (state_dir / "identity.json").exists():
        from gateway.notebooks.identity import Identity

        return Identity.load(state_dir).installation
    return str(client_of(args).get("")["installation"])
