from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.spawners.base import Change, ServerEvent
from gateway.spawners.docker_events import event_of, out_of_memory, query

NANO = 1_790_000_000_123_456_789


def item(action: str, name: str = "demo", **attributes: str) -> dict[str, Any]:
    labels = {"org.nbgate.slug": "demo", "org.nbgate.installation": "x"}
    return {
        "Type": "container",
        "Action": action,
        "Actor": {"ID": "c1", "Attributes": {"name": name, **labels, **attributes}},
        "timeNano": NANO,
    }


@pytest.mark.parametrize(
    ("action", "change"),
    [
        ("start", Change.STARTED),
        ("pause", Change.PAUSED),
        ("unpause", Change.RESUMED),
        ("die", Change.ENDED),
        ("destroy", Change.REMOVED),
    ],
)
def test_actions_of_the_engine_are_changes(action: str, change: Change) -> None:
    assert event_of(item(action)) == ServerEvent("c1", "demo", change, 1_790_000_000.123456)


@pytest.mark.parametrize("action", ["create", "oom", "exec_start: true", "attach", "resize"])
def test_what_changes_nothing_is_left_out(action: str) -> None:
    assert event_of(item(action)) is None


def test_lack_of_memory_is_told_apart_from_an_end() -> None:
    assert out_of_memory(item("oom")) == "demo"
    assert out_of_memory(item("die")) == ""
    assert out_of_memory({}) == ""


def test_container_that_is_set_aside_is_gone_with_its_renaming() -> None:
    aside = event_of(item("rename", "demo-gone-c1", oldName="/demo"))

    assert aside is not None
    assert aside.change is Change.REMOVED
    assert event_of(item("destroy", "demo-gone-c1")) is None


def test_event_of_something_else_is_none() -> None:
    assert event_of({"Type": "network", "Action": "destroy"}) is None
    assert event_of({}) is None


def test_resuming_asks_from_a_moment_not_after_the_event() -> None:
    event = event_of(item("start"))
    assert event is not None

    asked = query("x", event.moment)

    seconds, _, fraction = asked["since"].partition(".")
    assert int(seconds) * 10**9 + int(fraction.ljust(9, "0")) <= NANO
    assert NANO - (int(seconds) * 10**9 + int(fraction.ljust(9, "0"))) < 1000
    filters = json.loads(asked["filters"])
    assert filters["label"] == ["org.nbgate.installation=x"]
    assert filters["type"] == ["container"]
