"""No request gets another's response: thousands of them, interleaved, held and broken off.

Each request carries its own id in path, headers and body, and so does its answer: the bodies are
drawn from the id, and are compared to the last byte at both ends. Two upstreams check that a
request is theirs, whole, and that what changes something comes once. They answer in every framing,
sometimes before the upload has ended, sometimes broken off, sometimes not at all, and some switch
to tunnels. The gate holds some requests for a while: these are led to a target, to a dead one, to
one that was stopped, are refused, fail, or have their session ended. Clients leave in every phase,
and accept nothing but their own id. What fails has a cause in its plan (mixups.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.proxy.interface import ProxyLimits
from routes.keys import Target
from tests.proxy.harness import Rig, rig
from tests.proxy.mixups import LED_ON, UPGRADE, Gate, Plan, Server, Tally, chunked, plan_of
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import Message, Wire
from tests.support.waiting import PATIENCE, until

EVERY_LOOP = True

CLIENTS = 24
ROUNDS = 70
BROKEN = (ConnectionError, asyncio.IncompleteReadError)


def request_of(plan: Plan, rng: random.Random) -> bytes:
    """Return a request with its id in all its places, and what goes with it."""
    identity = plan.identity
    head = b"%b /%b HTTP/1.1\r\nHost: h\r\n" % (plan.method.encode(), identity)
    if not plan.bare:
        head += b"X-Id: %b\r\nX-Request-ID: %b\r\n" % (identity, identity)
    if plan.answer == "switch":
        return head + UPGRADE + b"\r\n" + (plan.question if plan.eager else b"")
    if plan.chunked:
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(plan.question, rng)
    if plan.uploads:
        return head + b"Content-Length: %d\r\n\r\n" % len(plan.question) + plan.question
    return head + b"\r\n"


async def some_turns(rng: random.Random) -> None:
    """Let the loop turn a few times."""
    for _ in range(rng.randrange(8)):
        await asyncio.sleep(0)


class Round:
    """One connection of a client.

    Args:
        client: the connection.
        plans: the requests that are sent over it, in order.
        pipelined: whether they are sent at once.
        rng: of the client.
        tally: what was seen.
    """

    def __init__(
        self, client: Wire, plans: list[Plan], *, pipelined: bool, rng: random.Random, tally: Tally
    ) -> None:
        self._client = client
        self._plans = plans
        self._pipelined = pipelined
        self._rng = rng
        self._tally = tally

    async def play(self, *, leaves: bool) -> None:
        """Send the requests and read their answers, or leave in some phase."""
        requests = [request_of(plan, self._rng) for plan in self._plans]
        if self._pipelined:
            self._tally.asked += len(requests)
            self._client.writer.write(b"".join(requests))
        for plan, data in zip(self._plans, requests, strict=True):
            if plan.way == "left" or (leaves and self._rng.random() < 0.4):
                self._tally.aborted += 1
                await self._leave(plan, b"" if self._pipelined else data)
                return
            if not self._pipelined:
                self._tally.asked += 1
                await self._send(data)
            if not await self._read_answer(plan):
                return

    async def _send(self, data: bytes) -> None:
        """Send `data`, perhaps in two pieces; a break is seen where one reads."""
        cut = self._rng.choice((len(data), len(data), self._rng.randint(0, len(data))))
        self._client.writer.write(data[:cut])
        if cut < len(data):
            await some_turns(self._rng)
            self._client.writer.write(data[cut:])

    async def _leave(self, plan: Plan, data: bytes) -> None:
        """Leave once the gate holds it, or with a part of it sent, or with an answer half read."""
        client, rng = self._client, self._rng
        if plan.way == "left":
            client.writer.write(data)
            await until(lambda: plan.identity in self._tally.waiting)
        else:
            client.writer.write(data[: rng.choice((rng.randint(0, len(data)), len(data)))])
            await some_turns(rng)
            if rng.random() < 0.3:
                with contextlib.suppress(TimeoutError, *BROKEN):
                    async with asyncio.timeout(rng.random() * 0.01):
                        await client.reader.read(50)
        if rng.random() < 0.5:
            client.reset()

    async def _read_answer(self, plan: Plan) -> bool:
        """Read the answer to one request, check it; return whether the connection lives on."""
        try:
            answer = await self._final(plan)
            switched = answer.status == 101
            if switched:
                await self._through_tunnel(plan, answer)
        except BROKEN as error:
            self._note_break(plan, error)
            return False
        good = answer.status in (101, 200, 204)
        self._tally.became(plan, "answered" if good else str(answer.status))
        if good:
            self._check_good(plan, answer)
        elif answer.status == 503 and plan.method != "HEAD":
            shown = plan.identity if plan.identity + b'"' in answer.body else answer.body
            self._tally.check("refusal", plan, shown, plan.identity)
        return not switched and self._lives_on(plan, answer)

    async def _final(self, plan: Plan) -> Message:
        """Return the final answer; look whose it is, and those before."""
        while True:
            answer = await self._client.response(plan.method)
            if not plan.bare:
                self._tally.check_named("answer", plan, answer, b"x-request-id")
            if answer.status >= 200 or answer.status == 101:
                return answer
            self._tally.check_named("interim answer", plan, answer, b"x-id")

    def _check_good(self, plan: Plan, answer: Message) -> None:
        tally = self._tally
        tally.check_named("answer", plan, answer, b"x-id")
        status = {"switch": 101, "none": 204}.get(plan.answer, 200)
        tally.check("status", plan, b"%d" % answer.status, b"%d" % status)
        if plan.method == "HEAD":
            length = b"%d" % len(plan.reply)
            tally.check("length", plan, answer.one(b"content-length"), length)
        elif plan.answer != "none":
            tally.check("answer", plan, answer.body, plan.reply)

    async def _through_tunnel(self, plan: Plan, answer: Message) -> None:
        if not plan.eager:
            self._client.writer.write(plan.question)
        answer.body = await self._client.rest()

    def _lives_on(self, plan: Plan, answer: Message) -> bool:
        """Return what the answer says; only an upload that is not read to its end is the last."""
        if answer.one(b"connection") != b"close":
            return True
        if not plan.uploads or not (plan.early or answer.status >= 400):
            self._tally.unexpected.append(f"the last: {plan}")
        return False

    def _note_break(self, plan: Plan, error: Exception) -> None:
        """Note that the connection broke; a reset takes unread answers with it as well."""
        if isinstance(error, asyncio.IncompleteReadError):
            whole = plan.reply
            if error.expected in (len(whole), len(whole) + 9):
                self._tally.check_start("broken answer", plan, error.partial, whole)
        behind = self._plans[self._plans.index(plan) + 1 :] if self._pipelined else []
        if any("broken" in other.outcomes for other in behind):
            self._tally.outcomes[plan.way, "reset"] += 1
        else:
            self._tally.became(plan, "broken")


def plans_of(name: str, seed: int, rng: random.Random) -> list[Plan]:
    """Draw the requests of one connection; a tunnel is the last."""
    plans = []
    for number in range(rng.randint(1, 6)):
        identity = f"{rng.choice('ab')}-{name}-{number}".encode()
        plans.append(plan_of(identity, seed))
        if plans[-1].answer == "switch":
            break
    return plans


async def client_of(proxy: Rig, number: int, seed: int, tally: Tally) -> None:
    """Play ROUNDS connections."""
    rng = random.Random(seed + number)
    for turn in range(ROUNDS):
        plans = plans_of(f"{number}-{turn}", seed, rng)
        tally.plans.update((plan.identity, plan) for plan in plans)
        pipelined, leaves = rng.random() < 0.4, rng.random() < 0.3
        async with await proxy.connect() as client:
            played = Round(client, plans, pipelined=pipelined, rng=rng, tally=tally)
            await played.play(leaves=leaves)


@contextlib.contextmanager
def dead_target() -> Iterator[Target]:
    """Yield a target that refuses connections, and that no other socket gets meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield Target("127.0.0.1", bound.getsockname()[1])


def check_variety(tally: Tally) -> None:
    """Fail unless all that is to be played was, often."""
    assert tally.asked > 3000
    assert tally.aborted > 100
    assert tally.given_up > 80, "of those that wait, few were left"
    assert tally.count("answered") > 1500
    assert tally.count("answered", "held") > 300
    for way in LED_ON:
        assert tally.count("answered", way) > 30, way
    for way, outcome in [("refused", "503"), ("denied", "503"), ("raised", "503"), ("dead", "502")]:
        assert tally.count(outcome, way) > 30, way
    assert tally.count("401", "ended") > 30
    assert tally.count("broken") > 30
    switched = [one for one in tally.arrivals if tally.plans[one].answer == "switch"]
    assert len(switched) > 100
    assert max(tally.arrivals.values()) == 2, "no request was sent again"


@pytest.mark.parametrize("seed", [20240229, 7, 4711])
async def test_no_request_gets_anothers_response(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    tally = Tally()
    rng = random.Random(seed)
    # What the test does not do has no part in it: no connection is given up on a slow machine.
    limits = ProxyLimits(upstream_idle=0.05, connect_timeout=PATIENCE, linger_timeout=PATIENCE)
    with dead_target() as dead:
        async with (
            Upstream(Server(b"a", tally, rng)) as first,
            Upstream(Server(b"b", tally, rng)) as second,
            rig(tmp_path, first.target, limits) as proxy,
        ):
            targets = {"a": first.target, "b": second.target}
            gate = Gate(tally, rng, lambda one: proxy.proxy.end_sessions([one]), targets, dead)
            for name in ("decide", "awaken", "stands", "suspect"):
                monkeypatch.setattr(proxy.gate, name, getattr(gate, name))
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(client_of(proxy, n, seed, tally) for n in range(CLIENTS)))
            await until(gate.quiet)
            await until(lambda: len(proxy.observer.outcomes) == proxy.observer.started)
            accepted = first.accepted + second.accepted
    told = f"seed {seed}: {tally}"
    assert tally.mixups == [], told
    assert tally.unexpected == [], told
    assert [record for record in caplog.records if record.levelname == "ERROR"] == [], told
    # An upload goes over a connection that its upstream is about to close, and is not sent again.
    assert tally.bereft <= tally.closed_behind, told
    assert tally.arrivals.total() > accepted, "no connection was ever used again"
    check_variety(tally)
