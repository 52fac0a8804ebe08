"""Who may use a notebook beside its owner: teachers, administrators, people it is shared with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from gateway.access import AccessGate
from gateway.errors import InvalidInput, NotebookLocked
from gateway.launch.session_table import Principal, SessionTable
from gateway.namespace import Namespace
from gateway.proxy.interface import Decision, Hold, Local, Relay, RouteEntry, shut_out
from gateway.spawners.base import Server, ServerState
from routes.table import Table
from tests.activation.conftest import World
from tests.activation.test_access import (
    BROWSER_POLL,
    CLIENT,
    HOST,
    HOT,
    NAVIGATION,
    UPGRADE,
    entry,
    head,
    never,
)

BY_HOST, BY_PATH = Namespace("nb.example.org"), Namespace()
NONE: Mapping[str, str] = {}
TAUGHT = replace(HOT, others=frozenset({"tina", "bob"}))
COLD = replace(TAUGHT, target=None)


def sessions_of(
    *people: str, host: str, administrators: frozenset[str] = frozenset()
) -> SessionTable:
    table, tomorrow = SessionTable(), datetime.now(UTC) + timedelta(days=1)
    for person in people:
        principal = Principal(person, f"s-{person}", person in administrators)
        table.put(hashlib.sha256(person.encode()).digest(), host, tomorrow, principal)
    return table


def decided(
    routed: RouteEntry,
    *people: str,
    administrators: frozenset[str] = frozenset(),
    places: Namespace = BY_HOST,
    upgrade: bytes = b"",
    headers: Mapping[str, str] = NONE,
) -> Decision:
    """Return what is decided about a browser in which some people are signed in, in an order."""
    table: Table[RouteEntry] = Table()
    host = placed(routed).key if places.base_domain else HOST
    table.put(places.key("hers"), placed(routed, places))
    sessions = sessions_of(*people, host=host, administrators=administrators)
    gate = AccessGate(table, sessions, places, never, lambda one: one, 1.0)
    cookie = "; ".join(f"nbgate-session~c{n}={one}" for n, one in enumerate(people))
    path = f"{places.base_url('hers')}api"
    asked = head(path, {"cookie": cookie, **headers}, upgrade=upgrade)
    return gate.decide(asked, replace(CLIENT, host=host))


def placed(routed: RouteEntry, places: Namespace = BY_HOST) -> RouteEntry:
    return replace(routed, key=places.key("hers"))


def relay(routed: RouteEntry, person: str, places: Namespace = BY_HOST) -> Relay:
    return Relay(placed(routed, places), person, session=f"s-{person}")


@pytest.mark.parametrize("person", ["tina", "bob"])
def test_who_is_among_the_others_is_let_in_by_their_own_name(person: str) -> None:
    assert decided(TAUGHT, person) == relay(TAUGHT, person)
    assert decided(COLD, person) == Hold(placed(COLD), person, f"s-{person}")


@pytest.mark.parametrize("routed", [TAUGHT, COLD, HOT], ids=["hot", "cold", "nobody else's"])
def test_everybody_else_finds_nothing(routed: RouteEntry) -> None:
    assert decided(routed, "mallory") == Local("unknown", "hers")


def test_administrator_uses_every_notebook() -> None:
    admin = frozenset({"root"})
    assert decided(HOT, "root", administrators=admin) == relay(HOT, "root")
    assert decided(HOT, "mallory", "root", administrators=admin) == relay(HOT, "root")


@pytest.mark.parametrize("order", list(permutations(["mallory", "tina", "alice"])))
def test_of_several_people_in_a_browser_the_owner_comes_first(order: tuple[str, ...]) -> None:
    assert decided(TAUGHT, *order) == relay(TAUGHT, "alice")


@pytest.mark.parametrize("order", list(permutations(["mallory", "tina", "eve"])))
def test_else_whoever_may_use_it(order: tuple[str, ...]) -> None:
    assert decided(TAUGHT, *order) == relay(TAUGHT, "tina")


def test_thirteenth_course_of_a_browser_is_as_good_as_the_first() -> None:
    """One request's tokens are bounded; the cookie of the notebook's own course counts always."""
    people = [f"p{number}" for number in range(40)]
    for number, person in enumerate(people):
        theirs = replace(HOT, owner=person, project=f"c{number}")
        assert decided(theirs, *people) == relay(theirs, person)
    stranger = replace(HOT, owner="mallory", project="c39")
    assert decided(stranger, *people) == Local("unknown", "hers")


class TestUnderPathRouting:
    """There a notebook's script has what its reader may use: nobody but the owner opens it live."""

    @pytest.mark.parametrize("routed", [TAUGHT, COLD], ids=["hot", "cold"])
    @pytest.mark.parametrize("person", ["tina", "bob", "root"])
    def test_who_may_use_it_is_led_to_what_can_be_read(
        self, routed: RouteEntry, person: str
    ) -> None:
        admin = frozenset({"root"})
        for headers in (NAVIGATION, {"accept": "text/html"}):
            found = decided(routed, person, administrators=admin, places=BY_PATH, headers=headers)
            assert found == Local("reading", "hers")

    @pytest.mark.parametrize("routed", [TAUGHT, COLD, HOT], ids=["hot", "cold", "nobody else's"])
    @pytest.mark.parametrize("person", ["tina", "root", "mallory"])
    def test_all_else_is_answered_as_strangers_are(self, routed: RouteEntry, person: str) -> None:
        admin, stranger = frozenset({"root"}), Local("unknown", "hers")
        for fetch in (NONE, BROWSER_POLL):
            found = decided(routed, person, administrators=admin, places=BY_PATH, headers=fetch)
            assert found == stranger
        found = decided(routed, person, administrators=admin, places=BY_PATH, upgrade=UPGRADE)
        assert found == stranger

    def test_owner_opens_it_whoever_else_is_signed_in(self) -> None:
        for order in permutations(["tina", "alice"]):
            found = decided(TAUGHT, *order, places=BY_PATH)
            assert found == relay(TAUGHT, "alice", BY_PATH)


class TestKeptInStep:
    """The routes of notebooks, hot and cold, say at once who may use them."""

    @pytest.fixture(params=["hot", "cold"])
    async def slug(self, request: pytest.FixtureRequest, world: World) -> str:
        slug = await world.notebook()
        if request.param == "hot":
            target = entry("x", "y", "127.0.0.1:9").target
            server = Server("c1", slug, 1, ServerState.RUNNING, target)
            await world.lifecycle.enable_proxying(slug, server)
        return slug

    def others(self, world: World, slug: str) -> set[str] | None:
        found = world.routes.entry(f"/nb/{slug}")
        assert found is not None
        return None if found.others is None else set(found.others)

    @pytest.fixture(autouse=True)
    def same_otherwise(self, world: World, slug: str) -> Iterator[None]:
        before = world.routes.entry(f"/nb/{slug}")
        yield
        after = world.routes.entry(f"/nb/{slug}")
        assert before is not None
        assert after is not None
        assert replace(after, others=before.others) == before
        assert after.activity is before.activity

    async def test_staff_comes_and_goes(self, world: World, slug: str) -> None:
        assert self.others(world, slug) is None
        await world.catalogue.update_project("demo", staff=("tina", "tom"))
        assert self.others(world, slug) == {"tina", "tom"}
        await world.catalogue.update_project("demo", title="Other")
        await world.catalogue.update_project("demo", staff=("tom",))
        assert self.others(world, slug) == {"tom"}
        await world.catalogue.update_project("demo", staff=())
        assert self.others(world, slug) is None

    async def test_sharing_comes_and_goes(self, world: World, slug: str) -> None:
        await world.catalogue.update_project("demo", staff=("tina",))
        await world.catalogue.share(slug, ["bob", "carol"])
        await world.catalogue.share(slug, ["bob"])
        assert self.others(world, slug) == {"tina", "bob", "carol"}
        await world.catalogue.unshare(slug, ["carol", "nobody"])
        assert self.others(world, slug) == {"tina", "bob"}

    async def test_staff_of_another_course_does_not_count(self, world: World, slug: str) -> None:
        await world.catalogue.add_project("other", staff=("otto",))
        await world.catalogue.update_project("other", staff=("otto", "oda"))
        assert self.others(world, slug) is None

    async def test_what_another_gateway_stored_counts_when_it_is_read(
        self, world: World, slug: str
    ) -> None:
        await world.catalogue.update_project("demo", staff=("tina",))
        await world.catalogue.load()
        await world.catalogue.refresh([slug], ["demo"])
        assert self.others(world, slug) == {"tina"}


async def test_notebooks_of_a_course_share_one_set(world: World) -> None:
    await world.catalogue.update_project("demo", staff=("tina",))
    slugs = [await world.notebook(person) for person in ("alice", "bob")]
    found = [world.routes.entry(f"/nb/{slug}") for slug in slugs]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].others is found[1].others


async def test_locked_notebook_is_not_shared_but_sharing_can_end(world: World) -> None:
    slug = await world.notebook()
    await world.catalogue.share(slug, ["bob"])
    await world.catalogue.lock(slug, "tina", "exam")
    with pytest.raises(NotebookLocked):
        await world.catalogue.share(slug, ["carol"])
    assert (await world.catalogue.unshare(slug, ["bob"])).shared_with == ()


@pytest.mark.parametrize(
    "people", [["a\nb"], [""], ["x" * 300], [f"p{number}" for number in range(101)]]
)
async def test_people_who_cannot_be_are_refused(world: World, people: list[str]) -> None:
    slug = await world.notebook()
    with pytest.raises(InvalidInput):
        await world.catalogue.share(slug, people)
    assert world.catalogue.notebook(slug).shared_with == ()


@pytest.mark.parametrize(
    ("before", "now", "people"),
    [
        (None, TAUGHT, set()),
        (HOT, TAUGHT, set()),
        (TAUGHT, COLD, set()),
        (TAUGHT, HOT, {"tina", "bob"}),
        (TAUGHT, replace(COLD, others=frozenset({"tina", "otto"})), {"bob"}),
        (TAUGHT, replace(TAUGHT, owner="bob"), {HOT.owner}),
        (TAUGHT, replace(HOT, owner="bob"), {HOT.owner, "tina"}),
        (RouteEntry("/x"), HOT, set()),
        (HOT, RouteEntry(HOT.key), {HOT.owner}),
    ],
)
def test_who_is_shut_out_when_an_entry_is_replaced(
    before: RouteEntry | None, now: RouteEntry, people: set[str]
) -> None:
    assert shut_out(before, now) == people


@pytest.mark.parametrize("routed", [HOT, replace(HOT, target=None)], ids=["hot", "cold"])
def test_notebook_is_told_what_its_person_is_called(routed: RouteEntry) -> None:
    table: Table[RouteEntry] = Table()
    table.put(routed.key, routed)
    sessions, tomorrow = SessionTable(), datetime.now(UTC) + timedelta(days=1)
    ada = Principal("alice", "s1", administrator=False, display_name="Ada Lovelace")
    sessions.put(hashlib.sha256(b"ada").digest(), HOST, tomorrow, ada)
    gate = AccessGate(table, sessions, Namespace(), never, lambda one: one, 1.0)
    decision = gate.decide(head(f"{routed.key}/api", {"cookie": "nbgate-session=ada"}), CLIENT)
    assert isinstance(decision, Relay | Hold)
    assert decision.user_name == "Ada Lovelace"
    if isinstance(decision, Relay):
        again = gate.suspect(decision)
        assert again is not None
        assert again.user_name == "Ada Lovelace"
