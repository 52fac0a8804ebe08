"""Firewall rules for the notebooks' network: what one bridge with `icc=false` leaves open or shut.

The bridge itself keeps notebooks from each other. Two things it cannot do: let a gateway or httpd
*container* on it reach notebooks, and keep notebooks from services of the host that listen on all
addresses (sshd, databases, the gateway itself). A privileged command sets these rules; it
is idempotent, and is to be run again after the engine or the firewall was started again.

Each rule holds by itself, so that their order does not matter. Notebooks still reach the internet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from gateway.errors import GatewayError
from gateway.spawners.network import Subnet, bridge_name, gateway_address, httpd_address

_DEADLINE = 20.0
_CLOUD_METADATA = "169.254.169.254"
_ANSWERS = ("-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED")

Run = Callable[[Sequence[str]], Awaitable[tuple[int, str]]]


class FirewallFailed(GatewayError):
    """iptables is not there or refused; the text says what and the remedy."""

    code = "firewall"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of iptables' filter table.

    Attributes:
        chain: INPUT, or DOCKER-USER, which Docker passes all forwarded packets through first.
        match: arguments after the chain.
    """

    chain: str
    match: tuple[str, ...]

    def command(self, action: str) -> list[str]:
        """Return iptables' arguments for `action`: `-C` (is it there?), `-I` or `-D`."""
        return ["-w", action, self.chain, *self.match]


def rules(installation: str, subnet: Subnet) -> list[Rule]:
    """Return the rules for the network of `installation`."""
    bridge = bridge_name(installation)
    inside = ("-i", bridge, "-o", bridge)
    allowed = [gateway_address(subnet), httpd_address(subnet)]
    return [
        *(Rule("DOCKER-USER", (*inside, "-s", one, "-j", "ACCEPT")) for one in allowed),
        *(Rule("DOCKER-USER", (*inside, "-d", one, *_ANSWERS, "-j", "ACCEPT")) for one in allowed),
        # The machine's credentials on the large clouds, by HTTP; their DNS is the same address.
        Rule(
            "DOCKER-USER",
            ("-i", bridge, "-d", _CLOUD_METADATA, "-p", "tcp", "--dport", "80", "-j", "DROP"),
        ),
        Rule(
            "INPUT",
            ("-i", bridge, "-m", "conntrack", "!", "--ctstate", _ANSWERS[-1], "-j", "DROP"),
        ),
    ]


async def apply(wanted: Iterable[Rule], run: Run | None = None) -> int:
    """Set those of `wanted` that are not set; return how many that were.

    Args:
        wanted: see rules().
        run: runs iptables with the arguments, returns its status and output; None for the real one.

    Raises:
        FirewallFailed: no iptables, no privilege, or no Docker chains.
    """
    run = run or run_iptables
    changed = 0
    for rule in wanted:
        if (await run(rule.command("-C")))[0] == 0:
            continue
        status, output = await run(rule.command("-I"))
        if status:
            raise FirewallFailed(_explain(rule, output))
        changed += 1
    return changed


async def remove(unwanted: Iterable[Rule], run: Run | None = None) -> int:
    """Take away those of `unwanted` that are set; return how many that were."""
    run = run or run_iptables
    return sum([(await run(rule.command("-D")))[0] == 0 for rule in unwanted])


async def run_iptables(arguments: Sequence[str]) -> tuple[int, str]:
    """Run iptables; return its exit status and its output.

    Raises:
        FirewallFailed: it is not installed, or did not end in time.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            "iptables",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except FileNotFoundError as error:
        raise FirewallFailed("iptables is not installed; install the package iptables") from error
    try:
        async with asyncio.timeout(_DEADLINE):
            output, _ = await process.communicate()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise FirewallFailed(f"iptables did not end within {_DEADLINE:g} s") from error
    return process.returncode or 0, output.decode(errors="replace").strip()


def _explain(rule: Rule, output: str) -> str:
    first = output.splitlines()[0] if output else "no output"
    if "Permission denied" in output:
        return f"iptables: {first}; run this command as root on the engine's host"
    if "No chain" in output or "does not exist" in output:
        return f"iptables has no chain {rule.chain}: {first}; is Docker running on this host?"
    return f"iptables refused {' '.join(rule.command('-I'))}: {first}"
