"""What the manual says besides configuration: options and references."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from gateway.chp.flags import add_options

DOCS = Path(__file__).resolve().parents[2] / "docs"
MANUAL = (DOCS / "jupyterhub.md").read_text(encoding="utf-8")
OF_OTHERS = {"--system", "--home-dir", "--shell", "--now"}


def test_options_in_the_manual_are_those_of_the_command() -> None:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_options(parser)
    known = set(re.findall(r"--[a-z][a-z-]+", parser.format_help()))
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", MANUAL)) - OF_OTHERS
    assert named
    assert named <= known


def test_references_in_the_manual_lead_somewhere() -> None:
    found = re.findall(r"\]\(([\w.-]+)(?:#([\w-]+))?\)", MANUAL)
    assert found
    for file, anchor in found:
        text = (DOCS / file).read_text(encoding="utf-8")
        titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
        assert not anchor or anchor in anchors, (file, anchor)
