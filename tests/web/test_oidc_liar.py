"""A provider that misbehaves, or is away: nobody gets in, and people are told in words."""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwk, jwt

from gateway.web.context import Pages
from tests.proxy.wire import Message
from tests.support.openid import CLIENT_ID, CLIENT_SECRET
from tests.web.browser import Browser
from tests.web.providers import House, Liar, begun, house, parameters, quoted, signs_nobody_in


@pytest.fixture
async def liar() -> AsyncIterator[Liar]:
    async with Liar().serving() as running:
        yield running


@pytest.fixture
async def home(tmp_path: Path, pages: Pages, liar: Liar) -> AsyncIterator[House]:
    async with house(tmp_path, pages, liar.issuer) as made:
        yield made


async def sign_in(home: House, liar: Liar, browser: Browser | None = None) -> Message:
    """Come back from the provider with a code."""
    browser = browser or home.browser()
    told = parameters(await begun(browser))
    liar.nonce = told["nonce"]
    return await browser.ask(f"/gateway/oidc/callback?code=c&state={told['state']}")


async def test_honest_provider_signs_in(home: House, liar: Liar) -> None:
    browser = home.browser()
    answer = await sign_in(home, liar, browser)
    assert answer.status == 303
    assert home.who(browser) == f"oidc/{liar.issuer.removeprefix('http://')}:mary"
    assert liar.forms[0]["code"] == "c"
    assert "client_secret" not in liar.forms[0]


# Whenever the tests run: hours may lie between their collection and this one.
LONG_AGO, MUCH_LATER = 1_000_000_000, 4_000_000_000


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"aud": ["another"]},
        {"aud": [CLIENT_ID, "another"]},
        {"aud": [CLIENT_ID, "another"], "azp": "another"},
        {"azp": "another"},
        {"nonce": "of-another-attempt"},
        {"nonce": None},
        {"nonce": 7},
        {"exp": LONG_AGO},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": True},
        {"iat": MUCH_LATER},
        {"iat": LONG_AGO},
        {"iat": None},
        {"nbf": MUCH_LATER},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a\nb"},
        {"sub": " mary"},
        {"sub": "m" * 300},
    ],
    ids=str,
)
async def test_id_token_that_is_not_good_signs_nobody_in(
    home: House, liar: Liar, claims: dict[str, Any]
) -> None:
    liar.claims = claims
    assert signs_nobody_in(await sign_in(home, liar), 403)
    assert len(home.pages.table) == 0


async def test_clocks_may_differ_a_little(home: House, liar: Liar) -> None:
    liar.claims = {"exp": int(time.time()) - 5, "iat": int(time.time()) + 20}
    assert (await sign_in(home, liar)).status == 303


async def test_several_audiences_need_the_party_that_it_was_given_to(
    home: House, liar: Liar
) -> None:
    liar.claims = {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID}
    assert (await sign_in(home, liar)).status == 303


def unsigned(liar: Liar) -> str:
    parts = liar.id_token().split(".")
    return f"eyJhbGciOiJub25lIn0.{parts[1]}."


def signed_by_another(liar: Liar) -> str:
    liar.key = jwk.RSAKey.generate_key(2048, {"kid": "one"})
    return liar.id_token()


def signed_with_the_public_key(liar: Liar) -> str:
    return _hs256(liar, liar.key.as_pem(private=False))


def _hs256(liar: Liar, secret: bytes) -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"one"}').rstrip(b"=")
    text = head + b"." + liar.id_token().split(".")[1].encode()
    mark = base64.urlsafe_b64encode(hmac.digest(secret, text, "sha256")).rstrip(b"=")
    return (text + b"." + mark).decode()


def signed_with_the_client_secret(liar: Liar) -> str:
    return _hs256(liar, CLIENT_SECRET.encode())


def cut(liar: Liar) -> str:
    return liar.id_token()[:-20]


def nonsense(liar: Liar) -> str:
    return "x.y.z"


@pytest.mark.parametrize(
    "forged",
    [
        unsigned,
        signed_by_another,
        signed_with_the_public_key,
        signed_with_the_client_secret,
        cut,
        nonsense,
    ],
)
async def test_forged_id_token_signs_nobody_in(
    home: House, liar: Liar, forged: Callable[[Liar], str]
) -> None:
    browser = home.browser()
    told = parameters(await begun(browser))
    liar.nonce = told["nonce"]
    liar.token = forged(liar)
    answer = await browser.ask(f"/gateway/oidc/callback?code=c&state={told['state']}")
    assert signs_nobody_in(answer, 403)


async def test_id_token_of_one_attempt_is_no_good_for_another(home: House, liar: Liar) -> None:
    first = parameters(await begun(home.browser()))
    liar.nonce = first["nonce"]
    liar.token = liar.id_token()
    assert signs_nobody_in(await sign_in(home, liar), 403)


async def test_new_key_is_fetched_once(home: House, liar: Liar) -> None:
    assert (await sign_in(home, liar)).status == 303
    liar.key = jwk.RSAKey.generate_key(2048, {"kid": "two"})
    liar.header["kid"] = "two"
    liar.published.append(dict(liar.key.as_dict(private=False)))
    assert (await sign_in(home, liar)).status == 303
    assert liar.asked.count("/keys") == 2
    liar.header["kid"] = "three"
    assert signs_nobody_in(await sign_in(home, liar), 403)
    assert liar.asked.count("/keys") == 3


async def test_keys_that_cannot_be_used_hide_no_others(home: House, liar: Liar) -> None:
    odd: list[dict[str, Any]] = [{"kty": "new"}, {"kty": "RSA", "n": 1}, {"kty": "oct", "k": "a"}]
    liar.published = odd + liar.published
    assert (await sign_in(home, liar)).status == 303


@pytest.mark.parametrize("kind", ["ES256", "Ed25519", "PS256"])
async def test_other_signatures_of_public_keys_are_good(home: House, liar: Liar, kind: str) -> None:
    key: jwk.RSAKey | jwk.ECKey | jwk.OKPKey = liar.key
    if kind == "ES256":
        key = jwk.ECKey.generate_key("P-256", {"kid": "one"})
    elif kind == "Ed25519":
        key = jwk.OKPKey.generate_key("Ed25519", {"kid": "one"})
    browser = home.browser()
    told = parameters(await begun(browser))
    liar.nonce = told["nonce"]
    claims = {"iss": liar.issuer, "aud": CLIENT_ID, "sub": "mary", "nonce": liar.nonce}
    now = int(time.time())
    liar.published = [dict(key.as_dict(private=False))]
    liar.token = jwt.encode(
        {"alg": kind, "kid": "one"}, claims | {"iat": now, "exp": now + 9}, key, [kind]
    )
    answer = await browser.ask(f"/gateway/oidc/callback?code=c&state={told['state']}")
    assert answer.status == 303


async def test_claims_of_another_person_are_not_taken(home: House, liar: Liar) -> None:
    liar.userinfo = {"sub": "anne", "name": "Anne"}
    assert signs_nobody_in(await sign_in(home, liar), 403)


async def test_code_that_the_provider_refuses_signs_nobody_in(home: House, liar: Liar) -> None:
    liar.token_status = 400
    assert signs_nobody_in(await sign_in(home, liar), 403)


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": None},
        {"token_endpoint": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": "//evil.example/keys"},
        {"authorization_endpoint": "https://login.example/\r\nX: y"},
    ],
    ids=str,
)
async def test_document_that_cannot_be_used_is_told_in_words(
    home: House, liar: Liar, document: dict[str, Any]
) -> None:
    liar.document = document
    answer = await home.browser().ask("/gateway/oidc/begin")
    assert answer.status == 502
    assert b"the Test does not answer" in answer.body
    assert b"evil.example" not in answer.body


async def test_provider_that_is_down_is_told_in_words(
    home: House, liar: Liar, caplog: pytest.LogCaptureFixture
) -> None:
    liar.down = True
    answer = await home.browser().ask("/gateway/oidc/begin?next=/nb/a/")
    assert answer.status == 503
    assert b"the Test does not answer" in answer.body
    assert b"/gateway/oidc/begin?next=%2Fnb%2Fa%2F" in answer.body
    assert all(record.exc_info is None for record in caplog.records)
    liar.down = False
    assert (await home.browser().ask("/gateway/oidc/begin")).status == 303


async def test_many_who_come_while_it_is_down_wait_for_one_answer(home: House, liar: Liar) -> None:
    """It may take long, and anybody may ask: they must not wait one after the other."""
    liar.down = True
    asking = [home.browser().ask("/gateway/oidc/begin") for _ in range(20)]
    answers = await asyncio.gather(*asking)
    assert {answer.status for answer in answers} == {503}
    assert len(liar.asked) < 10


async def test_nobody_there_is_told_in_words(tmp_path: Path, pages: Pages) -> None:
    async with house(tmp_path, pages, "http://127.0.0.1:1") as home:
        answer = await home.browser().ask("/gateway/oidc/begin")
        assert answer.status == 503
        french = await home.browser().ask("/gateway/oidc/begin", Accept_Language="fr")
        assert "the Test ne répond pas" in french.body.decode()
        program = await home.browser().ask("/gateway/oidc/begin", Accept="application/json")
        assert program.status == 503


async def test_what_the_provider_said_is_good_while_it_is_down(home: House, liar: Liar) -> None:
    await begun(home.browser())
    await begun(home.browser())
    assert liar.asked.count("/.well-known/openid-configuration") == 1
    home.clock[0] += 3601.0
    liar.down = True
    await begun(home.browser())
    assert liar.asked.count("/.well-known/openid-configuration") == 2


async def test_provider_that_goes_down_on_the_way_is_told_in_words(home: House, liar: Liar) -> None:
    browser = home.browser()
    told = parameters(await begun(browser))
    liar.down = True
    answer = await browser.ask(f"/gateway/oidc/callback?code=c&state={told['state']}")
    assert answer.status == 502
    assert home.who(browser) is None


async def test_sign_out_works_while_the_provider_is_down(home: House, liar: Liar) -> None:
    browser = home.browser()
    await sign_in(home, liar, browser)
    home.clock[0] += 3601.0
    liar.down = True
    answer = await browser.ask("/gateway/logout", "POST", Origin="http://h")
    assert answer.status == 303
    assert home.who(browser) is None


async def test_secrets_are_in_no_log(
    home: House, liar: Liar, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    browser = home.browser()
    told = parameters(await begun(browser))
    await browser.ask(f"/gateway/oidc/callback?code=verysecretcode&state={told['state']}")
    liar.token_status = 500
    told |= {"again": (parameters(await begun(browser)))["state"]}
    await browser.ask(f"/gateway/oidc/callback?code=verysecretcode&state={told['again']}")
    for hidden in (CLIENT_SECRET, quoted(CLIENT_SECRET), "verysecretcode", told["state"]):
        assert hidden not in caplog.text
    assert CLIENT_SECRET not in repr(home.sign_in.provider.registration)
