"""What the mix-up test plays: how each request goes, an upstream, a gate, and what was seen.

How a request goes is drawn from its id and the seed, so that both ends and the gate know what has
to come of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from gateway.errors import StartFailed
from gateway.proxy.interface import Activity, Client, Decision, Hold, Refuse, Relay, RouteEntry
from gateway.proxy.messages import RequestHead
from routes.keys import Target
from tests.proxy.harness import activity_of
from tests.proxy.wire import Message, Wire

SIZES = (9, 60, 600, 600, 2000, 2000, 40_000, 90_000)
METHODS = (*("GET", "GET", "GET", "HEAD"), *("POST", "PUT", "POST"), "UPGRADE")
LED_ON = ("held", "moved", "died", "stopped")
WAYS = (
    *(*["relay"] * 18, *["held"] * 6, *LED_ON),
    *("dead", "refused", "denied", "raised", "ended", "left", "left"),
)
ANSWERS = (
    *("length", "length", "length", "chunked", "chunked"),
    *("close", "none", "broken", "stale", "silent", "surplus"),
)
STRAY = b"HTTP/1.1 200 OK\r\nX-Id: stray\r\nContent-Length: 5\r\n\r\nstray"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"


@dataclass(frozen=True, slots=True)
class Plan:
    """How one request goes.

    Attributes:
        identity: its id; the part before the first dash names its upstream.
        method: as in its line.
        bare: its headers carry no id: they are those of other requests too.
        chunked: so is its body.
        way: what the gate does. `relay`; `held`, then relayed; `moved`: held, led to a dead target,
            held, relayed; `died`: led to a dead target, held, relayed; `stopped`: held, led to
            another's target that does not stand, held, relayed; `dead`: held, led to a dead target
            twice; `refused` at once; `denied`: held, refused; `raised`: held, an error; `ended`:
            held, and its session ends; `left`: held until its client has left.
        answer: what the upstream does. `switch`: to a tunnel; `close`: a body that ends with the
            connection; `none`: no body; `broken` off; `stale`: closes behind its answer; `silent`:
            closes without an answer the first time; `surplus`: more than an answer.
        early: the upstream answers and closes without reading the body.
        eager: what goes through the tunnel comes with the request.
        interim: another answer comes before.
    """

    identity: bytes
    method: str
    bare: bool
    chunked: bool
    way: str
    answer: str
    early: bool
    eager: bool
    interim: bool

    @property
    def uploads(self) -> bool:
        """Whether it has a body, and is not sent twice."""
        return self.method in ("POST", "PUT")

    @property
    def question(self) -> bytes:
        """Its body, or what is sent through its tunnel."""
        return body_of(b"?" + self.identity)

    @property
    def reply(self) -> bytes:
        """The body of its answer, or what comes through its tunnel."""
        return body_of(b"!" + self.identity)

    @property
    def outcomes(self) -> tuple[str, ...]:
        """What may become of it when the client stays."""
        own = {"dead": ("502",), "ended": ("401",), "left": ()}.get(self.way)
        if own is not None:
            return own
        if self.way in ("refused", "denied", "raised"):
            return ("503",)
        if self.answer == "broken":
            return ("broken", "502")
        if self.early:  # what the upstream has not read resets the connection, and its answer
            return ("answered", "broken", "502")
        return ("answered", "502") if self.answer == "silent" else ("answered",)


def body_of(mark: bytes) -> bytes:
    """Return bytes that nothing but `mark` has: it, and what is drawn from it."""
    size = SIZES[zlib.crc32(mark) % len(SIZES)]
    return mark + b" " + hashlib.shake_128(mark).digest(size)


def plan_of(identity: bytes, seed: int) -> Plan:
    """Draw how a request goes."""
    rng = random.Random(f"{seed} {identity!r}")
    way, method, answer = rng.choice(WAYS), rng.choice(METHODS), rng.choice(ANSWERS)
    arrives = way == "relay" or way in LED_ON
    switches = method == "UPGRADE" and arrives
    if switches:
        method, answer = "GET", "switch"
    elif method == "UPGRADE":
        method = "GET"
    elif method == "HEAD" and answer not in ("stale", "silent"):
        answer = "length"
    uploads = method in ("POST", "PUT")
    return Plan(
        identity,
        method,
        bare=not uploads and not switches and rng.random() < 0.4,
        chunked=uploads and rng.random() < 0.4,
        way=way,
        answer=answer,
        early=uploads and arrives and rng.random() < 0.1,
        eager=switches and rng.random() < 0.5,
        interim=not switches and rng.random() < 0.1,
    )


class Tally:
    """What was seen at both ends.

    Attributes:
        plans: of all requests that are or were on their way.
        arrivals: how often each came to an upstream.
        outcomes: how often something became of a way.
        unexpected: what became of a request without a cause in its plan.
        bereft: uploads that a connection was closed under which their upstream had answered on.
        closed_behind: how often an upstream closed such a connection.
        waiting: requests that the gate holds, or has held.
        given_up: waits at the gate that ended because their clients left.
    """

    def __init__(self) -> None:
        self.plans: dict[bytes, Plan] = {}
        self.arrivals: Counter[bytes] = Counter()
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.asked = 0
        self.aborted = 0
        self.waiting: set[bytes] = set()
        self.given_up = 0
        self.bereft = 0
        self.closed_behind = 0
        self.mixups: list[str] = []
        self.unexpected: list[str] = []

    def __repr__(self) -> str:
        counts = "asked", "aborted", "given_up", "bereft", "closed_behind", "outcomes"
        return ", ".join(f"{name}={getattr(self, name)}" for name in counts)

    def plan(self, target: bytes) -> Plan | None:
        """Return the plan of the request for `target`; None for one that nobody sent."""
        plan = self.plans.get(target.removeprefix(b"/"))
        if plan is None:
            self.mixups.append(f"nobody asked for {target!r}")
        return plan

    def check(self, what: str, plan: Plan, found: bytes | None, expected: bytes) -> None:
        """Note a mix-up unless what was found is what was expected."""
        if found != expected:
            self.mixups.append(f"{what} of {plan}: {_shown(found)} in place of {_shown(expected)}")

    def check_start(self, what: str, plan: Plan, found: bytes, whole: bytes) -> None:
        """Note a mix-up unless what was found is how the whole begins."""
        self.check(what, plan, found, whole[: len(found)])

    def check_named(self, what: str, plan: Plan, message: Message, name: bytes) -> None:
        """Note a mix-up unless each header `name`, and there is one, has the id."""
        for value in message.all(name) or [b"none"]:
            self.check(f"{what}'s {name.decode()}", plan, value, plan.identity)

    def became(self, plan: Plan, outcome: str) -> None:
        """Note what became of a request, and whether that is what it should."""
        self.outcomes[plan.way, outcome] += 1
        if outcome in plan.outcomes:
            return
        if outcome == "502" and plan.uploads and not self.arrivals[plan.identity]:
            self.bereft += 1
        else:
            self.unexpected.append(f"{outcome}: {plan}")

    def count(self, outcome: str, *ways: str) -> int:
        """Return how often something became of these ways; of any when none is named."""
        return sum(
            number
            for (way, what), number in self.outcomes.items()
            if what == outcome and (not ways or way in ways)
        )


def _shown(data: bytes | None) -> str:
    return repr(data) if data is None or len(data) < 40 else f"{data[:40]!r}… ({len(data)} bytes)"


def chunked(body: bytes, rng: random.Random) -> bytes:
    """Return `body` in chunks of random sizes."""
    pieces = []
    largest = rng.choice((400, 5000))
    while body:
        size = rng.randint(1, largest)
        piece, body = body[:size], body[size:]
        pieces.append(b"%x\r\n%b\r\n" % (len(piece), piece))
    return b"".join(pieces) + b"0\r\n\r\n"


class Server:
    """An upstream: checks what comes and answers as planned."""

    def __init__(self, name: bytes, tally: Tally, rng: random.Random) -> None:
        self._name = name
        self._tally = tally
        self._rng = rng

    async def __call__(self, wire: Wire) -> None:
        """Play one connection."""
        while True:
            message = await wire.head()
            plan = self._tally.plan(message.target)
            if plan is None:
                return
            self._check_head(plan, message)
            if not plan.early:
                await self._read_body(wire, plan, message)
            if plan.answer == "switch":
                await self._switch(wire, plan)
                return
            if not await self._answer(wire, plan) or plan.early:
                return

    def _check_head(self, plan: Plan, message: Message) -> None:
        tally = self._tally
        tally.check("method", plan, message.start.split(b" ")[0], plan.method.encode())
        tally.check("upstream", plan, self._name, plan.identity.partition(b"-")[0])
        tally.check("secret", plan, message.one(b"authorization"), b"token " + self._name)
        for name in (b"x-nbgate-user", *(() if plan.bare else (b"x-id", b"x-request-id"))):
            tally.check_named("request", plan, message, name)
        tally.arrivals[plan.identity] += 1
        again = not plan.uploads and plan.answer in ("silent", "broken")
        if tally.arrivals[plan.identity] > 1 + again:
            tally.mixups.append(f"came once more: {plan}")

    async def _read_body(self, wire: Wire, plan: Plan, message: Message) -> None:
        expected = plan.question if plan.uploads else b""
        try:
            await wire.body_of(message)
        except asyncio.IncompleteReadError as error:
            if error.expected == len(expected):
                self._tally.check_start("broken request", plan, error.partial, expected)
            raise
        self._tally.check("request", plan, message.body, expected)

    async def _switch(self, wire: Wire, plan: Plan) -> None:
        """Switch protocols; send half of what is to be sent before the other end has."""
        head = b"HTTP/1.1 101 Switching Protocols\r\n%bX-Id: %b\r\n\r\n" % (UPGRADE, plan.identity)
        half = len(plan.reply) // 2
        await wire.send(head + plan.reply[:half])
        found = await wire.read(len(plan.question))
        self._tally.check("what came by tunnel", plan, found, plan.question)
        await wire.send(plan.reply[half:])

    async def _answer(self, wire: Wire, plan: Plan) -> bool:
        """Answer, or not; return whether the connection lives on."""
        if self._rng.random() < 0.3:
            await asyncio.sleep(self._rng.random() * 0.003)
        if plan.answer == "silent" and self._tally.arrivals[plan.identity] == 1:
            if self._rng.random() < 0.5:
                wire.reset()
            return False
        if plan.answer == "stale" or plan.early:
            self._tally.closed_behind += 1
        await wire.send(self._answer_of(plan))
        if plan.answer == "broken":
            wire.reset()
        return plan.answer not in ("close", "broken", "stale")

    def _answer_of(self, plan: Plan) -> bytes:
        body = plan.reply
        head = b"HTTP/1.1 200 OK\r\nX-Id: %b\r\n" % plan.identity
        if plan.interim:
            head = b"HTTP/1.1 103 Early Hints\r\nX-Id: %b\r\n\r\n" % plan.identity + head
        if plan.method == "HEAD":
            return head + b"Content-Length: %d\r\n\r\n" % len(body)
        if plan.answer == "chunked":
            return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, self._rng)
        if plan.answer == "close":
            return head + b"\r\n" + body
        if plan.answer == "none":
            return head.replace(b"200 OK", b"204 No Content") + b"\r\n"
        missing = 9 if plan.answer == "broken" else 0
        # In one segment with its answer: what comes later cannot be told from the next one.
        surplus = STRAY if plan.answer == "surplus" and len(body) < 4000 else b""
        return head + b"Content-Length: %d\r\n\r\n" % (len(body) + missing) + body + surplus


class Gate:
    """A gate that leads each request its way, and holds those that wait a random short time.

    Args:
        tally: where the plans are.
        rng: draws the pauses.
        end_session: breaks off what a session has open.
        targets: of the upstreams, by name.
        dead: a target that refuses connections.
    """

    def __init__(
        self,
        tally: Tally,
        rng: random.Random,
        end_session: Callable[[str], None],
        targets: dict[str, Target],
        dead: Target,
    ) -> None:
        self._tally = tally
        self._rng = rng
        self._end_session = end_session
        self._activities = {name: Activity() for name in targets}
        self._live = {name: self._entry(name, target) for name, target in targets.items()}
        self._dead = {name: self._entry(name, dead) for name in targets}
        others = zip(targets, reversed(targets.values()), strict=True)
        self._stopped = {name: self._entry(name, target) for name, target in others}

    def quiet(self) -> bool:
        """Whether no request is on its way, and no tunnel open."""
        activities = [activity_of(entry) for entry in self._live.values()]
        return not any(activity.requests or activity.websockets for activity in activities)

    def decide(self, head: RequestHead, client: Client) -> Decision:
        """See Gate."""
        plan = self._tally.plan(head.target)
        if plan is None:
            return Refuse(404, "unknown", "nobody asked for it")
        if plan.way == "refused":
            return Refuse(503, "refused", plan.identity.decode())
        if plan.way == "relay":
            return self._relay(plan, self._live)
        return self._relay(plan, self._dead) if plan.way == "died" else self._hold(plan)

    async def awaken(self, hold: Hold) -> Relay | Refuse:
        """See Gate."""
        plan = self._tally.plans[hold.session.encode()]
        self._tally.waiting.add(plan.identity)
        if plan.way == "ended":
            asyncio.get_running_loop().call_soon(self._end_session, hold.session)
        try:
            await (asyncio.Event().wait() if plan.way == "left" else self._pause())
        except asyncio.CancelledError:
            self._tally.given_up += plan.way != "ended"
            raise
        return self._led(plan, first=not hold.user_name)

    def _led(self, plan: Plan, *, first: bool) -> Relay | Refuse:
        """Return what a held request's wait ends in."""
        if plan.way == "raised" or (plan.way == "ended" and self._rng.random() < 0.5):
            raise StartFailed("demo", plan.identity.decode())
        if plan.way == "denied":
            return Refuse(503, "denied", plan.identity.decode())
        if plan.way == "dead" or (plan.way == "moved" and first):
            return self._relay(plan, self._dead)
        stopped = plan.way == "stopped" and first
        return self._relay(plan, self._stopped if stopped else self._live)

    def stands(self, relay: Relay) -> bool:
        """See Gate."""
        return not any(relay.entry is entry for entry in self._stopped.values())

    def suspect(self, relay: Relay) -> Hold | None:
        """See Gate."""
        plan = self._tally.plans[relay.session.encode()]
        if plan.way not in ("moved", "died", "stopped", "dead"):
            self._tally.unexpected.append(f"suspected: {plan}")
            return None
        return self._hold(plan, again=True)

    async def _pause(self) -> None:
        """Wait for nothing, some turns of the loop or some milliseconds."""
        if self._rng.random() < 0.4:
            await asyncio.sleep(self._rng.random() * 0.01)
        else:
            for _ in range(self._rng.randrange(12)):
                await asyncio.sleep(0)

    def _entry(self, name: str, target: Target) -> RouteEntry:
        activity = self._activities[name]
        return RouteEntry(f"/{name}", target, slug="demo", secret=name, activity=activity)

    def _relay(self, plan: Plan, entries: dict[str, RouteEntry]) -> Relay:
        identity = plan.identity.decode()
        return Relay(entries[identity.partition("-")[0]], identity, session=identity)

    def _hold(self, plan: Plan, *, again: bool = False) -> Hold:
        identity = plan.identity.decode()
        entry = self._live[identity.partition("-")[0]]
        return Hold(entry, identity, identity, "again" if again else "")
