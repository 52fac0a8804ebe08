"""The gateway's cookies, as browsers are given them and send them back."""

from __future__ import annotations

import pytest

from gateway.launch.cookies import (
    GATEWAY_COOKIES,
    clear_cookie,
    clear_state_cookie,
    cookie_name,
    courses_from,
    session_cookie,
    state_cookie,
    state_from,
    token_from,
    tokens_from,
    tokens_of_course,
)


def _attributes(cookie: str) -> set[str]:
    return set(cookie.split("; ")[1:])


def test_cookie_over_https_works_in_a_foreign_frame_and_at_this_host_alone() -> None:
    cookie = session_cookie("t0k", https=True)
    assert cookie.startswith("__Host-nbgate=t0k; ")
    assert _attributes(cookie) == {"Path=/", "Secure", "HttpOnly", "SameSite=None", "Partitioned"}


def test_cookie_over_http_is_for_one_site_and_no_script() -> None:
    cookie = session_cookie("t0k", https=False)
    assert cookie.startswith("nbgate-session=t0k; ")
    assert _attributes(cookie) == {"Path=/", "HttpOnly", "SameSite=Lax"}


def test_cookie_lasts_whole_seconds() -> None:
    assert session_cookie("t", https=False, max_age=60.9).endswith("; Max-Age=60")


@pytest.mark.parametrize("https", [True, False])
def test_cleared_cookie_has_the_attributes_of_the_one_it_clears(https: bool) -> None:
    for cleared, given in (
        (clear_cookie(https), session_cookie("t", https)),
        (clear_state_cookie(https), state_cookie("t", https)),
    ):
        assert cleared.split("=")[0] == given.split("=")[0]
        assert _attributes(cleared) - _attributes(given) == {"Max-Age=0"}


@pytest.mark.parametrize("https", [True, False])
def test_what_is_given_is_found_among_others(https: bool) -> None:
    session = session_cookie("t0k", https).split(";")[0].encode()
    state = state_cookie("st", https).split(";")[0].encode()
    header = b"_xsrf=a; " + state + b"; " + session + b";x=y"
    assert token_from(header, https) == b"t0k"
    assert state_from(header, https) == b"st"
    assert token_from(header, not https) is None
    assert state_from(header, not https) is None


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b";",
        b"nbgate-session",
        b"nbgate-session=",
        b"xnbgate-session=a",
        b"nbgate-sessionx=a",
        b"a=nbgate-session",
        b"NBGATE-SESSION=a",
    ],
)
def test_header_without_a_token_has_none(header: bytes) -> None:
    assert token_from(header, https=False) is None


@pytest.mark.parametrize("https", [True, False])
def test_cookies_of_courses_stand_beside_each_other_behind_the_general_one(https: bool) -> None:
    given = [
        session_cookie(token, https, course=course).split(";")[0]
        for token, course in (("a", "flotpython"), ("b", "flotbioinfo"), ("c", ""))
    ]
    header = "; ".join(given).encode()
    assert tokens_from(header, https) == [b"c", b"a", b"b"]
    assert tokens_from(header, not https) == []
    assert courses_from(header, https) == ["flotpython", "flotbioinfo"]
    assert token_from(header, https) == b"c"


def test_many_cookies_of_courses_do_not_hide_the_general_one() -> None:
    many = [f"nbgate-session~c{number}=x" for number in range(100)]
    header = "; ".join([*many, "nbgate-session=real"]).encode()
    found = tokens_from(header, https=False)
    assert found[0] == b"real"
    assert len(found) == 12
    assert len(tokens_from(header, https=False, most=100)) == 100


def test_cookie_of_a_course_is_found_among_very_many() -> None:
    many = [f"nbgate-session~c{number}=x{number}" for number in range(100)]
    header = "; ".join([*many, "nbgate-session~c99=other"]).encode()
    assert tokens_of_course(header, https=False, course="c99") == [b"x99", b"other"]
    assert tokens_of_course(header, https=False, course="c9") == [b"x9"]
    assert tokens_of_course(header, https=True, course="c99") == []


@pytest.mark.parametrize("https", [True, False])
def test_all_names_are_among_those_that_no_container_gets(https: bool) -> None:
    assert cookie_name(https).encode() in GATEWAY_COOKIES
    assert state_cookie("", https).split("=")[0].encode() in GATEWAY_COOKIES
