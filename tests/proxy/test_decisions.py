"""What becomes of a request by the gate's decision."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import cast

from gateway.errors import StartFailed
from gateway.proxy.interface import Hold, Local, Refuse, Relay, RouteEntry
from routes.keys import Target
from tests.proxy.harness import Rig, activity_of, rig
from tests.proxy.upstreams import Upstream, echo, pages_app, parsed
from tests.proxy.wire import GET, OK, Message, get, until


def problem(answer: Message) -> dict[str, object]:
    """Return the problem document in `answer`."""
    assert answer.one(b"content-type") == b"application/problem+json"
    return cast("dict[str, object]", json.loads(answer.body))


def unused_target() -> Target:
    """Return a target that refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        return Target("127.0.0.1", reserved.getsockname()[1])


# -- Refuse and Local


async def test_refusal_is_problem_json(proxy: Rig, upstream: Upstream) -> None:
    proxy.gate.rule = lambda head, client: Refuse(424, "cold", "it sleeps", retry_after=7)
    async with await proxy.connect() as client:
        for _ in range(2):
            await client.send(get(b"X-Request-ID: me\r\n"))
            answer = await client.response()
            assert answer.status == 424
            assert problem(answer)["detail"] == "it sleeps"
            assert answer.one(b"retry-after") == b"7"
            assert answer.one(b"x-request-id") == b"me"
            assert answer.one(b"connection") is None
    assert upstream.accepted == 0


async def test_refusal_of_an_upload_does_not_read_it(proxy: Rig) -> None:
    proxy.gate.rule = lambda head, client: Refuse(403, "forbidden", "no")
    async with await proxy.connect() as client:
        await client.send(
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 900000\r\n\r\n" + b"x" * 99
        )
        answer = await client.response()
        assert (answer.status, answer.one(b"connection")) == (403, b"close")
        await client.send(b"x" * 500_000)
        assert await client.gone()


async def test_refusal_of_head_has_no_body(proxy: Rig) -> None:
    proxy.gate.rule = lambda head, client: Refuse(403, "forbidden", "no")
    async with await proxy.connect() as client:
        await client.send(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n" + GET)
        assert int((await client.response("HEAD")).one(b"content-length") or 0) > 0
        assert (await client.response()).status == 403


async def test_local_request_reaches_the_pages(tmp_path: Path) -> None:
    async with pages_app(tmp_path / "pages.sock"), rig(tmp_path, trusted=["127.0.0.1"]) as proxy:
        proxy.gate.rule = lambda head, client: Local("waiting", "demo")
        for _ in range(2):
            answer = await proxy.ask(
                get(
                    b"X-Nbgate-Client: 6.6.6.6\r\nX-Nbgate-Reason: own\r\nX-Nbgate-Other: 1\r\n"
                    b"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n"
                    b"Cookie: nbgate-session=s\r\nAuthorization: token t\r\nX-Request-ID: r1\r\n",
                    b"/nb/demo/a%2Fb?token=x",
                )
            )
            told = json.loads(answer.body)
            assert told["path"] == "/nb/demo/a%2Fb?token=x"
            headers = {name.lower(): value for name, value in told["headers"].items()}
            assert headers["x-nbgate-client"] == "203.0.113.7"
            assert headers["x-nbgate-scheme"] == "https"
            assert headers["x-nbgate-reason"] == "waiting"
            assert headers["x-nbgate-slug"] == "demo"
            assert headers["x-request-id"] == "r1"
            assert headers["cookie"] == "nbgate-session=s"
            assert headers["authorization"] == "token t"
            assert "x-nbgate-other" not in headers


async def test_pages_set_gateway_cookies(tmp_path: Path) -> None:
    async def login(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 302 Found\r\nSet-Cookie: nbgate-session=s; HttpOnly\r\nLocation: /\r\n"
            b"Content-Length: 0\r\n\r\n"
        )
        writer.close()

    server = await asyncio.start_unix_server(login, tmp_path / "pages.sock")
    async with server, rig(tmp_path) as proxy:
        proxy.gate.rule = lambda head, client: Local()
        answer = await proxy.ask(GET)
    assert answer.one(b"set-cookie") == b"nbgate-session=s; HttpOnly"


async def test_missing_pages_application_is_503(tmp_path: Path) -> None:
    async with rig(tmp_path) as proxy:
        proxy.gate.rule = lambda head, client: Local()
        answer = await proxy.ask(GET)
        assert (answer.status, answer.one(b"retry-after")) == (503, b"2")
        assert proxy.gate.suspects == []


# -- Hold and suspect


async def test_held_request_is_relayed_when_its_notebook_wakes(tmp_path: Path) -> None:
    async with Upstream(echo) as server, rig(tmp_path) as proxy:
        cold = proxy.notebook(waking=True)
        proxy.gate.rule = lambda head, client: Hold(cold, "alice")
        async with await proxy.connect() as client:
            body = b"x" * 300_000
            sending = asyncio.create_task(
                client.send(
                    b"POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b"
                    % (len(body), body)
                ),
                name="send",
            )
            await until(lambda: proxy.gate.awaiting == 1)
            hot = proxy.notebook(target=server.target, secret="later")
            proxy.gate.awake.set_result(Relay(hot, "alice"))
            message = parsed((await client.response()).body)
            await sending
    assert message.body == body
    assert message.one(b"authorization") == b"token later"


async def test_held_upload_is_not_read_into_memory(tmp_path: Path) -> None:
    async with rig(tmp_path) as proxy:
        cold = proxy.notebook(waking=True)
        proxy.gate.rule = lambda head, client: Hold(cold)
        async with await proxy.connect() as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n")
            await client.stall()


async def test_client_that_goes_away_cancels_its_wait(tmp_path: Path) -> None:
    async with rig(tmp_path) as proxy:
        cold = proxy.notebook(waking=True)
        proxy.gate.rule = lambda head, client: Hold(cold)
        async with await proxy.connect() as client:
            await client.send(GET)
            await until(lambda: proxy.gate.awaiting == 1)
            assert activity_of(cold).requests == 1
        await until(lambda: proxy.gate.cancelled == 1)
        assert not proxy.gate.awake.cancelled()
        assert activity_of(cold).requests == 0
        assert proxy.observer.outcomes == ["aborted"]


async def test_hold_can_end_in_a_refusal(tmp_path: Path) -> None:
    async with rig(tmp_path) as proxy:
        cold = proxy.notebook(waking=True)
        proxy.gate.rule = lambda head, client: Hold(cold)
        proxy.gate.awake.set_result(Refuse(503, "start-failed", "no memory", retry_after=30))
        async with await proxy.connect() as client:
            for _ in range(2):
                await client.send(GET)
                answer = await client.response()
                assert (answer.status, answer.one(b"retry-after")) == (503, b"30")


async def test_hold_can_end_in_an_error(tmp_path: Path) -> None:
    async with rig(tmp_path) as proxy:
        cold = proxy.notebook(waking=True)
        proxy.gate.rule = lambda head, client: Hold(cold)
        proxy.gate.awake.set_exception(StartFailed("demo", "the image is broken", "secret log"))
        answer = await proxy.ask(GET)
    assert answer.status == 503
    assert "the image is broken" in str(problem(answer)["detail"])
    assert b"secret log" not in answer.body


async def test_refused_connection_wakes_and_is_tried_once_more(tmp_path: Path) -> None:
    async with Upstream(echo) as server, rig(tmp_path) as proxy:
        dead = proxy.notebook(target=unused_target(), generation=1)
        alive = proxy.notebook(target=server.target, generation=2, secret="fresh")
        proxy.gate.rule = lambda head, client: Relay(dead, "alice")
        proxy.gate.replacement = Hold(dead, "alice")
        proxy.gate.awake.set_result(Relay(alive, "alice"))
        answer = await proxy.ask(
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", "POST"
        )
        message = parsed(answer.body)
    assert (message.body, message.one(b"authorization")) == (b"hi", b"token fresh")
    assert proxy.gate.suspects == [dead]
    assert activity_of(dead).requests == 0


async def test_server_that_dies_behind_its_probe_is_started_once_more(tmp_path: Path) -> None:
    async with Upstream(echo) as server, rig(tmp_path) as proxy:
        dead = proxy.notebook(target=unused_target(), generation=1)
        alive = proxy.notebook(target=server.target, generation=2)
        proxy.gate.rule = lambda head, client: Hold(proxy.notebook(waking=True))
        proxy.gate.replacement = Hold(dead)

        async def awaken(hold: Hold) -> Relay:
            return Relay(alive if proxy.gate.suspects else dead)

        proxy.gate.awaken = awaken  # type: ignore[method-assign]
        answer = await proxy.ask(
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", "POST"
        )
    assert (answer.status, parsed(answer.body).body) == (200, b"hi")
    assert proxy.gate.suspects == [dead]


async def test_second_refused_connection_is_502(tmp_path: Path) -> None:
    async with rig(tmp_path) as proxy:
        dead = proxy.notebook(target=unused_target())
        proxy.gate.replacement = Hold(dead)
        proxy.gate.awake.set_result(Relay(dead))
        assert (await proxy.ask(GET)).status == 502
    assert proxy.gate.suspects == [dead]


async def test_stale_connection_to_a_dead_notebook_wakes_it(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with Upstream() as second, rig(tmp_path, second.target) as proxy:
        first = proxy.notebook()
        async with await proxy.connect() as client:
            await client.send(GET)
            server = await second.take()
            await server.request()
            await server.send(OK)
            await client.response()
            second.stop_listening()
            alive = proxy.notebook(target=upstream.target)
            proxy.entry = first
            proxy.gate.replacement = Hold(first)
            proxy.gate.awake.set_result(Relay(alive))
            await client.send(GET)
            await server.request()
            server.reset()
            again = await upstream.take()
            await again.request()
            await again.send(OK)
            assert (await client.response()).body == b"ok"
    assert proxy.gate.suspects == [first]


async def test_entry_without_a_target_is_502(tmp_path: Path) -> None:
    async with rig(tmp_path) as proxy:
        proxy.gate.rule = lambda head, client: Relay(RouteEntry("/"))
        assert (await proxy.ask(GET)).status == 502
