"""Signing in at a real OpenID provider, and who cannot get in by it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.web.context import Pages
from tests.support.openid import RealProvider, real_provider
from tests.web.browser import Browser
from tests.web.providers import (
    OURS,
    House,
    begun,
    house,
    parameters,
    path_of,
    quoted,
    signs_nobody_in,
)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealProvider]:
    with real_provider(tmp_path_factory.mktemp("provider"), OURS) as running:
        yield running


@pytest.fixture
async def home(tmp_path: Path, pages: Pages, provider: RealProvider) -> AsyncIterator[House]:
    async with house(tmp_path, pages, provider.issuer) as made:
        yield made


def subject(provider: RealProvider, name: str) -> str:
    return f"oidc/{provider.issuer.removeprefix('http://')}:{name}"


async def came_back(provider: RealProvider, browser: Browser, name: str = "mary") -> str:
    """Sign in at the provider; return the path at which the browser comes back."""
    url = await begun(browser)
    return path_of(await provider.sign_in(url, name, OURS))


async def test_person_signs_in_and_is_where_they_wanted_to_be(
    home: House, provider: RealProvider
) -> None:
    browser = home.browser()
    answer = await browser.ask(await came_back(provider, browser))
    assert answer.status == 303
    assert answer.one(b"location") == f"{OURS}/nb/demo-x-mary/lab?a=b".encode()
    assert home.who(browser) == subject(provider, "mary")
    assert "Mary of the tests" in [one.display_name for *_, one in home.pages.table.tokens()]
    assert not any(one.administrator for *_, one in home.pages.table.tokens())


async def test_request_has_what_ties_the_answer_to_it(home: House) -> None:
    first, second = await begun(home.browser()), await begun(home.browser())
    told = parameters(first)
    assert told["code_challenge_method"] == "S256"
    assert told["redirect_uri"] == f"{OURS}/gateway/oidc/callback"
    for name in ("state", "nonce", "code_challenge"):
        assert len(told[name]) >= 32
        assert told[name] != parameters(second)[name]


async def test_tabs_sign_in_at_once(home: House, provider: RealProvider) -> None:
    browser = home.browser()
    ways = [await begun(browser, f"/nb/{number}/") for number in range(3)]
    for number, way in enumerate(ways):
        answer = await browser.ask(path_of(await provider.sign_in(way, "mary", OURS)))
        assert answer.one(b"location") == f"{OURS}/nb/{number}/".encode()


async def test_another_browser_cannot_use_an_answer(home: House, provider: RealProvider) -> None:
    path = await came_back(provider, home.browser(), "mallory")
    victim = home.browser()
    await begun(victim)
    answer = await victim.ask(path)
    assert signs_nobody_in(answer, 410)
    assert home.who(victim) is None


async def test_code_of_another_attempt_is_refused(home: House, provider: RealProvider) -> None:
    # The attacker's code, put into the answer that the victim's browser waits for.
    stolen = parameters(await came_back(provider, home.browser(), "mallory"))
    victim = home.browser()
    own = parameters(await came_back(provider, victim))
    path = f"/gateway/oidc/callback?code={stolen['code']}&state={own['state']}"
    answer = await victim.ask(f"{path}&iss={quoted(provider.issuer)}")
    assert signs_nobody_in(answer, 403)


@pytest.mark.parametrize("state", ["", "&state=", "&state=guessed"])
async def test_stripped_and_guessed_states_are_refused(
    home: House, provider: RealProvider, state: str
) -> None:
    browser = home.browser()
    told = parameters(await came_back(provider, browser))
    answer = await browser.ask(f"/gateway/oidc/callback?code={told['code']}{state}")
    assert signs_nobody_in(answer, 410)


async def test_answer_is_good_once(home: House, provider: RealProvider) -> None:
    browser = home.browser()
    path = await came_back(provider, browser)
    thief = Browser(home.proxy, dict(browser.cookies))
    assert (await browser.ask(path)).status == 303
    assert signs_nobody_in(await browser.ask(path), 410)
    # With a copy of the cookies of before it is the provider that knows the code.
    assert signs_nobody_in(await thief.ask(path), 403)


async def test_answer_of_another_provider_is_refused(home: House, provider: RealProvider) -> None:
    browser = home.browser()
    told = parameters(await came_back(provider, browser))
    assert told["iss"] == provider.issuer
    path = f"/gateway/oidc/callback?code={told['code']}&state={told['state']}"
    again = Browser(home.proxy, dict(browser.cookies))
    assert signs_nobody_in(await browser.ask(path), 403), "the provider tells who it is"
    assert signs_nobody_in(await again.ask(f"{path}&iss=https://evil.example"), 403)


async def test_session_is_a_new_one_and_another_persons_ends(
    home: House, provider: RealProvider
) -> None:
    browser = home.browser()
    await browser.ask(await came_back(provider, browser, "anne"))
    planted = dict(browser.cookies)
    await browser.ask(await came_back(provider, browser, "mary"))
    assert browser.cookies != planted
    assert home.who(Browser(home.proxy, planted)) is None


@pytest.mark.parametrize(
    "onward",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "evil.example",
        "@evil.example",
        "/x\r\nSet-Cookie: a=b",
    ],
)
async def test_nobody_is_sent_elsewhere(home: House, provider: RealProvider, onward: str) -> None:
    browser = home.browser()
    back = await provider.sign_in(await begun(browser, onward), "mary", OURS)
    answer = await browser.ask(path_of(back))
    assert answer.status == 303
    assert answer.one(b"location") == f"{OURS}/".encode()


async def test_person_who_declines_is_told(home: House) -> None:
    browser = home.browser()
    state = parameters(await begun(browser))["state"]
    path = f"/gateway/oidc/callback?error=access_denied&error_description=<b>&state={state}"
    answer = await browser.ask(f"{path}&iss={quoted(home.sign_in.naming.issuer)}")
    assert signs_nobody_in(answer, 403)
    assert b"<b>" not in answer.body
    assert b"You are not signed in" in answer.body
    assert b"/gateway/oidc/begin?next=%2Fnb%2Fdemo-x-mary%2Flab%3Fa%3Db" in answer.body


async def test_sign_out_goes_on_to_the_provider(home: House, provider: RealProvider) -> None:
    browser = home.browser()
    await browser.ask(await came_back(provider, browser))
    answer = await browser.ask("/gateway/logout", "POST", Origin=OURS)
    assert answer.status == 200
    assert home.who(browser) is None
    assert f"{provider.issuer}/session/end?client_id=nbgate&amp;" in answer.body.decode()
    assert b'http-equiv="refresh"' in answer.body


async def test_who_came_by_another_way_is_signed_out_here_alone(home: House) -> None:
    browser = home.browser()
    token = await home.pages.sessions.create("alice", "h")
    browser.cookies["nbgate-session"] = token
    answer = await browser.ask("/gateway/logout", "POST", Origin=OURS)
    assert answer.status == 303
    assert answer.one(b"location") == b"/"


async def test_sign_in_page_has_the_button(home: House) -> None:
    answer = await home.browser().ask("/gateway/login?next=/nb/a/")
    assert answer.status == 401
    assert b"Sign in with the Test" in answer.body
    assert b"target=" not in answer.body


async def test_in_a_frame_signing_in_opens_a_tab(home: House) -> None:
    answer = await home.browser().ask("/gateway/login", Sec_Fetch_Dest="iframe")
    assert answer.status == 401
    assert b'target="_blank"' in answer.body


async def test_straight_on_is_for_top_level_navigations(
    tmp_path: Path, pages: Pages, provider: RealProvider
) -> None:
    async with house(tmp_path, pages, provider.issuer, straight_on=True) as home:
        browser = home.browser()
        answer = await browser.ask("/gateway/login?next=/nb/a/")
        assert answer.status == 303
        assert (answer.one(b"location") or b"").endswith(b"/gateway/oidc/begin?next=%2Fnb%2Fa%2F")
        framed = await browser.ask("/gateway/login", Sec_Fetch_Dest="iframe")
        assert framed.status == 401
        script = await browser.ask("/gateway/login", Sec_Fetch_Mode="cors")
        assert script.status == 401


async def test_administrators_are_those_that_the_settings_name(
    tmp_path: Path, pages: Pages, provider: RealProvider
) -> None:
    chosen: dict[str, Any] = {"claim": "email", "administrators": frozenset({"anne@example.org"})}
    async with house(tmp_path, pages, provider.issuer, **chosen) as home:
        for name in ("anne", "mary"):
            browser = home.browser()
            await browser.ask(await came_back(provider, browser, name))
        rights = {one.subject: one.administrator for *_, one in home.pages.table.tokens()}
        assert rights == {
            subject(provider, "anne@example.org"): True,
            subject(provider, "mary@example.org"): False,
        }


async def test_address_that_is_not_verified_is_nobodys(
    tmp_path: Path, pages: Pages, provider: RealProvider
) -> None:
    chosen: dict[str, Any] = {"claim": "email", "administrators": frozenset({"unanne@example.org"})}
    async with house(tmp_path, pages, provider.issuer, **chosen) as home:
        browser = home.browser()
        answer = await browser.ask(await came_back(provider, browser, "unanne"))
        assert signs_nobody_in(answer, 403)
        assert b"cannot be used here" in answer.body


@pytest.mark.parametrize("name", ["admin", "plain", "moodle:mary", "plain/demo:mary"])
async def test_provider_names_local_people_only_where_it_may(
    tmp_path: Path, pages: Pages, provider: RealProvider, name: str
) -> None:
    chosen: dict[str, Any] = {"claim": "preferred_username", "local": True}
    async with house(tmp_path, pages, provider.issuer, **chosen) as home:
        browser = home.browser()
        answer = await browser.ask(await came_back(provider, browser, name))
        if name == "plain":
            assert home.who(browser) == "plain"
        else:
            assert signs_nobody_in(answer, 403)
