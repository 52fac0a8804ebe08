"""Who Jupyter takes a person for, and what it calls them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from nbgate_jupyter.identity import HopIdentityProvider

SECRET = "s3cret"
SUBJECT = "oidc/login.example.org/realms/ours:1234"


@pytest.fixture
def provider() -> HopIdentityProvider:
    return HopIdentityProvider(hop_secret=SECRET, token="")


def request(subject: str = "", name: str = "", secret: str = SECRET) -> Any:
    """Return a handler of a request as it comes from the gateway."""
    told = {"X-Nbgate-User": quote(subject), "X-Nbgate-User-Name": quote(name, errors="replace")}
    headers = {"Authorization": f"token {secret}"} | {
        key: text for key, text in told.items() if text
    }
    return SimpleNamespace(request=SimpleNamespace(headers=headers))


def test_person_has_the_name_that_was_told_and_is_known_by_the_subject(
    provider: HopIdentityProvider,
) -> None:
    ada = provider.get_user(request(SUBJECT, "Ada Lovelace"))
    assert (ada.username, ada.name, ada.display_name, ada.initials) == (
        SUBJECT,
        "Ada Lovelace",
        "Ada Lovelace",
        "AL",
    )


@pytest.mark.parametrize(
    ("subject", "shown"),
    [
        (SUBJECT, "1234"),
        ("course/demo:ada", "ada"),
        ("moodle:ada lovelace", "ada lovelace"),
        ("ada@example.org", "ada@example.org"),
        ("odd:", "odd:"),
        ("", "anonymous"),
    ],
)
def test_without_a_name_what_can_be_read_of_the_subject_is_shown(
    provider: HopIdentityProvider, subject: str, shown: str
) -> None:
    person = provider.get_user(request(subject))
    assert (person.username, person.display_name) == (subject or "anonymous", shown)


def test_name_that_was_told_last_counts_where_none_is_told(provider: HopIdentityProvider) -> None:
    for name in ("Ada Byron", "Ada Lovelace"):
        provider.get_user(request(SUBJECT, name))
    assert provider.get_user(request(SUBJECT)).display_name == "Ada Lovelace"
    assert provider.get_user(request("course/demo:1234")).display_name == "1234"


def test_few_names_are_remembered(provider: HopIdentityProvider) -> None:
    for number in range(1000):
        provider.get_user(request(f"p{number}", f"Person {number}"))
    shown = [provider.get_user(request(f"p{number}")).display_name for number in range(1000)]
    assert shown[-1] == "Person 999"
    assert shown[0] == "p0"
    assert sum(name.startswith("Person") for name in shown) <= 100


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("A\x00d\r\na", "Ada"),
        ("\u202eada\u200f \u2066x\u2069", "ada x"),
        ("<script>x</script>", "<script>x</script>"),
        ("é" * 10_000, "é" * 200),
        ("\x07\u200b ", "ada"),
        ("\ud800", "?"),
    ],
)
def test_hostile_names_are_bounded_text_without_control_characters(
    provider: HopIdentityProvider, name: str, shown: str
) -> None:
    person = provider.get_user(request("course/demo:ada", name))
    assert person.display_name == shown
    assert len(person.initials or "") <= 4


@pytest.mark.parametrize("secret", ["", "wrong", f"{SECRET}x"])
def test_nobody_is_named_by_who_has_not_the_secret(
    provider: HopIdentityProvider, secret: str
) -> None:
    stranger = request("ada", "Ada", secret)
    assert not provider._from_gateway(stranger)
    assert provider._person(stranger).display_name == "anonymous"
