"""The links that LMS pages hold: their shapes, and what each of them asks for. Pure.

The shapes are those of nbhosting, which courses on FUN and Moodle contain; `/gateway/open/…` is
ours. Course and student are one segment each, a notebook may be in folders, and a trailing slash
means nothing.
"""

from __future__ import annotations

import enum
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.launch.signatures import is_signed
from gateway.launch.targets import Target, quoted_path, quoted_query, read_target
from gateway.notebooks.model import LinkPage
from gateway.notebooks.names import nearest_slug

ANYBODY = "student"
"""What Studio, the editor of Open edX, writes in place of a student's id."""

FORCE_COPY = "forcecopy"

_OURS, _AUDITOR = "gateway", "auditor"
# In no id that a plain link may have.
_NAMELESS = "~"
_WORD = re.compile(r"\w[\w.-]{0,127}")
_SLASH = re.compile(r"%2f", re.IGNORECASE)
_DOUBLED = re.compile(r"(\.ipynb){0,2}$")
_KNOWN_ENDINGS = (".ipynb", ".py", ".md")


class Kind(enum.Enum):
    """What a link asks for."""

    OPEN = "open a notebook of one's own"
    CLONE = "open it in a clone of the course's repository"
    FORWARD = "open a page of Jupyter"
    STATIC = "read the course's notebook"
    SHARE = "share a read-only copy"
    STOP = "stop one's server"


SHAPES: dict[tuple[str, ...], Kind] = {
    (_OURS, "open"): Kind.OPEN,
    ("ipythonExercice",): Kind.OPEN,
    ("notebookLazyCopy",): Kind.OPEN,
    ("notebookGitRepo",): Kind.CLONE,
    ("ipythonForward",): Kind.FORWARD,
    ("ipythonShare",): Kind.SHARE,
    ("ipythonStaticNotebook",): Kind.STATIC,
    (_AUDITOR, "notebook"): Kind.STATIC,
    ("containerKill",): Kind.STOP,
}


@dataclass(frozen=True, slots=True)
class DeepLink:
    """What a link asks for.

    Attributes:
        kind: which of the shapes.
        course: the name of a project, which is a slug: `My_Course` in a link is `my-course`.
        student: an id, as the link has it; "" for a link that names nobody.
        parts: folders and name of the notebook, or the page of Jupyter; empty for the front page,
            or for all of a course that is read.
    """

    kind: Kind
    course: str
    student: str
    parts: tuple[str, ...]

    @property
    def opens(self) -> bool:
        """Whether it asks for a notebook of one's own."""
        return self.kind in (Kind.OPEN, Kind.CLONE)

    @property
    def candidates(self) -> list[str]:
        """The files that the link may mean, in order: endings are often doubled or missing."""
        if not self.parts:
            return []
        base = _DOUBLED.sub("", "/".join(self.parts))
        if not base or base.endswith("/"):
            return []
        tries = [base + ending for ending in _KNOWN_ENDINGS]
        return [*tries, base] if base.endswith((".py", ".md")) else tries


def target_of(raw: str) -> Target:
    """Return what the address of a link says; see read_target.

    An encoded slash is a slash, as it was to nbhosting; but what is signed holds none.
    """
    path, mark, query = raw.partition("?")
    target = read_target(_SLASH.sub("/", path) + mark + query)
    return read_target(raw) if is_signed(target) else target


def read_link(target: Target) -> DeepLink | None:
    """Return what a link asks for, or None if it has no shape that we know."""
    segments = target.segments[:-1] if target.segments[-1] == "" else target.segments
    for prefix, kind in SHAPES.items():
        if segments[: len(prefix)] == prefix:
            return _read(kind, segments[len(prefix) :], prefix[0])
    return None


def _read(kind: Kind, rest: Sequence[str], word: str) -> DeepLink | None:
    named, *parts = rest or ("",)
    course = nearest_slug(named)
    if not course or not (parts or word == _AUDITOR):
        return None
    if kind is Kind.STATIC:
        return DeepLink(kind, course, "", tuple(parts))
    if kind is Kind.STOP:
        return DeepLink(kind, course, parts[0], ()) if len(parts) == 1 else None
    if kind is Kind.FORWARD:
        return DeepLink(kind, course, parts[0], tuple(parts[1:]))
    if len(parts) == 1 and word != _OURS:
        return None
    return DeepLink(kind, course, parts[-1], tuple(parts[:-1]))


def is_plain_id(student: str) -> bool:
    """Whether a plain link may name a student so."""
    return _WORD.fullmatch(student) is not None


def plain_subject(course: str, student: str) -> str:
    """Return whom a plain link means: nobody that any other way in knows."""
    return f"plain/{course}:{student}"


def passer_by(course: str) -> str:
    """Return a new somebody who has no name: an ephemeral space, which is theirs alone."""
    return plain_subject(course, f"{ANYBODY}{_NAMELESS}{secrets.token_hex(8)}")


def is_passer_by(subject: str) -> bool:
    """Whether it is one of `passer_by`."""
    return subject.startswith("plain/") and f":{ANYBODY}{_NAMELESS}" in subject


def course_of(subject: str) -> str:
    """Return in which course somebody is who exists in one alone: `plain/…`, `course/…`."""
    return subject.partition(":")[0].partition("/")[2]


def has_plain_id(subject: str) -> bool:
    """Whether it is somebody whom an id of a plain link names."""
    return subject.startswith("plain/") and not is_passer_by(subject)


def means(student: str, subject: str, course: str) -> bool:
    """Whether a link that names `student` may mean the person of a session.

    Args:
        student: as the link has it.
        subject: the session's.
        course: the link's; people of plain links exist in their own course alone.
    """
    if subject.startswith(("plain/", "course/")) and course_of(subject) != course:
        return False
    if is_passer_by(subject):
        return student == ANYBODY
    return student in (subject, subject.partition(":")[2])


def page_of(link: DeepLink, file: str | None, page: LinkPage) -> str:
    """Return where Jupyter shows what the link asks for, below its base URL.

    Args:
        link: what is asked for.
        file: relative to the space; None for none.
        page: which page of Jupyter the course wants.
    """
    if link.kind is Kind.FORWARD:
        return quoted_path(link.parts)[1:] or "tree"
    if file is None:
        return "lab" if page is LinkPage.LAB else "tree"
    place = quoted_path(file.split("/"))
    if page is LinkPage.LAB:
        return f"lab/tree{place}"
    return f"notebooks{place}" if file.endswith(".ipynb") else f"edit{place}"


def query_of(target: Target) -> str:
    """Return the query that is passed on to Jupyter: all but what is ours, and no token."""
    return quoted_query(target.without(frozenset((FORCE_COPY, "token"))).parameters)
