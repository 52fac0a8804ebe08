"""What becomes of people when the gateway is restarted, with other settings too."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.app import running
from gateway.app.control import Control
from gateway.launch.deeplinks import passer_by
from gateway.launch.session_table import Principal
from gateway.settings import Settings
from tests.activation.fakes import FakeSpawner
from tests.support.places import free_port
from tests.support.waiting import until

ISSUER = "https://login.example.org"
HOST = "gateway.example"
MARY, BOB = "oidc/login.example.org:mary", "oidc/login.example.org:bob"

Made = Callable[..., Settings]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Returns the settings of the one gateway; a provider of people is among them if it is said."""
    monkeypatch.setattr("gateway.app.base.spawner_of", lambda *_: FakeSpawner())

    def settings(*administrators: str, provider: bool = True) -> Settings:
        return Settings(
            state_dir=tmp_path / "state",
            listen="127.0.0.1:0",
            management_listen=f"127.0.0.1:{free_port()}",
            oidc_issuer=ISSUER if provider else "",
            oidc_client_id="nbgate" if provider else "",
            oidc_administrators=administrators,
        )

    return settings


@contextlib.asynccontextmanager
async def started(settings: Settings) -> AsyncIterator[Control]:
    """Run a gateway, and end it when what it writes at its start is written."""
    async with running(settings) as control:
        await until(control.sharing.leadership.leads)
        yield control


def whose(control: Control, token: str) -> Principal | None:
    return control.session_table.lookup(token.encode(), HOST)


async def test_sessions_heed_what_is_configured_now(made: Made) -> None:
    async with started(made("mary", "bob")) as control:
        tokens = [
            await control.sessions.create(person, HOST, administrator=True, issuer=ISSUER)
            for person in (MARY, BOB)
        ]
        local = await control.sessions.create("alice", HOST, issuer="login-link")
    async with started(made("bob")) as control:
        found = [whose(control, token) for token in tokens]
        assert [one and one.administrator for one in found] == [False, True]
    async with started(made(provider=False)) as control:
        assert [whose(control, token) for token in tokens] == [None, None]
        assert whose(control, local)
    async with started(made("mary", "bob")) as control:
        assert [whose(control, token) for token in tokens] == [None, None], "for good"
        assert whose(control, local)


async def test_nameless_people_are_counted_after_a_restart(made: Made) -> None:
    with_notebook, without = passer_by("demo"), passer_by("demo")
    async with started(made()) as control:
        await control.catalogue.add_project("demo", anonymous=True)
        slug = (await control.catalogue.open_for("demo", with_notebook)).slug
        token = await control.sessions.create(without, HOST)
        assert control.sessions.nameless.count("demo") == 2
    async with started(made()) as control:
        assert control.sessions.nameless.count("demo") == 2
        await control.lifecycle.delete(slug, purge_space=True)
        assert control.sessions.nameless.count("demo") == 1
        there = whose(control, token)
        assert there is not None
        await control.sessions.revoke(there.session)
        assert control.sessions.nameless.count("demo") == 0
