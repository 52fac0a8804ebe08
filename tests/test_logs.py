"""The form of log lines."""

from __future__ import annotations

import json
import logging

import pytest

from gateway.chp.logs import LineFormatter
from gateway.logs import JsonFormatter, TextFormatter

FORGED = "/user/a\n2026-01-31T12:00:00Z error gateway forged\r\x1b[2J\x85\u2028"


def record(**extras: str) -> logging.LogRecord:
    made = logging.makeLogRecord({"levelno": logging.INFO, "levelname": "INFO", **extras})
    made.name, made.msg, made.args = "gateway.x", "Route added %s é", (FORGED,)
    return made


@pytest.mark.parametrize("formatter", [TextFormatter(), LineFormatter()])
def test_nobody_forges_a_line(formatter: logging.Formatter) -> None:
    line = formatter.format(record(key=FORGED))
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    assert r"Route added /user/a\n2026" in line
    assert "é" in line


def test_json_tells_the_text_as_it_is() -> None:
    line = JsonFormatter().format(record())
    assert len(line.splitlines()) == 1
    assert json.loads(line)["message"] == f"Route added {FORGED} é"
