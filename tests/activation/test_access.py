"""Who may pass, and who wakes a cold notebook."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.access import AccessGate, Wake, crosses_origin, wake_of
from gateway.errors import StartFailed
from gateway.launch.session_table import Principal, SessionTable
from gateway.namespace import Namespace
from gateway.proxy.interface import Client, Hold, Local, Refuse, Relay, RouteEntry
from gateway.proxy.messages import RequestHead
from routes.keys import parse_target
from routes.table import Table

HOST = "nb.example.org"
CLIENT = Client("192.0.2.1", "http", HOST, 80)
COOKIE = {"cookie": "nbgate-session=token-of-alice"}
BROWSER_POLL = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
NAVIGATION = {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}
UPGRADE = b"websocket"


def head(
    target: str, headers: dict[str, str] | None = None, method: str = "GET", upgrade: bytes = b""
) -> RequestHead:
    pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    pairs.insert(0, (b"Host", HOST.encode()))
    return RequestHead(method.encode(), target.encode(), 11, pairs, upgrade=upgrade)


def entry(slug: str, owner: str, target: str | None = None) -> RouteEntry:
    parsed = parse_target(target) if target else None
    return RouteEntry(f"/nb/{slug}", parsed, slug, owner=owner, project="demo")


async def never(slug: str) -> RouteEntry:
    raise AssertionError(f"{slug} must not be started")


def gate_with(*entries: RouteEntry, hold_timeout: float = 1.0, ensure: object = None) -> AccessGate:
    table: Table[RouteEntry] = Table()
    for one in entries:
        table.put(one.key, one)
    sessions = SessionTable()
    digest = hashlib.sha256(b"token-of-alice").digest()
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    sessions.put(digest, HOST, tomorrow, Principal("alice", "s1", administrator=False))
    start = ensure if callable(ensure) else never
    return AccessGate(table, sessions, Namespace(), start, lambda one: one, hold_timeout)


HOT = entry("hers", "alice", "127.0.0.1:9000")
COLD = entry("cold", "alice")
OTHER = entry("his", "bob", "127.0.0.1:9001")
PLAIN = RouteEntry("/wiki", parse_target("127.0.0.1:9002"))


def test_owner_is_relayed_to_a_hot_notebook() -> None:
    assert gate_with(HOT).decide(head("/nb/hers/lab", COOKIE), CLIENT) == Relay(
        HOT, "alice", session="s1"
    )


def test_target_stands_until_its_notebook_is_stopped_or_started_again() -> None:
    assert gate_with(HOT).stands(Relay(HOT, "alice", session="s1"))
    for now in (replace(HOT, target=None), replace(HOT, generation=HOT.generation + 1)):
        assert not gate_with(now).stands(Relay(HOT, "alice", session="s1"))
    assert not gate_with().stands(Relay(HOT, "alice", session="s1"))
    assert gate_with().stands(Relay(PLAIN)), "nothing is stopped behind a plain route"


def test_plain_route_is_open() -> None:
    assert gate_with(PLAIN).decide(head("/wiki/x"), CLIENT) == Relay(PLAIN)


def test_gateways_pages_win_over_any_route() -> None:
    everything = RouteEntry("/", parse_target("127.0.0.1:1"))
    gate = gate_with(everything, replace(everything, key=HOST))
    assert gate.decide(head("/gateway/login"), CLIENT) == Local()


@pytest.mark.parametrize("slug", ["hers", "cold", "his", "nothing"])
def test_stranger_learns_nothing_about_what_exists(slug: str) -> None:
    gate = gate_with(HOT, COLD, OTHER)
    page = gate.decide(head(f"/nb/{slug}/lab", NAVIGATION), CLIENT)
    call = gate.decide(head(f"/nb/{slug}/api"), CLIENT)
    assert page == Local("login", slug)
    assert isinstance(call, Refuse)
    assert call.status == 401


@pytest.mark.parametrize("slug", ["his", "nothing"])
def test_another_persons_notebook_looks_like_none(slug: str) -> None:
    decision = gate_with(OTHER).decide(head(f"/nb/{slug}/lab", COOKIE), CLIENT)
    assert decision == Local("unknown", slug)


def test_session_counts_only_at_its_host() -> None:
    elsewhere = replace(CLIENT, host="other.example.org")
    decision = gate_with(HOT).decide(head("/nb/hers/api", COOKIE), elsewhere)
    assert isinstance(decision, Refuse)
    assert decision.status == 401


@pytest.mark.parametrize(
    ("headers", "method", "upgrade", "crosses"),
    [
        ({}, "POST", b"", False),
        ({"origin": f"http://{HOST}"}, "POST", b"", False),
        ({"origin": "http://evil.example"}, "POST", b"", True),
        ({"origin": "null"}, "POST", b"", True),
        ({"origin": f"https://{HOST}"}, "POST", b"", True),
        ({"sec-fetch-site": "cross-site"}, "DELETE", b"", True),
        ({"sec-fetch-site": "same-site"}, "PUT", b"", True),
        ({"sec-fetch-site": "none"}, "POST", b"", False),
        ({"origin": "http://evil.example"}, "GET", UPGRADE, True),
        ({"origin": f"http://{HOST}"}, "GET", UPGRADE, False),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, "GET", b"", False),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, "POST", b"", True),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, "GET", b"", True),
    ],
)
def test_requests_of_foreign_pages_are_told_apart(
    headers: dict[str, str], method: str, upgrade: bytes, crosses: bool
) -> None:
    assert crosses_origin(head("/x", headers, method, upgrade), CLIENT) is crosses


@pytest.mark.parametrize(
    ("headers", "method", "wake"),
    [
        (NAVIGATION, "GET", Wake.PAGE),
        ({"accept": "text/html,*/*"}, "GET", Wake.PAGE),
        ({}, "GET", Wake.CALL),
        ({"accept": "*/*", "user-agent": "curl"}, "POST", Wake.CALL),
        (BROWSER_POLL, "GET", Wake.BACKGROUND),
        ({"referer": f"http://{HOST}/nb/cold/lab"}, "GET", Wake.BACKGROUND),
        ({"origin": f"http://{HOST}"}, "POST", Wake.BACKGROUND),
        ({"accept": "text/html", "referer": "http://lms.example"}, "GET", Wake.PAGE),
    ],
)
def test_who_wakes(headers: dict[str, str], method: str, wake: Wake) -> None:
    assert wake_of(head("/nb/cold/api", headers, method)) is wake


def test_background_request_is_held_only_while_starting() -> None:
    poll = head("/nb/cold/api/kernels", COOKIE | BROWSER_POLL)
    refused = gate_with(COLD).decide(poll, CLIENT)
    assert isinstance(refused, Refuse)
    assert refused.status == 424
    waking = replace(COLD, waking=True)
    assert gate_with(waking).decide(poll, CLIENT) == Hold(waking, "alice", "s1")


def test_navigation_gets_the_waiting_page_and_a_call_is_held() -> None:
    gate = gate_with(COLD)
    page = gate.decide(head("/nb/cold/lab", COOKIE | NAVIGATION), CLIENT)
    assert page == Local("waiting", "cold")
    assert gate.decide(head("/nb/cold/api", COOKIE), CLIENT) == Hold(COLD, "alice", "s1")


async def test_held_request_goes_on_when_the_notebook_is_hot() -> None:
    async def start(slug: str) -> RouteEntry:
        return HOT

    gate = gate_with(COLD, ensure=start)
    assert await gate.awaken(Hold(COLD, "alice", "s1")) == Relay(HOT, "alice", session="s1")


async def test_hold_is_bounded_and_says_when_to_come_back() -> None:
    async def start(slug: str) -> RouteEntry:
        await asyncio.Event().wait()
        return HOT

    answer = await gate_with(COLD, hold_timeout=0.01, ensure=start).awaken(
        Hold(COLD, "alice", "s1")
    )
    assert isinstance(answer, Refuse)
    assert (answer.status, answer.code) == (503, "starting")
    assert answer.retry_after


async def test_failed_start_is_told_without_its_log() -> None:
    async def start(slug: str) -> RouteEntry:
        raise StartFailed(slug, "it ended with exit code 3", "secret log", 4.0)

    answer = await gate_with(COLD, ensure=start).awaken(Hold(COLD, "alice", "s1"))
    assert isinstance(answer, Refuse)
    assert (answer.status, answer.retry_after) == (503, 4)
    assert "exit code 3" in answer.detail
    assert "secret log" not in answer.detail


async def test_what_nobody_expected_is_left_to_the_exchange_which_logs_it() -> None:
    async def start(slug: str) -> RouteEntry:
        raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError, match="a fault of ours"):
        await gate_with(COLD, ensure=start).awaken(Hold(COLD, "alice", "s1"))


def test_host_namespace_names_each_notebooks_origin() -> None:
    places = Namespace("nb.example.org", ":8443", "https")
    assert places.key("a-x-b") == "a-x-b.nb.example.org"
    assert places.url("a-x-b") == "https://a-x-b.nb.example.org:8443/"
    assert places.slug_of(b"A-x-b.NB.example.org:8443", b"/lab") == "a-x-b"
    assert places.slug_of(b"nb.example.org", b"/lab") is None


class TestPlainRouteForEverything:
    """A plain route `/`, as JupyterHub sets one for itself, stands beside notebooks."""

    EVERYTHING = RouteEntry("/", parse_target("127.0.0.1:8081"))

    def test_it_has_what_nobody_else_has(self) -> None:
        gate = gate_with(self.EVERYTHING, HOT, PLAIN)
        for path in ("/", "/hub/home", "/user/a%40b/lab", "/nb", "/nb/", "/nbx/y"):
            assert gate.decide(head(path), CLIENT) == Relay(self.EVERYTHING), path
        assert gate.decide(head("/wiki/x"), CLIENT) == Relay(PLAIN)
        assert gate.decide(head("/nb/hers/lab", COOKIE), CLIENT) == Relay(
            HOT, "alice", session="s1"
        )
        assert gate.decide(head("/gateway/login"), CLIENT) == Local()

    def test_it_does_not_tell_which_notebooks_there_are(self) -> None:
        gate = gate_with(self.EVERYTHING, HOT)
        for headers in (NAVIGATION, BROWSER_POLL):
            known = gate.decide(head("/nb/hers/lab", headers), CLIENT)
            unknown = gate.decide(head("/nb/nobody/lab", headers), CLIENT)
            assert type(known) is type(unknown) is not Relay
        assert gate.decide(head("/nb/nobody", COOKIE), CLIENT) == Local("unknown", "nobody")

    def test_nor_where_each_notebook_has_a_host(self) -> None:
        table: Table[RouteEntry] = Table()
        user = RouteEntry("/user/a", parse_target("127.0.0.1:8082"))
        for one in (self.EVERYTHING, user, replace(HOT, key="hers.nb.test")):
            table.put(one.key, one)
        gate = AccessGate(
            table, SessionTable(), Namespace("nb.test"), never, lambda one: one, hold_timeout=1.0
        )
        clients = {name: replace(CLIENT, host=name) for name in ("nb.test", "www.nb.test", "a.b")}
        for name, client in clients.items():
            asked = RequestHead(b"GET", b"/user/a/", 11, [(b"Host", name.encode())])
            assert gate.decide(asked, client) == Relay(user), name
        for name in ("hers.nb.test", "nobody.nb.test"):
            client = replace(CLIENT, host=name)
            for path in (b"/", b"/user/a/"):
                asked = RequestHead(b"GET", path, 11, [(b"Host", name.encode())])
                assert isinstance(gate.decide(asked, client), Refuse), name


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("/user/a@b", "/user/a%40b/lab"),
        ("/user/a@b", "/user/a@b/lab"),
        ("/user/a+b!", "/%75ser/a%2bb%21"),
        ("/x/%20@", "/x/%20%40/y"),
    ],
)
def test_plain_key_is_found_in_every_spelling(key: str, path: str) -> None:
    plain = RouteEntry(key, parse_target("127.0.0.1:1"))
    assert gate_with(plain).decide(head(path), CLIENT) == Relay(plain)


def test_escaped_slash_is_no_boundary() -> None:
    everything = RouteEntry("/", parse_target("127.0.0.1:1"))
    gate = gate_with(everything, PLAIN, HOT)
    for path in ("/wiki%2Fx", "/nb%2Fhers/lab", "/nb%2fhers%2flab"):
        assert gate.decide(head(path, COOKIE), CLIENT) == Relay(everything)
