"""Who this installation is: its id, the key its secrets are derived from, and its token."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from gateway.errors import InvalidInput
from gateway.notebooks import private

_FILE = "identity.json"
_INSTALLATION = re.compile(r"[0-9a-f]{8}")
_KEY = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"[\x21-\x7e]{32,512}")


@dataclass(frozen=True, slots=True)
class Identity:
    """The installation's identity; gateways that share an engine share it.

    Attributes:
        installation: 8 hexadecimal digits; a label on everything made on the engine.
        key: 32 bytes; secrets are derived from it, it is never sent anywhere.
    """

    installation: str
    key: bytes = field(repr=False)

    @classmethod
    def load(cls, state_dir: Path) -> Self:
        """Return the identity in `state_dir`, made with mode 0600 where there is none.

        Raises:
            InvalidInput: the file is damaged, or open to others.
            GatewayError: it cannot be read or made.
        """
        path = state_dir / _FILE
        fresh = {"installation": secrets.token_hex(4), "key": secrets.token_hex(32)}
        return cls._parse(path, private.load_or_create(path, json.dumps(fresh).encode() + b"\n"))

    @classmethod
    def _parse(cls, path: Path, content: bytes) -> Self:
        try:
            found = json.loads(content)
            installation, key = found["installation"], found["key"]
            if not (_INSTALLATION.fullmatch(installation) and _KEY.fullmatch(key)):
                raise ValueError("installation or key has the wrong form")
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInput(
                f"{path} is damaged; put it back from a backup, or move it away for a new "
                f"identity (running notebooks then no longer count as this gateway's)"
            ) from error
        return cls(installation, bytes.fromhex(key))

    def derive(self, purpose: str, slug: str, generation: int) -> str:
        """Return a secret for one generation of a notebook: HMAC-SHA-256, 64 hex digits.

        It is the same after a restart and at each gateway that shares the key, so it need
        not be stored.
        """
        message = json.dumps([purpose, slug, generation]).encode()
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()


def load_or_create_token(path: Path) -> str:
    """Return the token in the file `path`, made with mode 0600 where there is none.

    Raises:
        InvalidInput: the file holds no token, or is open to others.
        GatewayError: it cannot be read or made.
    """
    content = private.load_or_create(path, secrets.token_urlsafe(32).encode() + b"\n")
    token = content.decode("ascii", "replace").strip()
    if not _TOKEN.fullmatch(token):
        raise InvalidInput(
            f"{path} holds no token (one line of at least 32 characters); remove it, and the "
            f"gateway makes a new one at its next start"
        )
    return token
