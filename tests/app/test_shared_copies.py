"""What a gateway does about shared copies while it runs."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from pathlib import Path

from gateway.app.chores import each
from gateway.app.control import open_control
from gateway.app.housekeeping import _housework
from gateway.app.ways import ways_of
from gateway.launch.shares import FOLDER, Shares
from gateway.notebooks.projects import utc_now
from gateway.settings import load_settings


def two_days_ago() -> datetime:
    return utc_now() - timedelta(days=2)


async def test_copies_that_are_over_go_with_the_housework(tmp_path: Path) -> None:
    settings = load_settings(
        state_dir=tmp_path / "state",
        public_url="http://127.0.0.1:9",
        spawner="process",
        share_lifetime=86400.0,
    )
    async with contextlib.AsyncExitStack() as stack:
        control = await open_control(settings, stack)
        await control.spaces.ensure("first", None)
        shares, folder = ways_of(settings, control).shares, settings.spaces_path / FOLDER
        older = Shares(folder, control.spaces.exists, 86400.0, two_days_ago)
        await older.make("first", "demo", "old.ipynb", b"{}")
        secret, share = await shares.make("first", "demo", "new.ipynb", b"{}")
        assert len(list(folder.glob("notebooks/first/*"))) == 2
        await each(_housework(settings, control))
        assert [path.name for path in folder.glob("addresses/*")] == [share.digest]
        assert await shares.find(secret) == (share, b"{}")
