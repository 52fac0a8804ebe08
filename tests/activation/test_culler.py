"""What keeps a server and what does not: the culler over a real life cycle."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from gateway.activation.culler import Traffic
from gateway.errors import EngineError
from gateway.notebooks.model import State
from gateway.spawners.base import Server
from tests.activation.watch import Watch, lifetimes, watch

__all__ = ["watch"]


# -- idle or not


async def test_unused_notebook_is_warned_of_and_stopped(watch: Watch) -> None:
    slug = await watch.started()
    await watch.after(3240)
    assert watch.culler.notice(slug) is None
    await watch.after(60)
    notice = watch.culler.notice(slug)
    assert notice is not None
    assert (notice.kind, notice.seconds) == ("warning", 300.0)
    assert notice.reason == "nobody has used it for 55 minutes"
    assert watch.state(slug) is State.RUNNING
    await watch.after(300)
    assert (watch.state(slug), watch.did) == (State.COLD, ["stopped-idle"])
    assert watch.culler.notice(slug) is None


async def test_open_websockets_and_polling_do_not_keep_it(watch: Watch) -> None:
    slug = await watch.started()
    watch.activity(slug).websockets = 3
    watch.told(kernels=watch.kernel())
    await watch.after(7500, every=300)
    assert watch.state(slug) is State.COLD


async def test_a_person_keeps_it_and_the_server_is_asked_nothing(watch: Watch) -> None:
    slug = await watch.started()
    watch.world.spawner.doing = None
    asked = watch.world.spawner.asked
    for _ in range(20):
        watch.use(slug)
        await watch.after(3000, every=3000)
    assert watch.state(slug) is State.RUNNING
    assert watch.world.spawner.asked - asked == 20  # what is paused or kept, once for each look


async def test_a_busy_kernel_keeps_it_up_to_the_cap(watch: Watch) -> None:
    slug = await watch.started()
    watch.told(kernels=watch.kernel("busy"))
    await watch.after(86000, every=300)
    assert watch.state(slug) is State.RUNNING
    await watch.after(600)
    assert watch.state(slug) is State.COLD


async def test_a_kernel_that_has_ended_its_work_is_idle_from_then_on(watch: Watch) -> None:
    slug = await watch.started()
    watch.told(kernels=watch.kernel("busy"))
    await watch.after(7200, every=300)
    watch.told(kernels=watch.kernel("idle"))
    await watch.after(3540)
    assert watch.state(slug) is State.RUNNING
    await watch.after(60)
    assert watch.state(slug) is State.COLD


async def test_output_and_programs_of_terminals_keep_it(watch: Watch) -> None:
    slug = await watch.started()
    prompt = {"name": "1", "last_activity": watch.wall().isoformat()}
    watch.told(terminals=[prompt])
    watch.world.spawner.exit_code = 0
    await watch.after(7200, every=300)
    assert watch.state(slug) is State.RUNNING
    watch.world.spawner.exit_code = 1
    await watch.after(7200, every=300)
    assert watch.state(slug) is State.COLD


@pytest.mark.parametrize("code", [None, 126, 137, EngineError("it is busy")])
async def test_terminal_that_cannot_be_looked_at_keeps_it_up_to_the_cap(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, code: int | EngineError | None
) -> None:
    slug = await watch.started()
    watch.told(terminals=[{"name": "1", "last_activity": watch.wall().isoformat()}])

    async def execute(server: Server, command: Sequence[str], deadline: float) -> int | None:
        if isinstance(code, EngineError):
            raise code
        return code

    monkeypatch.setattr(watch.world.spawner, "execute", execute)
    await watch.after(86000, every=300)
    assert watch.state(slug) is State.RUNNING
    await watch.after(600)
    assert watch.state(slug) is State.COLD


async def test_files_that_change_keep_it(watch: Watch) -> None:
    slug = await watch.started()
    note = watch.world.spaces.path(slug) / "result.csv"
    await watch.after(3240)
    # A file has the time of the real clock, so that one is moved to it.
    watch.began = datetime.now(UTC) - timedelta(seconds=3200)
    note.write_text("a script's")
    await watch.after(600)
    assert watch.state(slug) is State.RUNNING
    await watch.after(3600)
    assert watch.state(slug) is State.COLD


async def test_a_download_keeps_it(watch: Watch) -> None:
    slug = await watch.started()
    watch.activity(slug).requests = 1
    await watch.after(7200, every=300)
    assert watch.state(slug) is State.RUNNING
    watch.activity(slug).requests = 0
    await watch.after(4000)
    assert watch.state(slug) is State.COLD


async def test_a_poll_that_is_in_flight_at_a_look_does_not_keep_it(watch: Watch) -> None:
    slug = await watch.started()
    await watch.after(3540)
    watch.activity(slug).requests = 1
    await watch.after(60)
    assert (watch.state(slug), watch.did) == (State.RUNNING, ["spared"])
    watch.activity(slug).requests = 0
    await watch.after(1)
    assert (watch.state(slug), watch.did) == (State.COLD, ["spared", "stopped-idle"])


async def test_an_open_stream_keeps_it_up_to_the_cap_and_the_greatest_age(watch: Watch) -> None:
    slug = await watch.started()
    await lifetimes(watch, busy_cap=7200.0)
    watch.activity(slug).requests = 1
    await watch.after(7140)
    assert watch.state(slug) is State.RUNNING
    await watch.after(660)
    assert (watch.state(slug), watch.did) == (State.COLD, ["stopped-idle"])
    await lifetimes(watch, max_age=1800.0)
    await watch.world.activator.ensure(slug)
    watch.use(slug)
    await watch.after(2400)
    assert watch.did == ["stopped-idle", "stopped-age"]


async def test_people_at_another_gateway_keep_it(watch: Watch) -> None:
    slug = await watch.started()
    for _ in range(10):
        watch.elsewhere[slug] = Traffic(watch.wall())
        await watch.after(1800)
    assert watch.state(slug) is State.RUNNING


async def test_greatest_age_stops_it_though_it_is_used(watch: Watch) -> None:
    slug = await watch.started()
    await lifetimes(watch, max_age=7200.0)
    for _ in range(115):
        watch.use(slug)
        await watch.after(60)
    notice = watch.culler.notice(slug)
    assert notice is not None
    assert "as long as it may" in notice.reason
    assert watch.culler.keep(slug) == notice
    await watch.after(300)
    assert (watch.state(slug), watch.did) == (State.COLD, ["stopped-age"])


async def test_a_project_may_have_no_idle_timeout(watch: Watch) -> None:
    slug = await watch.started()
    await lifetimes(watch, idle_timeout=0.0)
    await watch.after(1e6, every=1e5)
    assert watch.state(slug) is State.RUNNING


async def test_where_httpd_serves_directly_work_is_a_sign_of_a_person(watch: Watch) -> None:
    watch.culler._weigher._signals._direct = True
    slug = await watch.started()
    for _ in range(40):
        watch.told(kernels=watch.kernel("idle"))
        await watch.after(3000, every=3000)
    assert watch.state(slug) is State.RUNNING


# -- a server that does not answer


async def test_a_server_that_never_told_anything_is_not_idle_for_its_silence(watch: Watch) -> None:
    slug = await watch.started()
    watch.world.spawner.doing = None
    await watch.after(80000, every=300)
    assert watch.state(slug) is State.RUNNING
    await watch.after(7000)
    assert watch.state(slug) is State.COLD


async def test_a_server_that_hung_while_it_was_busy_counts_as_busy(watch: Watch) -> None:
    slug = await watch.started()
    watch.told(kernels=watch.kernel("busy"))
    await watch.after(3600)
    watch.world.spawner.doing = None
    await watch.after(36000, every=300)
    assert watch.state(slug) is State.RUNNING


async def test_a_server_that_hung_while_it_was_idle_is_decided_by_the_rest(watch: Watch) -> None:
    slug = await watch.started()
    await watch.after(3400)
    watch.world.spawner.doing = None
    await watch.after(400)
    assert watch.state(slug) is State.COLD
