"""The words of the pages: complete in each language, and the right one is chosen."""

from __future__ import annotations

import json
import string
from pathlib import Path

import pytest

from gateway.activation.progress import Phase, StartStatus
from gateway.spawners.base import Pull
from gateway.web.language import load, words_for
from gateway.web.telling import told

FILES = sorted((Path(__file__).parents[2] / "gateway/web/words").glob("*.json"))
CAUSES = (
    "image-missing",
    "engine-unavailable",
    "engine",
    "name-taken",
    "out-of-memory",
    "exited",
    "timeout",
    "removed",
    "impostor",
    "withdrawn",
)


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_language_has_all_words_with_the_same_places(file: Path) -> None:
    english = json.loads(FILES[0].with_name("en.json").read_text("utf-8"))
    words = json.loads(file.read_text("utf-8"))
    assert words.keys() == english.keys()
    for key, text in words.items():
        assert text.strip(), key
        assert places(text) == places(english[key]), key


@pytest.mark.parametrize(
    ("header", "tag"),
    [
        ("", "en"),
        ("fr", "fr"),
        ("fr-CH, fr;q=0.9, en;q=0.8", "fr"),
        ("de, en;q=0.3, fr;q=0.7", "fr"),
        ("en-GB,en;q=0.9,fr;q=0.8", "en"),
        ("fr;q=0, en;q=0.1", "en"),
        ("xx, *", "en"),
        ("fr;q=nonsense", "en"),
        (";;;,,q=1," * 100, "en"),
    ],
)
def test_best_language_that_there_is(header: str, tag: str) -> None:
    assert words_for(header).tag == tag


@pytest.mark.parametrize("words", load().values(), ids=lambda words: words.tag)
def test_each_phase_and_cause_has_words(words: object) -> None:
    spoken = load()[getattr(words, "tag", "")]
    steps = {told(StartStatus(phase), spoken)["step"] for phase in Phase}
    assert len(steps) == len(Phase)
    pull = told(StartStatus(Phase.CREATING, pull=Pull(0, 0)), spoken)
    assert pull["progress"] is None
    assert pull["step"] != told(StartStatus(Phase.CREATING), spoken)["step"]
    other = told(StartStatus(Phase.FAILED, cause="no such"), spoken)["detail"]
    details = {told(StartStatus(Phase.FAILED, cause=one), spoken)["detail"] for one in CAUSES}
    assert len(details | {other}) == len(CAUSES) + 1


@pytest.mark.parametrize(("code", "hint"), [(137, "memory"), (127, "not found"), (3, "ended")])
def test_exit_code_is_explained(code: int, hint: str) -> None:
    reason = f"it ended with exit code {code} while it started"
    status = StartStatus(Phase.FAILED, reason=reason, cause="exited")
    answer = told(status, words_for("en"))
    assert hint in str(answer["detail"])
    assert answer["again_in"] is None


def test_engine_that_is_away_is_asked_again() -> None:
    status = StartStatus(Phase.FAILED, cause="engine-unavailable", retry_after=8.0)
    assert told(status, words_for("en"))["again_in"] == 8.0
