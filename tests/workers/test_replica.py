"""A replica follows a feed: snapshots, changes, gaps and epochs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from gateway.launch.session_table import Principal, token_digest
from gateway.proxy.interface import Activity, RouteEntry
from gateway.workers.feed import FedSessions, FedTable, Feed, Snapshot
from gateway.workers.replica import OutOfStep, Replica
from routes.keys import Target, parse_target

# Not within the run, which may take hours and has collected this when it began.
LATER = datetime.now(UTC) + timedelta(days=365)
ALICE = Principal("alice", "s1", administrator=False, display_name="Alice")


class Pair:
    """Control's tables and a worker's, with nothing between them."""

    def __init__(self, kept: int = 1000) -> None:
        self.feed = Feed(kept)
        self.table, self.sessions = FedTable(self.feed), FedSessions(self.feed)
        self.forgotten: list[Target] = []
        self.ended: list[str] = []
        self.out: list[tuple[str, frozenset[str]]] = []
        self.replica = Replica(self.forgotten.append, self.ended.extend, self._shut_out)
        self.sent = 0

    def _shut_out(self, key: str, people: frozenset[str]) -> None:
        self.out.append((key, people))

    def snapshot(self) -> None:
        snapshot = Snapshot(self.feed, self.table, self.sessions)
        self.replica.begin({"epoch": snapshot.epoch, "seq": snapshot.seq})
        for part in snapshot.parts():
            self.replica.part(part)
        self.replica.end()
        self.sent = snapshot.seq

    def delta(self) -> dict[str, Any]:
        changes = self.feed.since(self.sent)
        assert changes is not None
        first = self.sent + 1
        self.sent += len(changes)
        return {"epoch": self.feed.epoch, "first": first, "changes": changes}

    def follow(self) -> None:
        while self.sent < self.feed.seq:
            assert self.replica.apply(self.delta())

    def agree(self) -> bool:
        mine, theirs = (
            {key: replace(entry, activity=entry.activity) for key, entry in table.items()}
            for table in (self.table, self.replica.table)
        )
        return mine == theirs


def notebook(slug: str, target: str | None = None, generation: int = 1) -> RouteEntry:
    return RouteEntry(
        key=f"/nb/{slug}",
        target=None if target is None else parse_target(target),
        slug=slug,
        owner="alice",
        project="demo",
        secret=None if target is None else "s3cret",
        generation=generation,
        activity=Activity(),
    )


@pytest.fixture
def pair() -> Pair:
    pair = Pair()
    pair.table.put("/a", RouteEntry("/a", parse_target("http+unix://%2Frun%2Fa.sock")))
    pair.table.put("/nb/x", notebook("x", "127.0.0.1:7"))
    pair.sessions.put(b"d" * 32, "h", LATER, ALICE)
    pair.snapshot()
    return pair


def test_snapshot_has_all_and_what_people_are_called(pair: Pair) -> None:
    assert pair.agree()
    assert pair.replica.sessions.first([b"d" * 32], "h") == ALICE
    assert pair.replica.sessions.tokens()[0][2] == LATER


def test_snapshot_is_in_force_whole_or_not_at_all(pair: Pair) -> None:
    pair.table.put("/b", RouteEntry("/b", parse_target("b:1")))
    snapshot = Snapshot(pair.feed, pair.table, pair.sessions)
    pair.replica.begin({"epoch": snapshot.epoch, "seq": snapshot.seq})
    for part in snapshot.parts():
        pair.replica.part(part)
    assert len(pair.replica.table) == 2
    assert not pair.replica.apply(pair.delta()), "the snapshot brings it"
    pair.replica.end()
    assert len(pair.replica.table) == 3


def test_changes_are_followed(pair: Pair) -> None:
    random = Random(7)
    for _ in range(500):
        slug = f"n{random.randrange(20)}"
        match random.randrange(4):
            case 0:
                pair.table.remove(f"/nb/{slug}")
            case 1:
                pair.sessions.put(random.randbytes(32), "h", LATER, ALICE)
            case 2:
                pair.sessions.drop("s1")
            case _:
                target = random.choice([None, f"127.0.0.1:{random.randrange(1, 9)}"])
                pair.table.put(f"/nb/{slug}", notebook(slug, target))
        if not random.randrange(9):
            pair.follow()
    pair.follow()
    assert pair.agree()
    mine = {token[0] for token in pair.sessions.tokens()}
    assert {token[0] for token in pair.replica.sessions.tokens()} == mine


def test_gap_is_noticed_and_a_snapshot_mends_it(pair: Pair) -> None:
    pair.table.put("/b", RouteEntry("/b"))
    pair.delta()
    pair.table.put("/c", RouteEntry("/c"))
    with pytest.raises(OutOfStep):
        pair.replica.apply(pair.delta())
    assert pair.replica.table.get("/c") is None
    pair.snapshot()
    assert pair.agree()


def test_numbers_of_another_epoch_mean_nothing(pair: Pair) -> None:
    pair.feed.begin_again()
    pair.table.put("/b", RouteEntry("/b"))
    with pytest.raises(OutOfStep):
        pair.replica.apply({"epoch": pair.feed.epoch, "first": pair.replica.seq + 1, "changes": []})


def test_who_is_too_far_behind_is_told_so() -> None:
    pair = Pair(kept=3)
    pair.snapshot()
    for number in range(4):
        pair.table.put(f"/{number}", RouteEntry(f"/{number}"))
    assert pair.feed.since(pair.sent) is None
    assert len(pair.feed.since(pair.feed.seq - 3) or ()) == 3


def test_replaced_sessions_need_a_snapshot(pair: Pair) -> None:
    epoch = pair.feed.epoch
    pair.sessions.replace(FedSessions(Feed()))
    assert pair.feed.epoch != epoch
    pair.snapshot()
    assert pair.replica.sessions.tokens() == []


def test_target_is_forgotten_when_its_route_goes_cold_moves_or_goes(pair: Pair) -> None:
    pair.table.put("/nb/x", notebook("x"))
    pair.follow()
    pair.table.put("/nb/x", notebook("x", "127.0.0.1:8", 2))
    pair.follow()
    pair.table.put("/nb/x", notebook("x", "127.0.0.1:9", 3))
    pair.follow()
    pair.table.remove("/nb/x")
    pair.follow()
    assert [target.port for target in pair.forgotten] == [7, 8, 9]


@pytest.mark.parametrize("by_snapshot", [False, True])
def test_who_may_use_a_route_no_more_is_told(pair: Pair, by_snapshot: bool) -> None:
    catch_up = pair.snapshot if by_snapshot else pair.follow
    taught = replace(notebook("x", "127.0.0.1:7"), others=frozenset({"tina", "bob", "otto"}))
    for entry in (taught, replace(taught, others=frozenset({"tina", "kim"}))):
        pair.table.put("/nb/x", entry)
        catch_up()
    assert pair.out == [("/nb/x", frozenset({"bob", "otto"}))]
    assert pair.replica.suspect(entry) is not None
    pair.table.put("/nb/x", notebook("x"))
    catch_up()
    assert pair.out[1:] == [("/nb/x", frozenset({"tina", "kim"}))]


def test_target_that_a_snapshot_does_not_have_is_forgotten(pair: Pair) -> None:
    pair.table.put("/nb/x", notebook("x"))
    pair.snapshot()
    assert [target.port for target in pair.forgotten] == [7]


def test_suspect_is_cold_here_at_once_and_only_that_generation(pair: Pair) -> None:
    hot = pair.replica.table.get("/nb/x")
    assert hot is not None
    assert pair.replica.suspect(replace(hot, generation=0)) is hot
    cold = pair.replica.suspect(hot)
    assert cold is not None
    assert (cold.target, cold.secret, cold.waking) == (None, None, True)
    assert pair.replica.table.get("/nb/x") is cold
    assert pair.replica.suspect(hot) is cold
    plain = pair.replica.table.get("/a")
    assert plain is not None
    assert pair.replica.suspect(plain) is None


def test_activity_of_a_notebook_outlives_changes_and_snapshots(pair: Pair) -> None:
    before = pair.replica.table.get("/nb/x")
    pair.table.put("/nb/x", notebook("x"))
    pair.follow()
    pair.snapshot()
    after = pair.replica.table.get("/nb/x")
    assert before is not None
    assert after is not None
    assert before.activity is after.activity


def test_only_plain_routes_that_count_activity_count_it(pair: Pair) -> None:
    counting = RouteEntry("/user/a", parse_target("a:1"), activity=Activity())
    pair.table.put("/user/a", counting)
    pair.table.put("/wiki", RouteEntry("/wiki", parse_target("a:2")))
    pair.follow()
    assert "/wiki" not in pair.replica.activities
    mine = pair.replica.activities["/user/a"]
    pair.table.put("/user/a", replace(counting, target=parse_target("a:3")))
    pair.follow()
    assert pair.forgotten == [parse_target("a:1")]
    assert pair.replica.activities["/user/a"] is mine
    pair.table.put("/user/a", replace(counting, activity=None))
    pair.follow()
    assert "/user/a" not in pair.replica.activities, "an operator has set it now"


@pytest.mark.parametrize("by_snapshot", [False, True])
def test_activity_of_a_route_ends_with_it(pair: Pair, by_snapshot: bool) -> None:
    pair.table.put("/user/a", RouteEntry("/user/a", parse_target("a:1"), activity=Activity()))
    pair.follow()
    assert "/user/a" in pair.replica.activities
    pair.table.remove("/user/a")
    if by_snapshot:
        pair.snapshot()
    else:
        pair.follow()
    assert "/user/a" not in pair.replica.activities


def test_who_else_may_use_a_notebook_crosses_and_goes_on_being_shared(pair: Pair) -> None:
    staff = frozenset({"tina", "tom"})
    for slug in ("x", "y"):
        pair.table.put(f"/nb/{slug}", replace(notebook(slug, "127.0.0.1:7"), others=staff))
    pair.follow()
    assert pair.agree()
    found = [pair.replica.table.get(f"/nb/{slug}") for slug in ("x", "y")]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].others == staff
    assert found[0].others is found[1].others
    pair.table.put("/nb/x", notebook("x", "127.0.0.1:7"))
    pair.follow()
    assert pair.agree()
    assert not pair.forgotten, "the target is the same"


def test_who_may_frame_a_notebook_crosses_and_goes_on_being_shared(pair: Pair) -> None:
    for slug in ("x", "y"):
        entry = replace(notebook(slug, "127.0.0.1:7"), ancestors="'self' https://lms.example.org")
        pair.table.put(f"/nb/{slug}", entry)
    pair.follow()
    assert pair.agree()
    found = [pair.replica.table.get(f"/nb/{slug}") for slug in ("x", "y")]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].ancestors == "'self' https://lms.example.org"
    assert found[0].ancestors is found[1].ancestors


@pytest.mark.parametrize("by_snapshot", [True, False])
def test_ended_sessions_are_told_of_once_nobody_gets_in_with_them(
    pair: Pair, by_snapshot: bool
) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    for session in ("s1", "s2"):
        digest = token_digest(session.encode())
        pair.sessions.put(digest, "h", later, Principal("alice", session, administrator=False))
    pair.snapshot()
    assert pair.ended == []
    pair.sessions.drop("s1")
    pair.snapshot() if by_snapshot else pair.follow()
    assert pair.ended == ["s1"]
    assert pair.replica.sessions.lookup(b"s1", "h") is None
    assert pair.replica.sessions.lookup(b"s2", "h") is not None
