"""A client of Jupyter's API for tests: what a person sees, and a kernel that computes."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import aiohttp

from gateway.spawners.base import Server
from tests.spawners.helpers import gateway_headers, url_of
from tests.support.waiting import PATIENCE

NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "answer",
            "metadata": {},
            "outputs": [],
            "source": ["6 * 7"],
        }
    ],
    "metadata": {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
    },
    "nbformat": 4,
    "nbformat_minor": 5,
}


def page_config(html: str) -> dict[str, Any]:
    """Return the configuration that Lab and Notebook embed into their pages."""
    match = re.search(r'<script id="jupyter-config-data"[^>]*>(.*?)</script>', html, re.DOTALL)
    assert match is not None
    found: dict[str, Any] = json.loads(match[1])
    return found


def directives(policy: str) -> dict[str, str]:
    """Return a Content-Security-Policy by its directives."""
    parts = (item.strip().partition(" ") for item in policy.split(";") if item.strip())
    return {name: value for name, _, value in parts}


async def compute(server: Server, base_url: str, code: str) -> str:
    """Run `code` in a new kernel; return its result as text."""
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with aiohttp.ClientSession(headers=gateway_headers(), timeout=timeout) as session:
        async with session.post(url_of(server, f"{base_url}api/kernels")) as answer:
            assert answer.status == 201, await answer.text()
            kernel = (await answer.json())["id"]
        channels = url_of(server, f"{base_url}api/kernels/{kernel}/channels")
        async with session.ws_connect(channels) as socket:
            await socket.send_json(execute_request(code))
            async for message in socket:
                reply = json.loads(message.data)
                if reply["header"]["msg_type"] == "execute_result":
                    return str(reply["content"]["data"]["text/plain"])
    raise AssertionError("the kernel went away without a result")


def execute_request(code: str) -> dict[str, Any]:
    """Return a message of Jupyter's protocol that asks for `code` to be run."""
    header = {
        "msg_id": uuid.uuid4().hex,
        "username": "test",
        "session": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "version": "5.3",
    }
    content = {"code": code, "silent": False, "store_history": False, "stop_on_error": True}
    return {
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": content,
        "channel": "shell",
    }
