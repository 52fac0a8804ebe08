"""A notebook that is stopped while a request is on its way: its old address is not used again."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.proxy.interface import Client, Hold, Relay
from gateway.proxy.messages import RequestHead
from tests.proxy.harness import Rig, rig
from tests.proxy.upstreams import Upstream, echo, parsed

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def renew_at(proxy: Rig, new: Upstream) -> None:
    """Have a notebook that is woken again be at `new`."""
    old = proxy.entry
    proxy.gate.replacement = Hold(old)
    proxy.gate.awake.set_result(Relay(proxy.notebook(target=new.target, generation=2)))
    proxy.entry = old


async def test_stop_between_decision_and_connection(tmp_path: Path) -> None:
    async with Upstream(echo) as old, Upstream(echo) as new, rig(tmp_path, old.target) as proxy:
        stopped = proxy.notebook()
        renew_at(proxy, new)

        def stop_at_once(head: RequestHead, client: Client) -> Relay:
            proxy.gate.stopped.append(stopped)
            return Relay(stopped)

        proxy.gate.rule = stop_at_once
        assert parsed((await proxy.ask(GET)).body).start == b"GET / HTTP/1.1"
    assert (old.accepted, new.accepted) == (0, 1)


async def test_stop_while_connecting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Upstream() as old, Upstream(echo) as new, rig(tmp_path, old.target) as proxy:
        stopped = proxy.notebook()
        renew_at(proxy, new)

        def stop_behind_the_first_look(relay: Relay) -> bool:
            stood = relay.entry not in proxy.gate.stopped
            proxy.gate.stopped.append(stopped)
            return stood

        monkeypatch.setattr(proxy.gate, "stands", stop_behind_the_first_look)
        assert parsed((await proxy.ask(GET)).body).start == b"GET / HTTP/1.1"
        server = await old.take()
        assert await server.gone(), "it was connected to, and sent nothing"
    assert new.accepted == 1


async def test_stop_before_a_request_is_sent_again(tmp_path: Path) -> None:
    async with Upstream() as old, rig(tmp_path, old.target) as proxy:
        stopped = proxy.notebook()
        async with await proxy.connect() as client:
            await client.send(GET)
            server = await old.take()
            await server.request()
            await server.send(OK)
            await client.response()
            await client.send(GET)
            await server.request()
            proxy.gate.stopped.append(stopped)
            server.reset()
            assert (await client.response()).status == 502
    assert old.accepted == 1


async def test_request_that_may_not_wake_is_refused(tmp_path: Path) -> None:
    async with Upstream(echo) as old, rig(tmp_path, old.target) as proxy:
        proxy.gate.stopped.append(proxy.notebook())
        assert (await proxy.ask(GET)).status == 502
    assert old.accepted == 0
