"""What can be written as a project's source."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import InvalidInput
from gateway.notebooks.source import Source


def test_no_source_is_none() -> None:
    assert Source.parse(None) is None


def test_absolute_path_is_a_folder_whatever_is_in_it() -> None:
    assert Source.parse("/srv/course #1") == Source(folder=Path("/srv/course #1"))


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/jakevdp/PythonDataScienceHandbook",
        "ssh://git@example.org:2222/course.git",
        "git://example.org/course.git",
        "file:///srv/course.git",
        "git@github.com:jakevdp/PythonDataScienceHandbook.git",
    ],
)
def test_git_url_is_a_repository(url: str) -> None:
    assert Source.parse(url) == Source(url=url)
    assert Source.parse(f"{url}#2024/spring") == Source(url=url, ref="2024/spring")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "course",
        "../course",
        "http://example.org/course.git",
        "ext::sh -c touch% /tmp/x",
        "--upload-pack=touch /tmp/x",
        "git@example.org:-oProxyCommand=x",
        "https://example.org/a b",
        "/srv/\0course",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="neither an absolute folder nor a git URL"):
        Source.parse(text)


@pytest.mark.parametrize("ref", ["", "-x", "a b", "a..b", "--upload-pack=x"])
def test_ref_that_git_could_misread_is_refused(ref: str) -> None:
    with pytest.raises(InvalidInput, match="not a branch or tag"):
        Source.parse(f"https://example.org/course.git#{ref}")


def test_text_of_a_source_leaves_the_password_out() -> None:
    source = Source.parse("https://mary:s3cret@example.org/course.git#main")
    assert str(source) == "https://mary:***@example.org/course.git#main"
    with pytest.raises(InvalidInput) as caught:
        Source.parse("http://mary:s3cret@example.org/course.git")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://s3cret@example.org/x.git", "https://***@example.org/x.git"),
        ("https://mary:s3@cret@example.org/x.git", "https://mary:***@example.org/x.git"),
        ("https://example.org/x.git?private_token=s3cret", "https://example.org/x.git?***"),
        ("ssh://git@example.org/x.git", "ssh://git@example.org/x.git"),
        ("ssh://git:s3cret@example.org/x.git", "ssh://git:***@example.org/x.git"),
        ("file:///srv/a?b@c.git", "file:///srv/a?b@c.git"),
    ],
)
def test_text_of_a_source_leaves_tokens_out(url: str, text: str) -> None:
    assert str(Source(url=url, ref="main")) == f"{text}#main"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://example.org/course.git", "https://example.org/course.git"),
        ("https://token@example.org/a@b.git", "https://example.org/a@b.git"),
        ("https://mary:s3@cret@example.org/x.git", "https://example.org/x.git"),
        ("https://example.org/x.git?private_token=s3cret", "https://example.org/x.git"),
        ("ssh://git:s3cret@example.org:2222/x.git", "ssh://git@example.org:2222/x.git"),
        ("ssh://git@example.org:2222/x.git", "ssh://git@example.org:2222/x.git"),
        ("git@example.org:course.git", "git@example.org:course.git"),
        ("file:///srv/a@b.git", "file:///srv/a@b.git"),
    ],
)
def test_students_get_the_address_without_credentials(url: str, address: str) -> None:
    assert Source(url=url).address == address


def test_folder_has_no_address() -> None:
    assert Source(folder=Path("/srv/course")).address == ""
