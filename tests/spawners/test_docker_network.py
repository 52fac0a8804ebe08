"""Who reaches whom on the notebooks' network, with real containers and a real firewall."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.types import IPAMConfig, IPAMPool

from gateway.errors import EngineError
from gateway.spawners import firewall
from gateway.spawners.base import Server
from gateway.spawners.docker import DockerSpawner
from gateway.spawners.engine import Engine
from gateway.spawners.network import gateway_address, httpd_address, network_name
from gateway.spawners.surroundings import Surroundings, own_container
from tests.spawners.faulty_engine import Fault, faulty
from tests.spawners.helpers import Workshop, container_of, subnet_of, until_ready
from tests.support.places import free_subnet

_TRY = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).close()"


@pytest.fixture
async def protected(workshop: Workshop) -> AsyncIterator[Workshop]:
    """The workshop with its firewall rules set."""
    rules = firewall.rules(workshop.installation, subnet_of(workshop))
    await workshop.spawner().open()
    assert await firewall.apply(rules) == len(rules)
    try:
        yield workshop
    finally:
        await firewall.remove(rules)


async def test_notebooks_do_not_reach_each_other(workshop: Workshop) -> None:
    spawner = workshop.spawner("prod")
    one, two = [await spawner.start(workshop.spec()) for _ in range(2)]
    await until_ready(two, "/")
    assert two.target is not None

    assert not await reaches(spawner, one, two.target.host, 8888)
    assert await reaches(spawner, two, two.target.host, 8888)


async def test_notebook_reaches_no_service_of_the_host(protected: Workshop) -> None:
    spawner = protected.spawner("prod")
    notebook = await spawner.start(protected.spec())
    bridge = str(subnet_of(protected)[1])
    async with await asyncio.start_server(_close, "0.0.0.0", 0) as service:
        port = service.sockets[0].getsockname()[1]

        assert not await reaches(spawner, notebook, bridge, port)

        rules = firewall.rules(protected.installation, subnet_of(protected))
        await firewall.remove(rules)
        assert await reaches(spawner, notebook, bridge, port)


async def test_host_reaches_notebooks_through_the_firewall(protected: Workshop) -> None:
    by_port = await protected.spawner("dev").start(protected.spec())
    by_address = await protected.spawner("prod").start(protected.spec())

    await until_ready(by_port, "/")
    await until_ready(by_address, "/")


async def test_gateway_container_reaches_notebooks_after_the_firewall(workshop: Workshop) -> None:
    spawner = workshop.spawner("prod")
    notebook = await spawner.start(workshop.spec())
    await until_ready(notebook, "/")
    assert notebook.target is not None
    rules = firewall.rules(workshop.installation, subnet_of(workshop))
    with gateway_container(workshop) as container:
        await spawner.network.connect(container.id, gateway_address(subnet_of(workshop)))
        assert not await answers(container, notebook.target.host)
        await firewall.apply(rules)
        try:
            assert await answers(container, notebook.target.host)
            assert not await reaches(spawner, notebook, gateway_address(subnet_of(workshop)), 8888)
        finally:
            await firewall.remove(rules)


async def test_firewall_is_set_once(protected: Workshop) -> None:
    rules = firewall.rules(protected.installation, subnet_of(protected))

    assert await firewall.apply(rules) == 0


async def test_connecting_the_gateway_again_changes_nothing(workshop: Workshop) -> None:
    spawner = workshop.spawner("prod")
    await spawner.open()
    address = gateway_address(subnet_of(workshop))
    with gateway_container(workshop) as container:
        for _ in range(2):
            await spawner.network.connect(container.id, address)
        container.reload()
        assert (
            container.attrs["NetworkSettings"]["Networks"][spawner.network.name]["IPAddress"]
            == address
        )


async def test_network_with_another_subnet_is_refused(workshop: Workshop) -> None:
    await workshop.spawner().open()

    other = free_subnet()
    with pytest.raises(EngineError, match=rf"has subnet .*the settings say {re.escape(other)}"):
        await workshop.spawner(subnet=other).open()


async def test_network_on_which_containers_meet_is_refused(workshop: Workshop) -> None:
    with contextlib.closing(workshop.engine.client()) as client:
        ipam = IPAMConfig(pool_configs=[IPAMPool(subnet=workshop.subnet)])
        client.api.create_network(network_name(workshop.installation), "bridge", ipam=ipam)

    with pytest.raises(EngineError, match="could reach each other"):
        await workshop.spawner().open()


async def test_overlapping_subnet_is_named(workshop: Workshop) -> None:
    other = Workshop(workshop.engine, workshop.root, workshop.image, subnet=workshop.subnet)
    await workshop.spawner().open()
    try:
        with pytest.raises(EngineError, match=r"overlaps.*NBGATE_NETWORK_SUBNET"):
            await other.spawner().open()
    finally:
        await other.clean()


async def test_network_is_made_once_by_gateways_that_start_at_once(workshop: Workshop) -> None:
    await asyncio.gather(*(workshop.spawner().open() for _ in range(4)))

    with contextlib.closing(workshop.engine.client()) as client:
        assert len(client.networks.list(names=[network_name(workshop.installation)])) == 1


async def test_gateway_finds_its_own_container_and_joins_the_network(
    workshop: Workshop, tmp_path: Path
) -> None:
    with gateway_container(workshop) as container:
        inside = root_as_in(tmp_path / "root", container.id)
        engine = Engine(workshop.engine.url)
        own = await own_container(engine, inside)
        await engine.close()

        assert own is not None
        assert own["Id"] == container.id


async def test_container_of_another_engine_is_not_ours(workshop: Workshop, tmp_path: Path) -> None:
    engine = Engine(workshop.engine.url)

    assert await own_container(engine, root_as_in(tmp_path / "root", "f" * 64)) is None
    await engine.close()


async def test_gateway_and_httpd_of_its_project_join_the_network(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = {"com.docker.compose.project": f"p-{workshop.installation}"}
    httpd = container_of(
        workshop.engine, workshop.image, labels={**project, "org.nbgate.role": "httpd"}
    )
    other = container_of(workshop.engine, workshop.image, labels={"org.nbgate.role": "httpd"})
    gateway = container_of(workshop.engine, workshop.image, labels=project)
    with gateway as own, httpd as front, other as stranger:
        monkeypatch.setattr("gateway.spawners.placing.look_around", inside(workshop, own.id))
        spawner = workshop.spawner()
        for _ in range(2):
            await spawner.join_httpd()

        subnet = subnet_of(workshop)
        assert address_on(own, spawner.network.name) == gateway_address(subnet)
        assert address_on(front, spawner.network.name) == httpd_address(subnet)
        assert address_on(stranger, spawner.network.name) is None


async def test_network_that_was_pruned_is_made_anew_by_the_next_start(workshop: Workshop) -> None:
    spawner = workshop.spawner("prod")
    kept = await spawner.start(workshop.spec())
    await spawner.stop(kept, grace=5, keep=True)
    prune(workshop)

    servers = await asyncio.gather(*(spawner.start(workshop.spec(slug)) for slug in (None, None)))
    again = await spawner.start(workshop.spec(kept.slug))

    assert again.id == kept.id
    assert again.target == kept.target
    for server in (*servers, again):
        await until_ready(server, "/")


async def test_gateway_and_httpd_are_put_on_the_network_that_was_made_anew(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = {"com.docker.compose.project": f"p-{workshop.installation}"}
    gateway = container_of(workshop.engine, workshop.image, labels=project)
    httpd = container_of(
        workshop.engine, workshop.image, labels={**project, "org.nbgate.role": "httpd"}
    )
    with gateway as own, httpd as front:
        monkeypatch.setattr("gateway.spawners.placing.look_around", inside(workshop, own.id))
        spawner = workshop.spawner()
        await spawner.join_httpd()
        prune(workshop)

        await spawner.start(workshop.spec())

        subnet = subnet_of(workshop)
        assert address_on(own, spawner.network.name) == gateway_address(subnet)
        await spawner.join_httpd()
        assert address_on(front, spawner.network.name) == httpd_address(subnet)


async def test_network_that_is_gone_again_and_again_is_made_anew_once(workshop: Workshop) -> None:
    words = f"network {network_name(workshop.installation)} not found"
    fault = Fault("POST", words, times=1000, status=404, only="/start")
    async with faulty(workshop.engine, workshop.root, fault) as url:
        spawner, spec = workshop.spawner(docker_host=url), workshop.spec()

        with pytest.raises(EngineError, match=words):
            await spawner.start(spec)

        assert len(fault.seen) == 2
        assert await spawner.inspect(spec.slug) is None


def inside(workshop: Workshop, container: str) -> Callable[..., Awaitable[Surroundings]]:
    """Return a look_around of a gateway that runs in a container."""

    async def look(*_: object) -> Surroundings:
        return Surroundings(prod=True, host_root=workshop.root, container=container)

    return look


def prune(workshop: Workshop) -> None:
    """Remove the installation's network, as a prune does where nothing runs on it."""
    with contextlib.closing(workshop.engine.client()) as client:
        network = client.networks.get(network_name(workshop.installation))
        network.reload()
        for container in network.containers:
            network.disconnect(container, force=True)
        network.remove()


def root_as_in(root: Path, container: str) -> Path:
    """Make a root folder that tells what the kernel tells inside a container."""
    (root / "proc/self").mkdir(parents=True)
    (root / ".dockerenv").touch()
    (root / "proc/self/mountinfo").write_text(
        f"3 1 8:1 /d/containers/{container}/hostname /etc/hostname rw - ext4 /dev/sda rw\n"
    )
    return root


def address_on(container: Any, network: str) -> str | None:
    """Return the container's address on a network; None when it is not on it."""
    container.reload()
    endpoint = container.attrs["NetworkSettings"]["Networks"].get(network)
    return None if endpoint is None else str(endpoint["IPAddress"])


async def _close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


@contextlib.contextmanager
def gateway_container(workshop: Workshop) -> Iterator[Any]:
    """Run a container on another network, as a gateway's is before it joins."""
    with container_of(
        workshop.engine,
        workshop.image,
        labels={"org.nbgate.test": "gateway"},
        init=True,
    ) as container:
        yield container


async def reaches(spawner: DockerSpawner, server: Server, host: str, port: int) -> bool:
    """Tell whether a TCP connection from inside the server's container succeeds."""

    def connect(api: Any) -> bool:
        made = api.exec_create(server.id, ["python3", "-c", _TRY, host, str(port)])
        api.exec_start(made["Id"])
        return bool(api.exec_inspect(made["Id"])["ExitCode"] == 0)

    return await spawner.engine.call(connect)


async def answers(container: Any, host: str) -> bool:
    """Tell whether a notebook's port can be reached from a container."""
    command = ["python3", "-c", _TRY, host, "8888"]
    status, _ = await asyncio.to_thread(container.exec_run, command)
    return bool(status == 0)
