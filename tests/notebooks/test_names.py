"""Slugs: what people may choose, and what is derived from (project, person)."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import InvalidInput
from gateway.notebooks.names import (
    RESERVED,
    check_notebook_slug,
    check_person,
    check_slug,
    container_name,
    is_slug,
    nearest_slug,
    notebook_slug,
)

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

# What collides if anything does: pieces that look like the joint, in all orders.
_tricky = st.lists(st.sampled_from(["a", "b", "x", "-", "-x-", "--", "A", "é", " b", "_", "."]))
_names = st.one_of(
    _tricky.map("".join),
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?", fullmatch=True),
    st.text(min_size=1, max_size=80),
).filter(lambda text: 0 < len(text) < 256 and text == text.strip() and text.isprintable())


@given(first=st.tuples(_names, _names), second=st.tuples(_names, _names))
@example(first=("a", "b-x-c"), second=("a-x-b", "c"))
@example(first=("a-x", "b"), second=("a", "x-b"))
@example(first=("a", "Mary"), second=("a", "mary"))
@example(first=("a", "josé"), second=("a", "jose"))
@example(first=("a", "jose\u0301"), second=("a", "josé"))
@example(first=("a", "b.c"), second=("a", "b-c"))
@example(first=("a", "b" * 70), second=("a", "b" * 71))
def test_different_pairs_have_different_slugs(
    first: tuple[str, str], second: tuple[str, str]
) -> None:
    assert (notebook_slug(*first) == notebook_slug(*second)) == (first == second)


@given(_names, _names)
def test_each_slug_is_a_dns_label_that_is_recognised(project: str, person: str) -> None:
    slug = notebook_slug(project, person)
    assert _LABEL.fullmatch(slug)
    assert is_slug(slug)
    assert slug not in RESERVED
    # RFC 5891, 4.2.3.1: two hyphens there would make it an internationalised name.
    assert slug[2:4] != "--"


@given(_names, _names, st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True))
def test_slug_that_people_choose_is_never_a_shortened_one(
    project: str, person: str, chosen: str
) -> None:
    derived = notebook_slug(project, person)
    if "--" in derived:
        with pytest.raises(InvalidInput):
            check_slug(derived)
    if "--" in chosen:
        with pytest.raises(InvalidInput):
            check_slug(chosen)


@pytest.mark.parametrize(
    ("project", "person", "slug"),
    [
        ("flotbioinfo", "mary", "flotbioinfo-x-mary"),
        ("python-3", "anne-marie", "python-3-x-anne-marie"),
        ("a", "x", "a-x-x"),
    ],
)
def test_plain_pair_is_readable(project: str, person: str, slug: str) -> None:
    assert notebook_slug(project, person) == slug


@pytest.mark.parametrize(
    ("project", "person", "beginning"),
    [
        ("a", "b-x-c", "a-b-x-c-x--"),
        ("demo", "Mary Ann", "demo-mary-ann-x--"),
        ("demo", "josé", "demo-jos-x--"),
        ("курс", "мария", "notebook-x--"),
        ("demo", "m" * 60, "demo-mmm"),
    ],
)
def test_other_pair_keeps_a_readable_part(project: str, person: str, beginning: str) -> None:
    slug = notebook_slug(project, person)
    assert slug.startswith(beginning)
    assert re.search(r"-x--[a-z2-7]{13}$", slug)


def test_slug_of_63_characters_is_plain_and_of_64_is_shortened() -> None:
    assert notebook_slug("a", "b" * 59) == "a-x-" + "b" * 59
    assert len(notebook_slug("a", "b" * 60)) == 63
    assert "--" in notebook_slug("a", "b" * 60)


@pytest.mark.parametrize("person", ["", " mary", "mary\n", "ma\0ry", "m" * 256, "\ud800"])
def test_person_that_cannot_be_named_is_refused(person: str) -> None:
    with pytest.raises(InvalidInput, match="cannot name a person"):
        notebook_slug("demo", person)


@pytest.mark.parametrize("person", ["mary", "Mary Ann", "josé", "mary@example.org", "m" * 255])
def test_usual_persons_are_accepted(person: str) -> None:
    assert check_person(person) == person


@pytest.mark.parametrize("slug", ["a", "genome-2024", "0", "a" * 63, "a-x-b"])
def test_usual_slug_is_accepted(slug: str) -> None:
    assert check_slug(slug) == slug


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must not be empty"),
        ("a" * 64, "at most 63"),
        ("Genome", "for example genome"),
        ("my genome", "for example my-genome"),
        ("-a", "neither begins nor ends with a hyphen"),
        ("a-", "neither begins nor ends with a hyphen"),
        ("josé", "is not a slug"),
        ("a.b", "is not a slug"),
        ("a/b", "is not a slug"),
        ("a\n", "is not a slug"),
        ("xn--caf-dma", "two hyphens"),
        ("gateway", "reserved"),
        ("nb", "reserved"),
        ("www", "reserved"),
    ],
)
def test_unusable_slug_says_why(text: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        check_slug(text)


def test_derived_slug_belongs_to_its_pair_alone() -> None:
    assert check_notebook_slug("demo-x-mary", "demo", "mary") == "demo-x-mary"
    shortened = notebook_slug("demo", "Mary")
    assert check_notebook_slug(shortened, "demo", "Mary") == shortened
    with pytest.raises(InvalidInput, match="'bob' in project 'demo'"):
        check_notebook_slug("demo-x-mary", "demo", "bob")
    with pytest.raises(InvalidInput, match="two hyphens"):
        check_notebook_slug(shortened, "demo", "bob")


def test_slug_too_short_for_a_container_is_refused() -> None:
    with pytest.raises(InvalidInput, match="too short"):
        check_notebook_slug("a", "demo", "mary")


def test_container_is_called_like_its_slug() -> None:
    assert container_name("0123abcd", "flotbioinfo-x-mary") == "flotbioinfo-x-mary"


@pytest.mark.parametrize("text", ["", "..", ".new-a", "a/b", "A", "a--b", "a" * 64, "a\0"])
def test_what_is_no_slug_is_not_recognised_as_one(text: str) -> None:
    assert not is_slug(text)


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("flotbioinfo", "flotbioinfo"),
        ("My_Course", "my-course"),
        ("python3.2", "python3-2"),
        ("PythonDataScienceHandbook", "pythondatasciencehandbook"),
        ("a__b-", "a-b"),
        ("A" * 70, "a" * 63),
        ("课", ""),
    ],
)
def test_nearest_slug_of_a_text(text: str, slug: str) -> None:
    assert nearest_slug(text) == slug
