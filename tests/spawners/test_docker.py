from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import EngineError, EngineUnavailable, ImageMissing, NameTaken
from gateway.spawners.base import Server, ServerState
from gateway.spawners.docker import DockerOptions, DockerSpawner
from gateway.spawners.engine import Engine
from gateway.spawners.images import build_image
from tests.spawners.helpers import Workshop, cut_off, eventually, until_ready, url_of
from tests.support.engine import EngineHandle
from tests.support.waiting import PATIENCE


async def test_start_makes_a_server_that_answers(workshop: Workshop) -> None:
    spawner = workshop.spawner()
    spec = workshop.spec()
    (spec.space / "hello.txt").write_text("from the space")

    server = await spawner.start(spec)

    assert (server.slug, server.generation, server.state) == (spec.slug, 1, ServerState.RUNNING)
    assert server.target is not None
    assert server.target.host == "127.0.0.1"
    assert server.target.port == server.port
    await until_ready(server, "/hello.txt")


async def test_start_joins_the_server_that_runs(workshop: Workshop) -> None:
    spec = workshop.spec()
    first = await workshop.spawner().start(spec)

    again = await workshop.spawner().start(replace(spec, generation=2))

    assert again == first


async def test_starts_at_once_make_one_container(workshop: Workshop) -> None:
    spec = workshop.spec()
    spawners = [workshop.spawner(), workshop.spawner()]

    servers = await asyncio.gather(*(spawners[turn % 2].start(spec) for turn in range(6)))

    assert len({server.id for server in servers}) == 1
    assert [server.state for server in servers] == [ServerState.RUNNING] * 6


async def test_exited_container_is_started_again_and_its_port_read_back(
    workshop: Workshop,
) -> None:
    spawner = workshop.spawner()
    spec = workshop.spec()
    first = await spawner.start(spec)
    await halt(workshop, first)

    second = await spawner.start(spec)

    assert second.id == first.id
    data = await spawner.engine.call(lambda api: api.inspect_container(second.id))
    published = data["NetworkSettings"]["Ports"]["8888/tcp"][0]["HostPort"]
    assert second.port == int(published)
    await until_ready(second, "/")


async def test_exited_container_of_another_spec_is_made_anew(workshop: Workshop) -> None:
    spawner = workshop.spawner()
    spec = workshop.spec()
    first = await spawner.start(spec)
    await halt(workshop, first)

    second = await spawner.start(replace(spec, memory=512 << 20))

    assert second.id != first.id
    assert second.state is ServerState.RUNNING


async def test_exited_container_of_an_older_generation_is_made_anew(workshop: Workshop) -> None:
    spawner = workshop.spawner()
    spec = workshop.spec()
    first = await spawner.start(spec)
    await halt(workshop, first)

    second = await spawner.start(replace(spec, generation=2))

    assert (second.id != first.id, second.generation) == (True, 2)


async def test_container_of_another_installation_is_refused(
    workshop: Workshop, tmp_path: Path
) -> None:
    other = Workshop(workshop.engine, workshop.root, workshop.image)
    spec = workshop.spec()
    try:
        theirs = await other.spawner().start(spec)
        mine = workshop.spawner()

        with pytest.raises(NameTaken, match=spec.slug):
            await mine.start(spec)

        assert await mine.inspect(spec.slug) is None
        assert await mine.list() == []
        assert await other.spawner().inspect(spec.slug) == theirs
    finally:
        await other.clean()


async def test_missing_image_is_named(workshop: Workshop) -> None:
    with pytest.raises(ImageMissing, match=r"nbgate-test/nowhere:1.*nbgate image build"):
        await workshop.spawner().start(workshop.spec(image="nbgate-test/nowhere:1"))


async def test_engine_that_is_down_is_named(tmp_path: Path) -> None:
    address = f"unix://{tmp_path}/no.sock"
    spawner = DockerSpawner(DockerOptions("00000000", tmp_path, docker_host=address))
    try:
        with pytest.raises(EngineUnavailable, match=r"no\.sock does not answer"):
            await spawner.list()
    finally:
        await spawner.close()


async def test_stop_ends_and_removes(workshop: Workshop) -> None:
    spawner = workshop.spawner()
    spec = workshop.spec()
    server = await spawner.start(spec)

    await spawner.stop(server, grace=5)
    await spawner.stop(server, grace=5)

    assert await spawner.inspect(spec.slug) is None
    assert await spawner.logs(server, 10) == ""
    assert spec.space.is_dir()


async def test_stop_touches_only_the_container_with_the_id(workshop: Workshop) -> None:
    spawner = workshop.spawner()
    spec = workshop.spec()
    old = await spawner.start(spec)
    await spawner.stop(old, grace=5)
    new = await spawner.start(spec)

    await spawner.stop(old, grace=5)
    await spawner.stop(replace(new, id=spec.slug), grace=5)

    assert await spawner.inspect(spec.slug) == new


async def test_logs_give_the_last_lines(workshop: Workshop) -> None:
    spawner = workshop.spawner()
    server = await spawner.start(workshop.spec())
    await until_ready(server, "/")

    async def logged() -> bool:
        return "GET / HTTP/1.1" in await spawner.logs(server, 1)

    await eventually(logged, "the request in the log")


async def test_list_tells_servers_in_every_state(workshop: Workshop) -> None:
    spawner = workshop.spawner()
    running = await spawner.start(workshop.spec())
    halted = await spawner.start(workshop.spec())
    await halt(workshop, halted)

    found = {server.id: server for server in await workshop.spawner().list()}

    assert found[running.id].target == running.target
    assert found[running.id].state is ServerState.RUNNING
    assert found[halted.id].state is ServerState.EXITED
    assert found[halted.id].target is None
    assert len(found) == 2


async def test_running_server_is_found_by_a_new_gateway(workshop: Workshop) -> None:
    spec = workshop.spec()
    before = workshop.spawner()
    server = await before.start(spec)
    await before.close()

    assert await workshop.spawner().inspect(spec.slug) == server


async def test_server_out_of_memory_says_so(workshop: Workshop) -> None:
    spawner = workshop.spawner()
    image = await greedy_image(workshop)
    spec = workshop.spec(image=image, memory=32 << 20)
    await spawner.start(spec)

    await ended(spawner, spec.slug)

    async def said() -> bool:  # the engine hears of the end and of its cause one after the other
        server = await spawner.inspect(spec.slug)
        return server is not None and server.reason == "out of memory"

    await eventually(said, "the reason is told")


async def test_server_that_fails_tells_its_status(workshop: Workshop) -> None:
    spawner = workshop.spawner()
    image = await image_that_runs(workshop, "exit 3")
    spec = workshop.spec(image=image)
    await spawner.start(spec)

    server = await ended(spawner, spec.slug)

    assert (server.exit_code, server.reason) == (3, "ended with status 3")


async def test_space_that_the_engine_does_not_see_is_named(workshop: Workshop) -> None:
    spawner = workshop.spawner(spaces_host_dir=Path("/no/such/folder"))
    spec = workshop.spec()

    with pytest.raises(EngineError, match=f"/no/such/folder/{spec.slug}"):
        await spawner.start(spec)

    assert await spawner.inspect(spec.slug) is None


async def test_address_that_somebody_else_took_is_passed_over(workshop: Workshop) -> None:
    spawner = workshop.spawner()
    await spawner.open()
    address = await spawner.network.take()
    spawner.network.release(address)
    with contextlib.closing(workshop.engine.client()) as client:
        free = len(list(spawner.network.subnet.hosts())) - 15
        # All addresses but one are released again behind it, so it is the last of the queue.
        for _ in range(free - 1):
            spawner.network.release(await spawner.network.take())
        squatter = client.containers.create(
            workshop.image, labels={"org.nbgate.installation": workshop.installation}
        )
        client.networks.get(spawner.network.name).connect(squatter, ipv4_address=address)
        squatter.start()

    servers = [await spawner.start(workshop.spec()) for _ in range(2)]

    addresses = [await address_of(spawner, server) for server in servers]
    assert address not in addresses
    assert len(set(addresses)) == 2


async def test_addresses_of_exited_containers_are_kept_for_them(workshop: Workshop) -> None:
    spec = workshop.spec()
    before = workshop.spawner()
    server = await before.start(spec)
    address = await address_of(before, server)
    await halt(workshop, server)
    after = workshop.spawner()
    await after.open()

    taken = {await after.network.take() for _ in range(230)}

    assert address not in taken


async def test_root_may_not_own_the_space(workshop: Workshop) -> None:
    space = workshop.root / "root-owned"
    space.mkdir()

    with pytest.raises(EngineError, match=r"belongs to root.*chown"):
        await workshop.spawner().start(workshop.spec("root-owned", space=space))


async def test_limit_of_more_cores_than_there_are_is_none(workshop: Workshop) -> None:
    server = await workshop.spawner().start(workshop.spec(cpus=4096.0))
    assert server.state is ServerState.RUNNING


async def test_container_is_hardened(workshop: Workshop) -> None:
    spawner = workshop.spawner()
    server = await spawner.start(workshop.spec())

    data = await spawner.engine.call(lambda api: api.inspect_container(server.id))

    host = data["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["ReadonlyRootfs"] is True
    assert host["PidsLimit"] == 512
    assert (host["Memory"], host["CpuQuota"], host["CpuPeriod"]) == (1 << 30, 100_000, 100_000)
    assert host["RestartPolicy"]["Name"] == "no"
    assert data["Config"]["User"] == "1000:1000"
    assert not any("hop-secret" in item for item in [data["Path"], *data["Args"]])


async def test_published_port_is_on_loopback_alone(workshop: Workshop) -> None:
    spawner = workshop.spawner()
    server = await spawner.start(workshop.spec())

    data = await spawner.engine.call(lambda api: api.inspect_container(server.id))

    bindings = data["NetworkSettings"]["Ports"]["8888/tcp"]
    assert [binding["HostIp"] for binding in bindings] == ["127.0.0.1"]


async def test_prod_mode_reaches_the_address_and_publishes_nothing(workshop: Workshop) -> None:
    server = await workshop.spawner("prod").start(workshop.spec())

    assert server.port is None
    assert server.target is not None
    assert server.internal_url == f"http://{server.target}"
    assert url_of(server, "") == server.internal_url
    await until_ready(server, "/")


async def test_mode_is_dev_where_the_gateway_runs_in_no_container(workshop: Workshop) -> None:
    assert await workshop.spawner("auto").detect_mode() == "dev"


async def test_image_is_built_with_progress(engine: EngineHandle, base_image: str) -> None:
    folder = Path(__file__).parent / "tiny-image"
    lines: list[str] = []
    built = Engine(engine.url)
    try:
        await build_image(built, folder, "nbgate-test/tiny:1", base_image, lines.append)
    finally:
        await built.close()

    assert any("Step 1" in line for line in lines)
    assert any("a word from the build" in line for line in lines)


async def test_image_build_that_fails_has_the_reason(engine: EngineHandle, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nRUN false\n")
    built = Engine(engine.url)
    try:
        with pytest.raises(EngineError, match="could not be built"):
            await build_image(built, tmp_path, "nbgate-test/no:1", None, lambda _: None)
    finally:
        await built.close()


async def test_command_is_ended_where_the_image_has_no_timeout(workshop: Workshop) -> None:
    image = await image_that_runs(
        workshop, "exec sleep 1000", "RUN rm $(command -v timeout) && ! command -v timeout"
    )
    spawner = workshop.spawner()
    spec = workshop.spec(image=image)
    server = await spawner.start(spec)

    await cut_off(spawner, server, spec)

    assert await spawner.execute(server, ["sh", "-c", "exit 3"], PATIENCE) == 3
    assert await spawner.execute(server, ["no-such-command"], PATIENCE) is None


async def halt(workshop: Workshop, server: Server) -> None:
    """End a container the way `docker kill` does, behind the spawner's back."""
    with contextlib.closing(workshop.engine.client()) as client:
        container = client.containers.get(server.id)
        await asyncio.to_thread(container.kill)
        await asyncio.to_thread(container.wait)


async def ended(spawner: DockerSpawner, slug: str) -> Server:
    """Wait until a server has exited, and return it."""

    async def exited() -> bool:
        server = await spawner.inspect(slug)
        return server is not None and server.state is ServerState.EXITED

    await eventually(exited, f"{slug} exits")
    server = await spawner.inspect(slug)
    assert server is not None
    return server


async def address_of(spawner: DockerSpawner, server: Server) -> str:
    data = await spawner.engine.call(lambda api: api.inspect_container(server.id))
    endpoint = data["NetworkSettings"]["Networks"][spawner.network.name]
    return str(endpoint["IPAMConfig"]["IPv4Address"])


async def image_that_runs(workshop: Workshop, script: str, *steps: str) -> str:
    """Return an image that passes for ours, made with `steps` more, and runs `script`."""
    folder = workshop.root / f"image-{abs(hash((script, steps)))}"
    folder.mkdir()
    (folder / "Dockerfile").write_text(
        "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"
        'LABEL org.nbgate.image="1"\n'
        f"{chr(10).join(steps)}\n"
        f'ENTRYPOINT ["sh", "-c", "{script}"]\n'
    )
    tag = f"nbgate-test/{folder.name}:1"
    engine = Engine(workshop.engine.url)
    try:
        await build_image(engine, folder, tag, workshop.image, lambda _: None)
    finally:
        await engine.close()
    return tag


async def greedy_image(workshop: Workshop) -> str:
    return await image_that_runs(workshop, "exec python3 -c 'x = bytearray(2**30); print(x[0])'")
