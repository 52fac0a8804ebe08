"""How people are named here whom somebody else vouches for: a provider, or a proxy in front.

Who vouches for one kind of people must not be able to name another kind, nor the administrator. So
a provider's people get names of their own, which hold the provider; a proxy's are local people, and
a provider's only where the operator said so. Pure.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.errors import InvalidInput
from gateway.notebooks.names import ADMINISTRATOR, check_person

_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who has just proved who they are.

    Attributes:
        subject: whose notebooks they get.
        display_name: what pages call them.
        administrator: whether every notebook is open to them.
    """

    subject: str
    display_name: str
    administrator: bool = False


@dataclass(frozen=True, slots=True)
class Naming:
    """Who the people of a provider are here.

    Attributes:
        issuer: the provider's URL.
        claim: that names a person at the provider.
        local: whether it names a local person, as `--person` does.
        administrators: values of the claim that name administrators.
    """

    issuer: str
    claim: str = "sub"
    local: bool = False
    administrators: frozenset[str] = frozenset()

    def person(self, claims: Mapping[str, Any]) -> Person:
        """Return whom a provider's claims mean.

        Raises:
            InvalidInput: nobody that can have a name here; the text is for the log.
        """
        value = claims.get(self.claim)
        if not isinstance(value, str):
            raise InvalidInput(f"the provider sent no claim {self.claim!r} that is a text")
        if self.claim == "email" and claims.get("email_verified") is not True:
            raise InvalidInput("the provider has not verified the person's email address")
        subject = self._subject(value)
        return Person(subject, _display_name(claims) or value, value in self.administrators)

    def administers(self, subject: str) -> bool:
        """Whether it is somebody whom `administrators` names."""
        for value in self.administrators:
            with contextlib.suppress(InvalidInput):
                if self._subject(value) == subject:
                    return True
        return False

    def _subject(self, value: str) -> str:
        return local_person(value) if self.local else foreign_person(self.issuer, value)


def local_person(value: str) -> str:
    """Return the subject of a local person whom somebody else names.

    Raises:
        InvalidInput: it could be taken for another kind of people: `moodle:mary` is a platform's,
            `plain/course:mary` a plain link's, the administrator nobody's.
    """
    if ":" in value or "/" in value or value == ADMINISTRATOR:
        raise InvalidInput(f"{value[:80]!r} cannot name a local person")
    return check_person(value)


def foreign_person(issuer: str, value: str) -> str:
    """Return the subject of a provider's person: `oidc/<provider>:<value>`.

    No link can mean it, for no platform's name has a slash.

    Raises:
        InvalidInput: it cannot name anybody.
    """
    check_person(value)
    return check_person(f"oidc/{issuer.partition('://')[2].rstrip('/')}:{value}")


def _display_name(claims: Mapping[str, Any]) -> str:
    for name in ("name", "preferred_username", "email"):
        if isinstance(value := claims.get(name), str) and (shown := presentable(value)):
            return shown
    return ""


def presentable(name: str) -> str:
    """Return a display name as pages may show it; "" where nothing is left of it."""
    return "".join(char for char in name if char.isprintable()).strip()[:_LONGEST_NAME]
