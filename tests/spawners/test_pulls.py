"""Images that are pulled at a start, from a real registry."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.errors import EngineError, ImageMissing
from gateway.spawners.base import Pull, ServerState, untold
from gateway.spawners.engine import Engine
from gateway.spawners.pulls import Progress, Pulls, failure
from tests.spawners.helpers import Workshop, eventually
from tests.spawners.restartable import RestartableEngine, restartable_engine
from tests.support.engine import EngineHandle
from tests.support.registry import Registry, listening_registry, registry
from tests.support.waiting import until

SIZE = 6 << 20
IMPATIENT = 2.0
LESS_IMPATIENT = 8.0  # something has to be sent before it stops


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Registry]:
    folder = tmp_path / "registry"
    folder.mkdir()
    async with registry(folder) as made:
        yield made


@pytest.fixture
async def image(engine: EngineHandle, shop: Registry, tmp_path: Path) -> AsyncIterator[str]:
    """An image that the registry has and the engine has not."""
    name = await asyncio.to_thread(shop.has, engine, "tiny", SIZE, tmp_path)
    yield name
    with contextlib.closing(engine.client()) as client, contextlib.suppress(Exception):
        client.images.remove(name, force=True)


@pytest.fixture
async def small_engine() -> AsyncIterator[RestartableEngine]:
    """An engine with room for half of the image."""
    manager = restartable_engine(SIZE // 2)
    made = await asyncio.to_thread(manager.__enter__)
    yield made
    await asyncio.to_thread(manager.__exit__, None, None, None)


async def test_missing_image_is_pulled_with_progress(workshop: Workshop, image: str) -> None:
    told: list[Pull] = []
    threads: set[threading.Thread] = set()

    def on_pull(pull: Pull) -> None:
        told.append(pull)
        threads.add(threading.current_thread())

    spawner = workshop.spawner(pull="missing")

    server = await spawner.start(workshop.spec(image=image), on_pull)

    assert server.state is ServerState.RUNNING
    assert threads == {threading.main_thread()}
    assert told[0] == Pull(0, 0)
    assert told[-1].done == told[-1].total >= SIZE
    assert [pull.done for pull in told] == sorted(pull.done for pull in told)
    told.clear()
    await spawner.start(workshop.spec(image=image), on_pull)
    assert told == [], "it is there by now"


async def test_many_starts_share_one_pull(workshop: Workshop, shop: Registry, image: str) -> None:
    shop.stalls = True
    spawner = workshop.spawner(pull="missing")
    told: list[list[Pull]] = [[] for _ in range(5)]
    starts = [
        asyncio.create_task(spawner.start(workshop.spec(image=image), one.append), name="start")
        for one in told
    ]
    await until(lambda: all(one for one in told) and shop.layers > 0)
    starts[0].cancel()  # the one that began it
    shop.goes_on.set()

    servers = await asyncio.gather(*starts[1:])

    assert {server.state for server in servers} == {ServerState.RUNNING}
    assert shop.layers == 1
    assert all(one[-1].done >= SIZE for one in told[1:])
    assert starts[0].cancelled()


async def test_nothing_is_pulled_where_that_is_not_allowed(
    workshop: Workshop, shop: Registry, image: str
) -> None:
    with pytest.raises(ImageMissing, match="is not on the engine; build it"):
        await workshop.spawner(pull="never").start(workshop.spec(image=image))

    assert shop.layers == 0


async def test_registry_that_stops_in_mid_layer_is_given_up(
    workshop: Workshop, shop: Registry, image: str
) -> None:
    shop.stalls = True
    spawner = workshop.spawner(pull="missing", pull_silence=LESS_IMPATIENT)
    told: list[Pull] = []

    with pytest.raises(ImageMissing, match="its registry has sent nothing for 8 s"):
        await spawner.start(workshop.spec(image=image), told.append)

    assert 0 < told[-1].done < told[-1].total
    await no_threads_of_pulls()
    shop.goes_on.set()
    shop.stalls = False
    patient = workshop.spawner(pull="missing")
    assert (await patient.start(workshop.spec(image=image))).state is ServerState.RUNNING


async def test_registry_that_does_not_answer_is_given_up(workshop: Workshop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        name = f"127.0.0.1:{mute.getsockname()[1]}/tiny:1"
        spawner = workshop.spawner(pull="missing", pull_silence=IMPATIENT)

        with pytest.raises(ImageMissing, match=f"{name}.*its registry has sent nothing for 2 s"):
            await spawner.start(workshop.spec(image=name))

    await no_threads_of_pulls()


async def test_registry_that_is_not_there_is_named(workshop: Workshop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        name = f"127.0.0.1:{gone.getsockname()[1]}/tiny:1"
    spawner = workshop.spawner(pull="missing")

    with pytest.raises(ImageMissing, match=r"registry cannot be reached \(.*refused") as raised:
        await spawner.start(workshop.spec(image=name))

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["{}/nowhere:1", "{}/tiny:no-such-tag"])
async def test_image_that_the_registry_does_not_have_is_named(
    workshop: Workshop, shop: Registry, image: str, name: str
) -> None:
    name = name.format(shop.address)
    spawner = workshop.spawner(pull="missing")

    with pytest.raises(ImageMissing, match=f"{name}.*its registry does not have it"):
        await spawner.start(workshop.spec(image=name))


async def test_name_that_is_none_is_refused(workshop: Workshop) -> None:
    spawner = workshop.spawner(pull="missing")

    for name in ("https://example.org/x", "No/Capitals:1"):
        with pytest.raises(ImageMissing):
            await spawner.start(workshop.spec(image=name))


async def test_closing_gives_up_what_is_being_pulled(
    workshop: Workshop, shop: Registry, image: str
) -> None:
    shop.stalls = True
    spawner = workshop.spawner(pull="missing")
    start = asyncio.create_task(spawner.start(workshop.spec(image=image)), name="start")
    await until(lambda: shop.layers > 0)

    await spawner.close()
    await asyncio.wait([start])

    assert start.cancelled() or start.exception() is not None
    await no_threads_of_pulls()


async def test_image_that_the_engines_disk_cannot_hold_is_told_so(
    image: str, small_engine: RestartableEngine, tmp_path: Path
) -> None:
    # The same registry's data, served where the small engine is: in a network of its own.
    with listening_registry(tmp_path / "registry", *small_engine.inside) as base:
        name = image.replace(image.split("/", maxsplit=1)[0], base.removeprefix("http://"))
        engine = Engine(small_engine.handle.url)
        try:
            await until_served(Pulls(engine), name)
            with pytest.raises(EngineError, match=f"{name}.*the engine's disk is full") as raised:
                await Pulls(engine).get(name, untold)
        finally:
            await engine.close()

    assert not isinstance(raised.value, ImageMissing)
    assert "\n" not in str(raised.value)


def test_progress_sums_layers_whose_size_is_known() -> None:
    progress = Progress()

    def say(layer: str, status: str, current: int = 0, total: int = 0) -> Pull | None:
        detail = {"current": current, "total": total} if total else {}
        return progress.take({"id": layer, "status": status, "progressDetail": detail})

    assert say("a", "Pulling fs layer") is None
    assert say("a", "Downloading", 10, 100) == Pull(10, 100)
    assert say("b", "Downloading", 5, 50) == Pull(15, 150)
    assert say("c", "Download complete") is None
    assert say("b", "Downloading", 5, -1) is None
    assert say("a", "Download complete") == Pull(105, 150)
    assert say("a", "Extracting", 30, 100) is None
    assert progress.take({"status": "Digest: sha256:…"}) is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("write /data/tmp/x: no space left on device", "the engine's disk is full"),
        ("manifest unknown: manifest\nunknown", "does not have it"),
        ("pull access denied for x, repository does not exist", "does not have it"),
        ("Get https://r.example.org/v2/: dial tcp: no such host", "cannot be reached"),
        ("net/http: request canceled (Client.Timeout exceeded)", "cannot be reached"),
        ("something\nnew", "something new"),
    ],
)
def test_failure_is_one_clear_line(words: str, told: str) -> None:
    text = str(failure("course:1", words))

    assert "course:1" in text
    assert told in text
    assert "\n" not in text


async def until_served(pulls: Pulls, image: str) -> None:
    """Wait until the registry of `image` says that it does not have something."""

    async def served() -> bool:
        with pytest.raises(ImageMissing) as raised:
            await pulls.get(image.replace("/tiny:", "/nowhere:"), untold)
        return "does not have it" in str(raised.value)

    await eventually(served, "the registry answers")


async def no_threads_of_pulls() -> None:
    async def none() -> bool:
        return not any("images-create" in one.name for one in threading.enumerate())

    await eventually(none, "the pull's thread ends")
