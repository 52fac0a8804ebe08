"""Signed links, opened at the real pages behind the real data path; each attack is tried."""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import quote

import pytest

from gateway.launch.targets import read_target
from gateway.notebooks.model import LinkPage, Links
from gateway.notebooks.names import notebook_slug
from tests.proxy.wire import Message
from tests.web.browser import location
from tests.web.doors import FILE, Entrance, course, entrance

__all__ = ["course", "entrance"]

PLAIN = f"/ipythonExercice/flotbioinfo/{FILE}/mary"
MARY = "course/flotbioinfo:mary"


def slug_of(subject: str, project: str = "flotbioinfo") -> str:
    return notebook_slug(project, subject)


def owners(entrance: Entrance) -> set[str]:
    return {principal.subject for _, _, _, principal in entrance.pages.table.tokens()}


def opened_nothing(entrance: Entrance, answer: Message) -> bool:
    """Whether nobody was signed in, and no notebook was made."""
    return (
        not answer.all(b"set-cookie")
        and answer.one(b"location") is None
        and owners(entrance) == set()
        and list(entrance.world.catalogue.notebooks()) == []
    )


async def test_link_signs_in_and_ends_on_the_notebook(entrance: Entrance) -> None:
    browser, key = entrance.browser(), await entrance.key()
    first = await browser.ask(entrance.open_link(key))
    assert (first.status, location(first)) == (303, PLAIN)
    assert first.one(b"referrer-policy") == b"no-referrer"
    second = await browser.ask(location(first))
    slug = slug_of(MARY)
    assert (second.status, location(second)) == (303, f"/nb/{slug}/notebooks/{FILE}")
    assert owners(entrance) == {MARY}
    assert (entrance.world.spaces.path(slug) / FILE).exists()
    assert entrance.counted == {("signed", "opened"): 1}


async def test_course_decides_for_lab(entrance: Entrance) -> None:
    await entrance.world.catalogue.update_project("flotbioinfo", links_page=LinkPage.LAB)
    answer = await entrance.browser().open(entrance.open_link(await entrance.key()))
    assert location(answer) == f"/nb/{slug_of(MARY)}/lab/tree/{FILE}"


async def test_what_else_is_in_the_query_is_passed_on(entrance: Entrance) -> None:
    link = entrance.open_link(await entrance.key(), name="Mary A.", reset="a b&c=d")
    answer = await entrance.browser().open(link)
    assert location(answer).endswith(f"{FILE}?reset=a%20b%26c%3Dd")
    (principal,) = {one for _, _, _, one in entrance.pages.table.tokens()}
    assert principal.display_name == "Mary A."


async def test_two_platforms_students_of_one_name_are_two_people(entrance: Entrance) -> None:
    for issuer in ("moodle", "fun"):
        link = entrance.open_link(await entrance.key(issuer=issuer), "student7")
        await entrance.browser().open(link)
    assert owners(entrance) == {"moodle:student7", "fun:student7"}
    assert len(entrance.world.catalogue.notebooks("flotbioinfo")) == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_session_of_one_course_opens_no_other_that_wants_signatures(
    entrance: Entrance, method: str
) -> None:
    """The platform has signed her into one course; it did not say that she is in the other."""
    mary, key = entrance.browser(), await entrance.key(issuer="moodle")
    await mary.open(entrance.link(key, "gateway", "open", "flotpython", *FILE.split("/"), "mary"))
    mary.cookies["nbgate-session~flotbioinfo"] = mary.cookies["nbgate-session~flotpython"]
    for shape in (PLAIN, "/ipythonForward/flotbioinfo/mary/lab", "/containerKill/flotbioinfo/mary"):
        answer = await mary.ask(shape, method, Origin="http://h")
        assert (answer.status, answer.one(b"location")) == (401, None)
    assert not entrance.world.catalogue.notebooks("flotbioinfo")
    await mary.open(entrance.open_link(key))
    assert (await mary.ask(PLAIN)).status == 303


async def test_two_courses_on_one_page_do_not_sign_each_other_out(entrance: Entrance) -> None:
    browser = entrance.browser()
    for name, person in (("flotbioinfo", "mary"), ("flotpython", "x7")):
        key = await entrance.key(name)
        await browser.open(entrance.link(key, "gateway", "open", name, *FILE.split("/"), person))
    for name, person in (("flotbioinfo", "mary"), ("flotpython", "x7")):
        answer = await browser.ask(f"/ipythonExercice/{name}/{FILE}/{person}")
        slug = slug_of(f"course/{name}:{person}", name)
        assert location(answer) == f"/nb/{slug}/notebooks/{FILE}"
        assert (await browser.ask(f"/gateway/status/{slug}")).status == 200


async def test_link_is_good_over_and_over_until_it_expires(entrance: Entrance) -> None:
    link = entrance.open_link(await entrance.key())
    assert (await entrance.browser().ask(link)).status == 303
    entrance.clock.advance(300 + 59)
    assert (await entrance.browser().ask(link)).status == 303
    entrance.clock.advance(2)
    answer = await entrance.browser().ask(link)
    assert answer.status == 410
    assert b"This link is over" in answer.body
    assert entrance.counted["signed", "expired"] == 1


async def test_link_for_one_use_is_good_once(entrance: Entrance) -> None:
    link = entrance.open_link(await entrance.key(), nonce="n" * 20)
    assert (await entrance.browser().ask(link, "HEAD")).status == 405
    answers = await asyncio.gather(*(entrance.browser().ask(link) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [303, 410, 410, 410, 410]
    used = next(answer for answer in answers if answer.status == 410)
    assert b"used already" in used.body
    assert not used.all(b"set-cookie")


async def test_same_nonce_of_two_keys_is_two_uses(entrance: Entrance) -> None:
    for _ in range(2):
        link = entrance.open_link(await entrance.key(), nonce="n" * 20)
        assert (await entrance.browser().ask(link)).status == 303


async def test_used_nonces_are_forgotten_when_their_links_are_over(entrance: Entrance) -> None:
    await entrance.browser().ask(entrance.open_link(await entrance.key(), nonce="n" * 20))
    keys = entrance.ways.signed.keys
    entrance.clock.advance(300 + 61)
    assert await keys.expire() == 0, "a link is good for as long as clocks may differ"
    entrance.clock.advance(120)
    assert await keys.expire() == 1


def altered(link: str) -> dict[str, str]:
    signature = link.partition("sig=")[2][:64]
    other = ("0" if signature[0] != "0" else "1") + signature[1:]
    return {
        "another person": link.replace("/mary?", "/bob?"),
        "another notebook": link.replace("walking", "running"),
        "another course": link.replace("/flotbioinfo/", "/flotpython/"),
        "another shape": link.replace("ipythonExercice", "notebookGitRepo"),
        "longer life": link.replace("exp=", "exp=1"),
        "one digit": link.replace(signature, other),
        "upper case": link.replace(signature, signature.upper()),
        "shorter": link.replace(signature, signature[:-1]),
        "longer": link.replace(signature, signature + "0"),
        "no signature": link.replace(f"sig={signature}", ""),
        "empty signature": link.replace(signature, ""),
        "no key": link.replace("kid=", "kit="),
        "no expiry": link.replace("exp=", "ext="),
        "one more parameter": link + "&forcecopy=true",
        "a parameter twice": link + "&a=1&a=1",
        "the person's name": link + "&name=Root",
        "two signatures": link + f"&sig={signature}",
        "two keys": link + "&kid=k0",
        "two keys, encoded": link + "&%6bid=k0",
        "a trailing slash": link.replace("/mary?", "/mary/?"),
        "a nonce": link + "&nonce=" + "n" * 20,
        "not UTF-8": link + "&a=%ff",
        "a line end": link + "&a=1%0Ab",
        "a broken encoding": link + "&a=%zz",
        "an encoded slash": link.replace("w1/", "w1%2F"),
        "an encoded slash at the end": link.replace("/mary?", "/mary%2F?"),
        "a nameless value": link + "&=1",
    }


@pytest.mark.parametrize("how", list(altered("/a/mary?kid=k&exp=1&sig=" + "a" * 64)))
async def test_altered_link_opens_nothing(entrance: Entrance, how: str) -> None:
    link = entrance.open_link(await entrance.key())
    forged = altered(link)[how]
    assert forged != link
    answer = await entrance.browser().ask(forged)
    assert answer.status in (403, 404), how
    assert opened_nothing(entrance, answer)


async def test_refusals_do_not_tell_what_was_wrong(entrance: Entrance) -> None:
    link, other = entrance.open_link(await entrance.key()), await entrance.key("flotpython")
    tries = [
        link.replace("/mary?", "/bob?"),
        link.replace("kid=k", "kid=q"),
        link.replace("kid=k", "kid=*"),
        entrance.open_link(other),
        link.replace("flotbioinfo", "no-such-course"),
        entrance.open_link(await entrance.key(), exp=str(entrance.now() + 10**6)),
        entrance.open_link(await entrance.key(), exp="12").replace("exp=12", "exp=13"),
    ]
    told = set()
    for one in tries:
        answer = await entrance.browser().ask(one, X_Request_ID="r")
        assert opened_nothing(entrance, answer)
        told.add((answer.status, answer.body))
    assert len(told) == 1
    assert next(iter(told))[0] == 403


async def test_keys_are_exchanged_one_after_the_other(entrance: Entrance) -> None:
    old, new = await entrance.key(), await entrance.key()
    before, after = entrance.open_link(old), entrance.open_link(new)
    assert (await entrance.browser().ask(before)).status == 303
    await entrance.ways.signed.keys.remove(old.kid)
    assert (await entrance.browser().ask(before)).status == 403
    assert (await entrance.browser().ask(after)).status == 303
    assert (await entrance.key()).kid not in (old.kid, new.kid)


async def test_key_of_another_installation_is_good_for_nothing(entrance: Entrance) -> None:
    link = entrance.open_link(await entrance.key())
    entrance.ways.signed.keys._identity = type(entrance.ways.signed.keys._identity)(
        "1" * 8, b"x" * 32
    )
    assert (await entrance.browser().ask(link)).status == 403


@pytest.mark.parametrize("links", [Links.OFF])
async def test_course_that_takes_no_links_takes_no_signed_ones(
    entrance: Entrance, links: Links
) -> None:
    await entrance.world.catalogue.update_project("flotbioinfo", links=links)
    answer = await entrance.browser().ask(entrance.open_link(await entrance.key()))
    assert answer.status == 403
    assert b"takes no links" in answer.body
    assert opened_nothing(entrance, answer)


async def test_stripped_link_needs_the_session_of_its_person(entrance: Entrance) -> None:
    stranger, mary, bob = (entrance.browser() for _ in range(3))
    key = await entrance.key()
    assert (await stranger.ask(PLAIN)).status == 401
    await mary.open(entrance.open_link(key))
    await bob.open(entrance.open_link(key, "bob"))
    assert location(await mary.ask(PLAIN)) == f"/nb/{slug_of(MARY)}/notebooks/{FILE}"
    answer = await bob.ask(PLAIN)
    assert (answer.status, answer.one(b"location")) == (401, None)


async def test_session_that_is_there_does_not_become_somebody_elses(entrance: Entrance) -> None:
    """Whoever planted a session of their own in a browser does not share what its owner opens."""
    victim, key = entrance.browser(), await entrance.key()
    attacker = entrance.browser()
    await attacker.open(entrance.open_link(key, "attacker"))
    victim.cookies = dict(attacker.cookies)
    answer = await victim.open(entrance.open_link(key))
    assert location(answer) == f"/nb/{slug_of(MARY)}/notebooks/{FILE}"
    assert victim.cookies != attacker.cookies
    assert (await attacker.ask(f"/gateway/status/{slug_of(MARY)}")).status == 404
    assert (await attacker.ask(PLAIN)).status == 401
    assert owners(entrance) == {MARY}, "computers are shared: who was there before is signed out"


async def test_second_link_of_one_person_needs_no_new_session(entrance: Entrance) -> None:
    browser, key = entrance.browser(), await entrance.key()
    await browser.open(entrance.open_link(key))
    before = dict(browser.cookies)
    assert not (await browser.ask(entrance.open_link(key))).all(b"set-cookie")
    assert browser.cookies == before


async def test_sign_out_ends_the_sessions_of_all_courses(entrance: Entrance) -> None:
    browser = entrance.browser()
    await browser.open(entrance.open_link(await entrance.key()))
    answer = await browser.ask("/gateway/logout", "POST", Origin="http://h")
    cleared = [line.decode() for line in answer.all(b"set-cookie")]
    assert {one.partition("=")[0] for one in cleared} == {
        "nbgate-session",
        "nbgate-session~flotbioinfo",
    }
    assert all("Max-Age=0" in one for one in cleared)
    assert owners(entrance) == set()


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/x/y",
        "/\\evil.example/x/y",
        "/ipythonExercice//evil.example/n/mary",
        "/ipythonExercice/..//evil.example/mary",
        "/ipythonExercice/flotbioinfo/../../mary",
        "/ipythonExercice/flotbioinfo/%2e%2e/%2e%2e/etc/passwd/mary",
        "/ipythonExercice/flotbioinfo/..%2f..%2fetc%2fpasswd/mary",
        "/ipythonExercice/flotbioinfo/..%5c..%5cx/mary",
        "/%2Fevil.example/x/y",
        "/ipythonExercice/%2F%2Fevil.example/n/mary",
        "/ipythonForward/flotbioinfo/mary/%2F/evil.example/",
        "/ipythonExercice/%2e%2e/x.ipynb/mary",
        "/ipythonExercice/flotbioinfo/x%00.ipynb/mary",
        "/ipythonExercice/flotbioinfo/x%0d%0aSet-Cookie:%20a=b.ipynb/mary",
        "/ipythonExercice/flotbioinfo/x%E2%80%AE.ipynb/mary",
        "/ipythonExercice/flotbioinfo/x%c0%ae.ipynb/mary",
        "/ipythonForward/flotbioinfo/mary//evil.example/",
        "/ipythonForward/flotbioinfo/mary/..//..//evil.example",
        "/gateway/open/flotbioinfo//mary",
    ],
)
async def test_links_lead_nowhere_else(entrance: Entrance, path: str) -> None:
    browser = entrance.browser()
    await browser.open(entrance.open_link(await entrance.key()))
    answer = await browser.ask(path)
    assert answer.status == 404
    assert answer.one(b"location") is None
    assert not answer.all(b"set-cookie")


@pytest.mark.parametrize(
    "name", ["https://evil.example", "javascript:alert(1)", ".git/config", "w1", "%2e", "a\u0301"]
)
async def test_name_that_is_no_file_of_the_course_opens_nothing(
    entrance: Entrance, name: str
) -> None:
    browser, key = entrance.browser(), await entrance.key()
    await browser.open(entrance.open_link(key))
    answer = await browser.ask(f"/ipythonExercice/flotbioinfo/{quote(name)}/mary")
    assert answer.status == 404
    assert answer.one(b"location") is None


@pytest.mark.parametrize(
    "person", ["admin", " mary", "a" * 300, "mary\u200b", "mary\n", "a\u2028b", "m/y", "m\\y"]
)
async def test_no_link_names_what_is_no_person(entrance: Entrance, person: str) -> None:
    key = await entrance.ways.signed.keys.add(own_people=True)
    segments = ("gateway", "open", "flotbioinfo", *FILE.split("/"), person)
    answer = await entrance.browser().ask(entrance.link(key, *segments))
    assert answer.status in (403, 404)
    assert opened_nothing(entrance, answer)


async def test_key_for_the_installations_own_people_signs_them_in(entrance: Entrance) -> None:
    key = await entrance.ways.signed.keys.add(own_people=True)
    answer = await entrance.browser().open(entrance.open_link(key))
    assert location(answer) == f"/nb/flotbioinfo-x-mary/notebooks/{FILE}"


async def test_names_of_all_kinds_arrive(entrance: Entrance) -> None:
    (entrance.course / "w1" / "été n°1 + 100%.ipynb").write_text("{}")
    segments = ("gateway", "open", "flotbioinfo", "w1", "été n°1 + 100%.ipynb", "zoë@x.org")
    answer = await entrance.browser().open(entrance.link(await entrance.key(), *segments))
    assert location(answer).endswith("/notebooks/w1/%C3%A9t%C3%A9%20n%C2%B01%20%2B%20100%25.ipynb")


async def test_encoding_does_not_matter_to_the_signature(entrance: Entrance) -> None:
    link = entrance.open_link(await entrance.key(), q="a b", z="~")
    path, _, query = link.partition("?")
    shuffled = "&".join(reversed(query.replace("%20", "+").replace("~", "%7e").split("&")))
    answer = await entrance.browser().ask(f"{path.replace('mary', 'm%61ry')}?{shuffled}")
    assert answer.status == 303
    assert location(answer) == f"{PLAIN}?z=~&q=a%20b"


async def test_link_cannot_be_posted(entrance: Entrance) -> None:
    link = entrance.open_link(await entrance.key())
    answer = await entrance.browser().ask(link, "POST", Origin="https://evil.example")
    assert answer.status == 404
    assert opened_nothing(entrance, answer)


async def test_neither_log_nor_page_repeats_a_secret(
    entrance: Entrance, caplog: pytest.LogCaptureFixture
) -> None:
    key = await entrance.key()
    link = entrance.open_link(key, nonce="n0nce-" * 4)
    secrets = [entrance.ways.signed.keys.secret(key.kid), link.partition("sig=")[2], "n0nce"]
    browser = entrance.browser()
    with caplog.at_level(logging.DEBUG):
        answers = [await browser.ask(link) for _ in range(2)]
        answers.append(await browser.ask(link.replace("/mary?", "/bob?")))
        answers.append(await browser.open(PLAIN))
    secrets += [value for value in browser.cookies.values() if len(value) > 20]
    seen = caplog.text + "".join(
        f"{answer.one(b'location')!r}{answer.body!r}" for answer in answers
    )
    assert len(secrets) == 4
    assert not [secret for secret in secrets if secret in seen]


def test_link_that_is_read_is_written_the_same() -> None:
    link = "/gateway/open/demo/a%20b/%C3%A9/mary?a=1%262&b="
    assert str(read_target(link)) == link
