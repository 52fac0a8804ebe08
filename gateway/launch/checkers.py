"""Names of people who only try a course's links: made by the gateway, and known again by it.

A name holds a proof that the installation made it, so nobody else's can pass for one, however
somebody calls themselves: whoever has such a name may be removed with all files.
"""

from __future__ import annotations

import hmac
import re
import secrets

from gateway.launch.linkkeys import LinkKeys

_FORM = re.compile(r"nbgate-check-([0-9a-f]{8})-([0-9a-f]{16})")


class Checkers:
    """See the module's docstring.

    Args:
        keys: of the installation.
    """

    def __init__(self, keys: LinkKeys) -> None:
        self._keys = keys

    def new(self) -> str:
        """Return a name that nobody had, and that a plain link may have."""
        nonce = secrets.token_hex(4)
        return f"nbgate-check-{nonce}-{self._proof(nonce)}"

    def made(self, name: str) -> bool:
        """Whether a name, or the person that a link makes of it, is one of `new`."""
        found = _FORM.fullmatch(name.rpartition(":")[2])
        return found is not None and hmac.compare_digest(self._proof(found[1]), found[2])

    def _proof(self, nonce: str) -> str:
        # No key's id has a blank, so this is no key's secret.
        return self._keys.secret(f"check {nonce}")[:16]
