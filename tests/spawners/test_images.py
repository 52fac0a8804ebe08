from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.errors import EngineError, InvalidInput
from gateway.spawners.engine import Engine
from gateway.spawners.images import build_image, build_lines


def test_lines_are_what_people_read() -> None:
    events: list[dict[str, Any]] = [
        {"stream": "Step 1/2 : FROM x\n"},
        {"stream": "\n"},
        {"status": "Pulling from library/python", "id": "3.13-slim"},
        {"status": "Downloading", "progressDetail": {"current": 1}, "id": "a"},
        {"aux": {"ID": "sha256:1"}},
    ]

    assert list(build_lines(iter(events))) == [
        "Step 1/2 : FROM x",
        "3.13-slim Pulling from library/python",
    ]


def test_failed_build_tells_its_last_words() -> None:
    with pytest.raises(EngineError, match="could not be built: pip failed"):
        list(build_lines(iter([{"stream": "Step 1"}, {"error": "pip failed\n"}])))


def test_answer_about_a_failed_build_is_read_to_its_end() -> None:
    """Its connection is given back then, and is lost else."""
    events = iter([{"error": "pip failed\n"}, {"stream": "a last word"}])

    with pytest.raises(EngineError):
        list(build_lines(events))

    assert list(events) == []


async def test_folder_without_dockerfile_is_named(tmp_path: Path) -> None:
    engine = Engine(f"unix://{tmp_path}/no.sock")
    with pytest.raises(InvalidInput, match=str(tmp_path)):
        await build_image(engine, tmp_path, "x:1", None, lambda _: None)
    await engine.close()
