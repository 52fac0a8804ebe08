"""Whose word on people counts now: a session outlives the settings that it was begun under. Pure.

An issuer is what `Sessions.create` is told: a provider's URL, a word of ours, or None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gateway.launch.session_table import Principal
from gateway.launch.subjects import Naming

PROXY = "proxy"
"""The issuer of people whom a proxy in front has named."""


class _Row(Protocol):
    """What is stored of a session, as far as it is needed here."""

    id: str
    subject: str
    display_name: str
    administrator: bool
    issuer: str | None


@dataclass(frozen=True, slots=True)
class Vouchers:
    """See the module's docstring.

    Attributes:
        provider: who the people of the provider are; None without one.
        proxy: whether a proxy in front names people.
        anybody: whether nobody is asked.
    """

    provider: Naming | None = None
    proxy: bool = False
    anybody: bool = False

    def count(self, issuer: str | None) -> bool:
        """Whether the word of an issuer counts."""
        if self.anybody or issuer is None:
            return True
        if issuer == PROXY:
            return self.proxy
        if "://" in issuer:
            return self.provider is not None and issuer == self.provider.issuer
        return True

    def principal(self, row: _Row) -> Principal | None:
        """Return whose a stored session is now; None where nobody vouches for them any more.

        An administrator by a provider's word stays one while the settings say so. They make
        nobody one who was none when they signed in: the name may have been somebody else's then.
        """
        if not self.count(row.issuer):
            return None
        administrator = row.administrator
        if administrator and self.provider is not None and row.issuer == self.provider.issuer:
            administrator = self.provider.administers(row.subject)
        return Principal(row.subject, row.id, administrator, row.display_name)


ANY_WORD = Vouchers(anybody=True)
