"""What is read when a crash has fallen between the route file and its companion."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from routes import publishing
from routes.content import Content
from tests.app.hub import Hub, hub_in

PLAIN, OTHER = "http://127.0.0.1:9", "http://127.0.0.1:10"
PATH, TLS = "http://127.0.0.1:9/hub", "https://h.example"


@pytest.fixture
def crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Copies of both files as they were after each publish."""
    copies: list[Path] = []
    original = publishing.publish

    def publish(path: Path, content: Content, *rest: Any) -> publishing.Stamp:
        stamp = original(path, content, *rest)
        copies.append(Path(tempfile.mkdtemp(dir=tmp_path)))
        for file in path.parent.glob("*.gdbm"):
            shutil.copy(file, copies[-1])
        return stamp

    monkeypatch.setattr(publishing, "publish", publish)
    return copies


async def change(hub: Hub, target: str) -> None:
    """Set the route, or delete it where there is no target."""
    if target:
        await hub.add("/user/a", target, jupyterhub=True)
    else:
        assert await hub.status("DELETE", "/api/routes/user/a") == 204
    await hub.flush()


@pytest.mark.parametrize("before", ["", PLAIN, PATH])
@pytest.mark.parametrize("after", ["", PLAIN, OTHER, PATH, TLS])
async def test_no_route_of_a_jupyterhub_becomes_an_operators(
    tmp_path: Path, crashes: list[Path], before: str, after: str
) -> None:
    async with hub_in(tmp_path) as hub:
        await change(hub, before or PLAIN)
        if not before:
            await change(hub, before)
        crashes.clear()
        if after or before:
            await change(hub, after)
    for number, folder in enumerate(list(crashes)):
        async with hub_in(folder) as hub:
            for route in (await hub.routes()).values():
                assert route.get("jupyterhub"), f"after publish {number}: {route}"
                assert route["target"] in (before, after)
    async with hub_in(tmp_path) as hub:
        told = [route["target"] for route in (await hub.routes()).values()]
        assert told == ([after] if after else [])
