"""Log lines on standard output, in the form that callers of configurable-http-proxy look for."""

from __future__ import annotations

import logging
import sys
import time

from gateway.logs import one_line

_LEVELS = {"debug": "DEBUG", "info": "INFO", "warn": "WARNING", "error": "ERROR"}
_NAMES = {"WARNING": "warn", "CRITICAL": "error"}


class LineFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z [ConfigProxy] info: message`; control characters are escaped."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, followed by the traceback if there is one."""
        stamp = f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z"
        level = _NAMES.get(record.levelname, record.levelname.lower())
        line = f"{stamp} [ConfigProxy] {level}: {one_line(record.getMessage())}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(level: str) -> None:
    """Send the log to standard output, from `level` (debug, info, warn, error) upwards."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=_LEVELS[level.lower()], handlers=[handler], force=True)
    for noisy in ("asyncio", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
