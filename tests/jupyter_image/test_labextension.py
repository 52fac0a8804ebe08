"""What Lab loads into pages is named by its content, and is complete."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from tests.jupyter_image.conftest import FOLDER

EXTENSION = FOLDER / "labextensions" / "nbgate"
SCRIPTS = sorted((EXTENSION / "static").glob("*.js"))


def test_browsers_are_told_by_the_version_that_a_script_is_another() -> None:
    """They keep scripts for long; write this version into package.json when one has changed."""
    content = b"".join(script.read_bytes() for script in SCRIPTS)
    load = json.loads((EXTENSION / "package.json").read_text())["jupyterlab"]["_build"]["load"]

    assert load == f"static/remoteEntry.js?v={hashlib.sha256(content).hexdigest()[:12]}"


def test_page_waits_for_little() -> None:
    assert (EXTENSION / "static" / "remoteEntry.js").stat().st_size < 4096
    assert sum(script.stat().st_size for script in SCRIPTS) < 32768


def test_parts_that_are_loaded_are_there() -> None:
    entry = (EXTENSION / "static" / "remoteEntry.js").read_text()
    (names,) = re.findall(r"const parts = (\[.*?\])", entry)

    assert {f"{name}.js" for name in json.loads(names)} | {"remoteEntry.js"} == {
        script.name for script in SCRIPTS
    }


def test_each_language_has_all_words() -> None:
    words = (EXTENSION / "static" / "words.js").read_text()
    english, french = re.findall(r"^const [A-Z]+ = \{$(.*?)^\};$", words, re.MULTILINE | re.DOTALL)
    keys = [re.findall(r"^  (\w+):", language, re.MULTILINE) for language in (english, french)]

    assert keys[0] == keys[1]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_no_word_is_used_that_is_not_there(script: Path) -> None:
    words = (EXTENSION / "static" / "words.js").read_text()
    known = set(re.findall(r"^  (\w+):", words, re.MULTILINE))
    used = set(re.findall(r"\bwords\.(?!js\b)(\w+)", script.read_text()))

    assert used <= known
