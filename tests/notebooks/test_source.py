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
