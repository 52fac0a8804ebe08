"""The form of log lines on standard error: `key=value` text, or one JSON object a line."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from typing import Literal

_BARE = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def one_line(text: str) -> str:
    """Return `text` with its control characters escaped: nobody may forge lines of a log."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


class _Utc(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def _extras(self, record: logging.LogRecord) -> dict[str, object]:
        return {name: value for name, value in vars(record).items() if name not in _BARE}


class TextFormatter(_Utc):
    """`2026-01-31T12:00:00Z info gateway.app message key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, followed by the traceback if there is one."""
        stamp = self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ")
        extras = "".join(f" {name}={value}" for name, value in self._extras(record).items())
        level = record.levelname.lower()
        text = one_line(f"{record.getMessage()}{extras}")
        line = f"{stamp} {level} {record.name} {text}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(_Utc):
    """One JSON object a line: time, level, logger, message, and the record's extras."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; a traceback is its `exception` member."""
        members: dict[str, object] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._extras(record),
        }
        if record.exc_info:
            members["exception"] = self.formatException(record.exc_info)
        return json.dumps(members, default=str)


def configure(level: str, form: Literal["text", "json"]) -> None:
    """Send the log to standard error, in one form, from `level` upwards."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("alembic", "aiohttp.access", "urllib3", "docker", "aiosqlite"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
