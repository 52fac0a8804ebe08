"""The notebook image from its start to its stop, and what outlives it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import signal

import aiohttp
import pytest

from gateway.spawners.base import ServerState
from tests.spawners.helpers import (
    SECRET,
    Workshop,
    browser,
    gateway_headers,
    until_ready,
    url_of,
)
from tests.spawners.notebook_client import compute
from tests.spawners.serving import Running, own
from tests.support.waiting import PATIENCE, until

__all__ = ["own"]


async def test_login_survives_a_restart_of_the_container(jupyter: Workshop, own: Running) -> None:
    async with browser() as person:
        async with person.get(own.url(f"lab?token={SECRET}")) as answer:
            assert answer.status == 200
        with contextlib.closing(jupyter.engine.client()) as client:
            await asyncio.to_thread(client.containers.get(own.server.id).stop)
        again = await own.spawner.start(own.spec)
        await until_ready(again, f"{own.spec.base_url}api/status")

        async with person.get(url_of(again, f"{own.spec.base_url}api/me")) as answer:
            assert answer.status == 200


async def test_settings_of_lab_outlive_the_container(own: Running) -> None:
    plugin = "@jupyterlab/apputils-extension:themes"
    setting = json.dumps({"raw": '{"theme": "JupyterLab Dark"}'})
    async with (
        aiohttp.ClientSession(headers=gateway_headers()) as session,
        session.put(own.url(f"lab/api/settings/{plugin}"), data=setting) as answer,
    ):
        assert answer.status == 204
    await own.spawner.stop(own.server, grace=5)
    again = await own.spawner.start(own.spec)
    await until_ready(again, f"{own.spec.base_url}api/status")

    async with (
        aiohttp.ClientSession(headers=gateway_headers()) as session,
        session.get(url_of(again, f"{own.spec.base_url}lab/api/settings/{plugin}")) as answer,
    ):
        assert "Dark" in (await answer.json())["raw"]


@pytest.mark.parametrize("grace", [30.0, 0.0], ids=["gently", "killed"])
async def test_stop_in_the_midst_of_saving_leaves_the_file_whole(
    own: Running, grace: float
) -> None:
    """With everything in it that was said to be saved."""
    answered = 0
    filling = "x" * (4 << 20)
    name = "large.txt"

    async def save_for_ever(session: aiohttp.ClientSession) -> None:
        nonlocal answered
        with contextlib.suppress(aiohttp.ClientError):
            while True:
                text = json.dumps({"number": answered + 1, "filling": filling})
                model = {"type": "file", "format": "text", "content": text}
                body = io.BytesIO(json.dumps(model).encode())
                async with session.put(own.url(f"api/contents/{name}"), data=body) as answer:
                    if answer.status not in (200, 201):
                        return
                    answered += 1

    async with aiohttp.ClientSession(headers=gateway_headers()) as session:
        saving = asyncio.create_task(save_for_ever(session))
        await until(lambda: answered >= 3 or saving.done())
        await own.spawner.stop(own.server, grace)
        await saving

    saved = json.loads((own.spec.space / name).read_text())
    assert saved["number"] in (answered, answered + 1)
    assert saved["filling"] == filling


async def test_server_stops_by_itself_when_asked(own: Running) -> None:
    await compute(own.server, own.spec.base_url, "1")

    await own.spawner.stop(own.server, grace=PATIENCE, keep=True)

    ended = await own.spawner.inspect(own.spec.slug)
    assert ended is not None
    assert ended.state is ServerState.EXITED
    assert ended.exit_code != 128 + signal.SIGKILL, "it was not killed in the end"


async def test_image_without_a_secret_refuses_to_run(
    jupyter: Workshop, notebook_image: str
) -> None:
    with contextlib.closing(jupyter.engine.client()) as client:
        container = client.containers.run(notebook_image, detach=True)
        try:
            ended = await asyncio.to_thread(container.wait, timeout=PATIENCE)
            assert ended["StatusCode"] == 78
            assert b"NBGATE_HOP_SECRET is not set" in container.logs()
        finally:
            container.remove(force=True)


async def test_start_compiles_nothing_and_imports_nothing_slow(
    jupyter: Workshop, notebook_image: str
) -> None:
    """`-v` tells each module that is imported, and which ones had to be compiled for it."""
    with contextlib.closing(jupyter.engine.client()) as client:
        container = client.containers.run(
            notebook_image,
            entrypoint=["/opt/jupyter/bin/python", "-v", "-P", "-m", "nbgate_jupyter"],
            environment={"NBGATE_HOP_SECRET": SECRET, "NBGATE_BASE_URL": "/"},
            read_only=True,
            tmpfs={"/tmp": "", "/home/jovyan": "mode=1777"},
            detach=True,
        )
        try:
            await until(lambda: b"is running at" in container.logs(tail=5000))
            told = container.logs().decode(errors="replace")
        finally:
            container.remove(force=True)
    imported = set(re.findall(r"^import '([\w.]+)' #", told, re.MULTILINE))
    assert {"jupyter_server.serverapp", "jupyterlab.labapp", "jsonschema"} <= imported
    slow = {"rfc3987_syntax", "lark", "jupyter_lsp", "cryptography"}
    assert imported & slow == set(), "nor is a certificate made"
    assert re.findall(r"^# code object from '(.+\.py)'", told, re.MULTILINE) == []
