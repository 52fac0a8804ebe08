"""The file with the process id, for those who signal the proxy by it."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

from gateway.errors import InvalidInput

logger = logging.getLogger(__name__)


def write_pid(path: str, stack: contextlib.AsyncExitStack | contextlib.ExitStack) -> None:
    """Write this process's id to a file until the stack is left. Raises InvalidInput."""
    if not path:
        return
    file = Path(path)
    try:
        file.write_text(str(os.getpid()), encoding="ascii")
    except OSError as error:
        raise InvalidInput(f"--pid-file: cannot write {path}: {error.strerror}") from error
    logger.info("Writing pid %s to %s", os.getpid(), path)
    stack.callback(file.unlink, missing_ok=True)
