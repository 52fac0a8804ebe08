"""A hot notebook of alice's, and people with sessions, as the gateway tells httpd of them."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from gateway.launch.cookies import edge_cookie_name
from routes.admission import EDGE_BYTES, OWNS, pair, person
from tests.front.upstream import Upstream
from tests.support.front import RouteFiles

SLUG, SECRET = "demo-x-alice", "5ec2e7"
KEY = f"/nb/{SLUG}"
PAGE = f"{KEY}/lab"
PEOPLE = ("alice", "bob", "teacher")


def edge_of(subject: str) -> str:
    """Return the edge id of somebody's session."""
    return sha256(subject.encode()).hexdigest()[: 2 * EDGE_BYTES]


def cookie(subject: str, *, https: bool = False, course: str = "") -> dict[str, str]:
    """Return the header with somebody's edge cookie."""
    return {"Cookie": f"{edge_cookie_name(https, course)}={edge_of(subject)}"}


def publish(
    routes: RouteFiles,
    notebook: Upstream,
    *,
    key: str = KEY,
    slug: str = SLUG,
    owner: str = "alice",
    people: Iterable[str] = PEOPLE,
    secret: str = SECRET,
) -> None:
    """Publish one hot notebook of `owner`, and sessions of `people`."""
    owned = pair(owner, slug)
    assert owned is not None
    routes.write(
        {key: notebook.address},
        {key: secret} if secret else {},
        {edge_of(one): person(one) for one in people},
        {owned: OWNS},
    )
