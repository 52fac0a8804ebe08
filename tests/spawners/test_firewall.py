from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import pytest

from gateway.spawners.firewall import FirewallFailed, apply, remove, rules

SUBNET = ipaddress.IPv4Network("10.213.0.0/20")
RULES = rules("0a1b2c3d", SUBNET)


class Iptables:
    """Keeps rules as the kernel would."""

    def __init__(self, refusal: str = "") -> None:
        self.set: list[tuple[str, ...]] = []
        self._refusal = refusal

    async def __call__(self, arguments: Sequence[str]) -> tuple[int, str]:
        _, action, *rule = arguments
        known = tuple(rule) in self.set
        if action == "-C":
            return (0 if known else 1), ""
        if self._refusal:
            return 4, self._refusal
        if action == "-I":
            self.set.append(tuple(rule))
        elif known:
            self.set.remove(tuple(rule))
        else:
            return 1, ""
        return 0, ""


def test_rules_are_about_the_installations_bridge_alone() -> None:
    assert all("nbg-0a1b2c3d" in rule.match for rule in RULES)
    assert {rule.chain for rule in RULES} == {"DOCKER-USER", "INPUT"}


def test_gateway_and_httpd_alone_may_begin_connections_inside() -> None:
    sources = [
        rule.match[rule.match.index("-s") + 1]
        for rule in RULES
        if rule.match[-1] == "ACCEPT" and "-s" in rule.match
    ]

    assert sources == ["10.213.0.2", "10.213.0.3"]


async def test_setting_twice_sets_once() -> None:
    kernel = Iptables()

    assert await apply(RULES, kernel) == len(RULES)
    assert await apply(RULES, kernel) == 0
    assert len(kernel.set) == len(RULES)


async def test_missing_rule_alone_is_set_again() -> None:
    kernel = Iptables()
    await apply(RULES, kernel)
    kernel.set.pop(0)

    assert await apply(RULES, kernel) == 1


async def test_removing_leaves_other_rules() -> None:
    kernel = Iptables()
    await apply(RULES, kernel)
    kernel.set.append(("INPUT", "-j", "ACCEPT"))

    assert await remove(RULES, kernel) == len(RULES)
    assert await remove(RULES, kernel) == 0
    assert kernel.set == [("INPUT", "-j", "ACCEPT")]


@pytest.mark.parametrize(
    ("output", "remedy"),
    [
        ("iptables v1.8.9 (nf_tables): Could not fetch rule set: Permission denied", "as root"),
        ("iptables: No chain/target/match by that name.", "is Docker running"),
        ("iptables: something else", "refused -w -I DOCKER-USER"),
    ],
)
async def test_refusal_names_the_remedy(output: str, remedy: str) -> None:
    with pytest.raises(FirewallFailed, match=remedy):
        await apply(RULES, Iptables(output))


async def test_missing_iptables_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(FirewallFailed, match="install the package iptables"):
        await apply(RULES)
