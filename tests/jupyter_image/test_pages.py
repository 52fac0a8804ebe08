"""What the image tells Lab's pages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nbgate_jupyter.pages import DOCUMENTS, page_config, settings, tell_pages


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("30", {DOCUMENTS: {"autosave": True, "autosaveInterval": 30.0}}),
        ("0.5", {DOCUMENTS: {"autosave": True, "autosaveInterval": 0.5}}),
        ("0", {DOCUMENTS: {"autosave": False}}),
        ("-1", {DOCUMENTS: {"autosave": False}}),
        ("nan", {DOCUMENTS: {"autosave": False}}),
        ("", {}),
        ("soon", {}),
    ],
)
def test_interval_of_autosave(text: str, told: object) -> None:
    assert settings({"NBGATE_AUTOSAVE": text}) == told


def test_nothing_is_told_that_is_not_known() -> None:
    assert settings({}) == {}
    assert page_config({}) == {}


def test_files_are_those_that_lab_reads(tmp_path: Path) -> None:
    folder = tmp_path / ".jupyter" / "labconfig"

    tell_pages({"NBGATE_SLUG": "demo-x-alice", "NBGATE_AUTOSAVE": "30"}, folder)

    assert json.loads((folder / "page_config.json").read_text()) == {"nbgateSlug": "demo-x-alice"}
    overrides = json.loads((folder / "default_setting_overrides.json").read_text())
    assert overrides == {DOCUMENTS: {"autosave": True, "autosaveInterval": 30.0}}


def test_server_starts_all_the_same_where_nothing_can_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()

    tell_pages({"NBGATE_SLUG": "demo"}, tmp_path / "file" / "labconfig")

    assert "pages are not told" in capsys.readouterr().err
