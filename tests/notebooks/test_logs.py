"""Each notebook's own logger."""

from __future__ import annotations

import logging

import pytest

from gateway.notebooks.logs import logger_of


def test_record_has_the_slug_in_its_logger_and_as_a_field(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        logger_of("demo-x-mary").info("started container=%s", "ab12", extra={"seconds": 1.5})
    (record,) = caplog.records
    assert record.name == "nbgate.notebook.demo-x-mary"
    assert record.getMessage() == "started container=ab12"
    assert record.__dict__["slug"] == "demo-x-mary"
    assert record.__dict__["seconds"] == 1.5
