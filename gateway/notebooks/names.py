"""How things are called: slugs of projects and notebooks, and names of containers.

Pure functions over text; no I/O. A slug is a DNS label (RFC 1123, section 2.1), because in host
routing it is one.
"""

from __future__ import annotations

import base64
import hashlib
import re

from gateway.errors import InvalidInput

ADMINISTRATOR = "admin"
"""Who acts where nobody is named, with the management token; no person of a course is called so."""

LONGEST_SLUG = 63
LONGEST_PERSON = 255

# Names that people take for the installation's own, or that software asks for by itself.
RESERVED = frozenset(
    re.findall(
        r"\S+",
        """
        account admin administrator api assets auth autoconfig autodiscover broadcasthost cdn
        ftp gateway grafana health imap invalid isatap localhost login logout lti mail metrics nb
        nbgate none ns ns1 ns2 null oauth pop prometheus proxy root smtp sso static status
        undefined webmail well-known wpad www
        """,
    )
)

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_JOINT = "-x-"
_EACH_JOINT = re.compile(f"(?={_JOINT})")
# A doubled hyphen is in no slug that a person can choose, so it marks the shortened ones.
_HASHED = re.compile(r"[a-z0-9](?:-?[a-z0-9])*-x--[a-z2-7]{13}")
_READABLE = LONGEST_SLUG - len("-x--") - 13


def is_slug(text: str) -> bool:
    """Whether `text` has the form of a slug, chosen or derived; reserved names have it too."""
    if not 1 <= len(text) <= LONGEST_SLUG or not _LABEL.fullmatch(text):
        return False
    return "--" not in text or _HASHED.fullmatch(text) is not None


def check_slug(text: str) -> str:
    """Return `text` if people may choose it as a slug.

    Raises:
        InvalidInput: it is no DNS label, is reserved, or looks like a derived, shortened slug.
    """
    if not text:
        raise InvalidInput("a slug must not be empty; write for example genome-2024")
    if len(text) > LONGEST_SLUG:
        raise InvalidInput(
            f"{text[:20]!r}… has {len(text)} characters; a slug has at most {LONGEST_SLUG}"
        )
    if not _LABEL.fullmatch(text):
        raise InvalidInput(
            f"{text!r} is not a slug: it may have a-z, 0-9 and hyphens, and neither begins nor "
            f"ends with a hyphen{_suggestion(text)}"
        )
    if "--" in text:
        raise InvalidInput(f"{text!r} is not a slug: two hyphens in a row are the gateway's own")
    if text in RESERVED:
        raise InvalidInput(f"{text!r} is reserved; choose another slug")
    return text


def nearest_slug(text: str) -> str:
    """Return the slug that is like a text: `My_Course 3.2` → `my-course-3-2`; "" where none is."""
    return text if is_slug(text) else _hyphened(text)[:LONGEST_SLUG].strip("-")


def check_person(text: str) -> str:
    """Return `text` if it can name a person or group.

    Raises:
        InvalidInput: it is empty, longer than 255 characters, or has control characters, or
            blanks around it.
    """
    if not text or text != text.strip():
        raise InvalidInput(f"{text!r} cannot name a person: it is empty or has blanks around it")
    if len(text) > LONGEST_PERSON:
        raise InvalidInput(
            f"{text[:20]!r}… cannot name a person: it has more than {LONGEST_PERSON} characters"
        )
    if not text.isprintable():
        raise InvalidInput(f"{text!r} cannot name a person: it has unprintable characters")
    return text


def check_notebook_slug(slug: str, project: str, owner: str) -> str:
    """Return `slug` if a notebook of `project` and `owner` may have it.

    A slug with `-x-` inside is where somebody's own notebook in a course is looked for: only
    that notebook may have it.

    Raises:
        InvalidInput: it may not; the text says why.
    """
    if slug == notebook_slug(project, owner):
        return slug
    check_slug(slug)
    if len(slug) < 2:
        raise InvalidInput(f"{slug!r} is too short: the engine wants names of two characters")
    if _JOINT in slug:
        raise InvalidInput(
            f"{slug!r} is not for {owner!r} in project {project!r}: slugs with -x- inside are "
            f"made from course and person"
        )
    return slug


def notebook_slug(project: str, person: str) -> str:
    """Return the slug of the notebook of (project, person). Injective.

    `<project>-x-<person>` where it can be taken apart in one way only and has at most 63
    characters; else a readable rest and 65 bits of a SHA-256, `<readable>-x--<13 characters>`.

    Raises:
        InvalidInput: project or person is empty, too long or has control characters.
    """
    check_person(project)
    check_person(person)
    plain = f"{project}{_JOINT}{person}"
    if _is_plain(project) and _is_plain(person) and _can_be_split_once(plain):
        return plain
    return f"{_readable(project, person)}-x--{_digest(project, person)}"


def container_name(installation: str, slug: str) -> str:
    """Return the name of a notebook's container: exactly its slug.

    It does not depend on `installation`: people look for `flotbioinfo-x-mary`. Installations
    that share an engine are told apart by a label, and a taken name is refused by the spawner.
    """
    del installation
    return slug


def _is_plain(text: str) -> bool:
    return _LABEL.fullmatch(text) is not None and "--" not in text


def _can_be_split_once(plain: str) -> bool:
    # Overlapping joints count: `a-x-x-b` is (a, x-b) and (a-x, b).
    return len(plain) <= LONGEST_SLUG and len(_EACH_JOINT.findall(plain)) == 1


def _hyphened(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _readable(project: str, person: str) -> str:
    return _hyphened(f"{project}-{person}")[:_READABLE].strip("-") or "notebook"


def _digest(project: str, person: str) -> str:
    # check_person keeps NUL out of both, so the pair can be told from what is hashed.
    digest = hashlib.sha256(f"{project}\0{person}".encode()).digest()
    return base64.b32encode(digest).decode("ascii")[:13].lower()


def _suggestion(text: str) -> str:
    better = nearest_slug(text)
    return f"; write for example {better}" if better and better not in RESERVED else ""
