"""Small files that only the gateway's own user may read: the key and the tokens."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import stat
from pathlib import Path

from gateway.errors import GatewayError, InvalidInput

logger = logging.getLogger(__name__)


def load_or_create(path: Path, fresh: bytes) -> bytes:
    """Return the content of `path`; where there is no such file, write `fresh` to it first.

    The file is made with mode 0600 and appears complete or not at all; of two gateways that
    make it at once, both get what the first one wrote.

    Raises:
        InvalidInput: others may read or write the file.
        GatewayError: it cannot be read or made.
    """
    try:
        if not path.exists():
            _create(path, fresh)
        return _read(path)
    except OSError as error:
        raise GatewayError(
            f"{path}: {error.strerror}; it must be readable and writable for the gateway's user"
        ) from error


def _create(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # A link, not a rename: it never replaces what another gateway made meanwhile.
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o007:
            raise InvalidInput(
                f"{path}: everybody may read or write it (mode {mode:04o}); chmod 600 it"
            )
        if mode & 0o070:
            logger.warning("a secret is open to a group file=%s mode=%04o", path, mode)
        return file.read(65536)
