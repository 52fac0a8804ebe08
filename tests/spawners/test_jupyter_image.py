"""The notebook image as it is run: who may come in, what pages tell, what people can do."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from tests.spawners.helpers import (
    SECRET,
    Workshop,
    browser,
    gateway_headers,
    until_ready,
    url_of,
)
from tests.spawners.notebook_client import compute, directives, page_config
from tests.spawners.serving import LMS, Running, own, run, running
from tests.support.waiting import PATIENCE

__all__ = ["own", "running"]


async def test_kernel_computes(running: Running) -> None:
    assert await compute(running.server, running.spec.base_url, "6 * 7") == "42"


async def test_gateway_comes_in_and_names_the_person(running: Running) -> None:
    async with aiohttp.ClientSession() as session:
        headers = gateway_headers(user=quote("Zoë Müller"))
        async with session.get(running.url("api/me"), headers=headers) as answer:
            identity = (await answer.json())["identity"]

    assert identity["display_name"] == identity["name"] == "Zoë Müller"
    assert identity["initials"] == "ZM"


async def test_person_is_called_what_the_gateway_says(running: Running) -> None:
    subject = quote("oidc/login.example.org:17")
    async with aiohttp.ClientSession() as session:
        for name, shown in [("", "17"), (quote("Ada Lovelace"), "Ada Lovelace"), ("", None)]:
            headers = gateway_headers(user=subject, name=name)
            async with session.get(running.url("api/me"), headers=headers) as answer:
                identity = (await answer.json())["identity"]
            assert identity["username"] == "oidc/login.example.org:17"
            assert identity["display_name"] == identity["name"] == (shown or "Ada Lovelace")
    assert identity["initials"] == "AL"


async def test_person_is_named_from_the_environment_without_the_header(running: Running) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(running.url("api/me"), headers=gateway_headers()) as answer,
    ):
        identity = (await answer.json())["identity"]

    assert identity["display_name"] == "Alice Example"


async def test_gateway_is_given_no_login_cookie(running: Running) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(running.url("lab"), headers=gateway_headers()) as answer,
    ):
        assert answer.status == 200
        assert not [name for name in answer.cookies if name != "_xsrf"]


@pytest.mark.parametrize("path", ["api/status?token=wrong", "lab?token=wrong"])
async def test_wrong_token_in_the_query_does_not_spoil_the_header(
    running: Running, path: str
) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(running.url(path), headers=gateway_headers()) as answer,
    ):
        assert answer.status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "token wrong"},
        {"Authorization": f"Basic {SECRET}"},
        {"Authorization": f"token {SECRET}x"},
        {"X-Nbgate-User": "alice", "X-Nbgate-User-Name": "Alice"},
    ],
)
async def test_nobody_else_comes_in(running: Running, headers: dict[str, str]) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(running.url("api/contents"), headers=headers) as answer:
            assert answer.status == 403
        url = running.url("api/contents?token=wrong")
        async with session.get(url, headers=headers) as answer:
            assert answer.status == 403


@pytest.mark.parametrize("path", ["lab/tree/answer.ipynb", "notebooks/answer.ipynb", "tree"])
async def test_pages_have_no_secret(running: Running, path: str) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(running.url(path), headers=gateway_headers()) as answer,
    ):
        html = await answer.text()

    assert SECRET not in html
    assert page_config(html).get("token", "") == ""


async def test_direct_url_logs_a_browser_in(running: Running) -> None:
    async with browser() as person:
        async with person.get(running.url(f"lab?token={SECRET}")) as answer:
            assert answer.status == 200
        async with person.get(running.url("api/me")) as answer:
            assert (await answer.json())["identity"]["display_name"] == "Alice Example"
        async with person.delete(running.url("api/contents/answer.ipynb")) as answer:
            assert answer.status == 403, "cookies alone do not pass the XSRF check"


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("lab", {}),
        ("api/status", {"default-src": "'none'"}),
        ("files/answer.ipynb", {"sandbox": "allow-scripts"}),
    ],
)
async def test_frame_ancestors_alone_are_rewritten(
    running: Running, path: str, kept: dict[str, str]
) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(running.url(path), headers=gateway_headers()) as answer,
    ):
        found = directives(answer.headers["Content-Security-Policy"])

    assert found["frame-ancestors"] == f"'self' {LMS}"
    assert found["report-uri"].endswith("/api/security/csp-report")
    assert found.items() >= kept.items()


async def test_kernels_do_not_see_the_secret_in_their_environment(running: Running) -> None:
    code = "[n for n in __import__('os').environ if n.startswith(('NBGATE_HOP', 'JUPYTER_TOKEN'))]"

    assert await compute(running.server, running.spec.base_url, code) == "[]"


async def test_log_has_no_secret(own: Running) -> None:
    assert SECRET not in await own.spawner.logs(own.server, 200)


async def test_any_user_with_a_read_only_root_can_work(running: Running) -> None:
    code = """
import os, pathlib, tempfile
tempfile.NamedTemporaryFile().close()
(pathlib.Path.home() / "x").touch()
(pathlib.Path.home() / "work" / "y").touch()
(os.getuid(), os.access("/opt/jupyter", os.W_OK))
"""
    result = await compute(running.server, running.spec.base_url, code)

    assert result == "(1000, False)"
    assert (running.spec.space / "y").exists()


async def test_person_with_another_uid_can_work(jupyter: Workshop) -> None:
    spec = jupyter.spec()
    os.chown(spec.space, 54321, 54322)
    spawner = jupyter.spawner()
    server = await spawner.start(spec)
    await until_ready(server, f"{spec.base_url}lab")

    assert await compute(server, spec.base_url, "__import__('os').getuid()") == "54321"


async def test_terminals_open(running: Running) -> None:
    async with aiohttp.ClientSession(headers=gateway_headers()) as session:
        async with session.post(running.url("api/terminals")) as answer:
            assert answer.status == 200
            name = (await answer.json())["name"]
        async with session.ws_connect(running.url(f"terminals/websocket/{name}")) as terminal:
            await terminal.send_json(["stdin", "expr 6 '*' 7\r"])
            seen = ""
            while "42" not in seen:
                seen += str(await terminal.receive_json(timeout=PATIENCE))


async def test_websockets_are_not_compressed(running: Running) -> None:
    async with aiohttp.ClientSession(headers=gateway_headers()) as session:
        async with session.post(running.url("api/kernels")) as answer:
            kernel = (await answer.json())["id"]
        url = running.url(f"api/kernels/{kernel}/channels")
        async with session.ws_connect(url, compress=15) as socket:
            assert socket.compress == 0


@pytest.mark.parametrize("path", ["lab/tree/answer.ipynb", "notebooks/answer.ipynb", "tree"])
async def test_pages_can_ask_the_gateway_about_their_notebook(running: Running, path: str) -> None:
    async with aiohttp.ClientSession(headers=gateway_headers()) as session:
        async with session.get(running.url(path)) as answer:
            config = page_config(await answer.text())
        assert config["nbgateSlug"] == running.spec.slug
        (ours,) = [one for one in config["federated_extensions"] if one["name"] == "nbgate"]
        root = running.url("").removesuffix(running.spec.base_url)
        url = f"{root}{config['fullLabextensionsUrl']}/nbgate/{ours['load']}"
        async with session.get(url) as answer:
            assert answer.status == 200
            assert answer.content_type.endswith("/javascript")


async def documents_of(notebook: Running) -> dict[str, Any]:
    """Return what Lab is told about its documents."""
    url = notebook.url("lab/api/settings/@jupyterlab/docmanager-extension:plugin")
    async with (
        aiohttp.ClientSession(headers=gateway_headers()) as session,
        session.get(url) as answer,
    ):
        assert answer.status == 200
        properties = (await answer.json())["schema"]["properties"]
        return {name: properties[name]["default"] for name in ("autosave", "autosaveInterval")}


async def test_documents_are_saved_as_often_as_jupyter_does_it(running: Running) -> None:
    assert await documents_of(running) == {"autosave": True, "autosaveInterval": 120}


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (15.0, {"autosave": True, "autosaveInterval": 15}),
        (0.0, {"autosave": False, "autosaveInterval": 120}),
    ],
)
async def test_documents_are_saved_as_often_as_the_project_says(
    jupyter: Workshop, seconds: float, told: dict[str, Any]
) -> None:
    assert await documents_of(await run(jupyter, autosave=seconds)) == told


async def test_strange_image_works_with_our_identity_provider(
    jupyter: Workshop, stock_image: str
) -> None:
    spec = jupyter.spec(image=stock_image, frame_ancestors=(LMS,))
    spawner = jupyter.spawner()
    server = await spawner.start(spec)
    await until_ready(server, f"{spec.base_url}api/status")

    async with aiohttp.ClientSession() as session:
        async with session.get(url_of(server, f"{spec.base_url}api/contents")) as answer:
            assert answer.status == 403
        url = url_of(server, f"{spec.base_url}lab")
        async with session.get(url, headers=gateway_headers()) as answer:
            assert answer.status == 200
            found = directives(answer.headers["Content-Security-Policy"])
            assert page_config(await answer.text())["token"] == ""
        headers = gateway_headers(user="a", name=quote("Zoë Müller"))
        url = url_of(server, f"{spec.base_url}api/me")
        async with session.get(url, headers=headers) as answer:
            assert (await answer.json())["identity"]["display_name"] == "Zoë Müller"
    assert found["frame-ancestors"] == f"'self' {LMS}"
    assert await compute(server, spec.base_url, "6 * 7") == "42"
    assert SECRET not in await spawner.logs(server, 200)
    assert not list(spec.space.rglob("jpserver-*.json")), "the token must not lie in the space"
