"""An answer that breaks in the very bytes that its head came in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proxy.test_smuggled_responses import CUT_OFF, Liar, both_asked

EVERY_LOOP = True


@pytest.mark.parametrize("name", CUT_OFF)
async def test_head_of_a_broken_answer_is_shown(tmp_path: Path, name: str) -> None:
    # Browsers send a request again, be it a POST, when a used connection ends without a byte.
    found, _ = await both_asked(tmp_path, Liar(CUT_OFF[name], "whole", ends=True))
    assert [(answer.status, answer.complete) for answer in found] == [(200, False)]
