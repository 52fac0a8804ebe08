"""The signers that others copy: in each language they make the links that nbgate takes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.launch.signatures import claim_of, is_good, signed_text
from gateway.launch.targets import read_target
from tests.support.engine import ROOT
from tests.support.waiting import PATIENCE

SIGNERS = ROOT / "docs" / "signers"
VECTORS: list[dict[str, Any]] = json.loads((SIGNERS / "vectors.json").read_text("utf-8"))
COMMANDS = {
    "sign.py": [sys.executable],
    "sign.php": [shutil.which("php") or "php"],
    "sign.mjs": [shutil.which("node") or "node"],
}


def run(signer: str, given: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMANDS[signer], str(SIGNERS / signer)],
        input=json.dumps(given),
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["given"]["kid"])
@pytest.mark.parametrize("signer", COMMANDS)
def test_signer_makes_the_link(signer: str, vector: dict[str, Any]) -> None:
    done = run(signer, vector["given"])
    assert done.returncode == 0, done.stderr
    assert done.stdout == vector["link"] + "\n"


@pytest.mark.parametrize("signer", COMMANDS)
@pytest.mark.parametrize(
    "wrong",
    [
        {"names": ["demo", "first.ipynb", "x/mary"]},  # would be mary, with another notebook
        {"names": ["demo", "first.ipynb", "mary\na="]},  # would be mary, with a parameter
        {"names": ["demo", "first.ipynb", "mary", ""]},
        {"names": ["demo", "first.ipynb", ".."]},
        {"names": ["demo", "first.ipynb", "x\\mary"]},
        {"names": ["demo"]},
        {"more": {"name": "Mary\nnonce=0123456789abcdef"}},
        {"more": {"name\nnonce": "x"}},
        {"more": {"a=b": "x"}},
        {"more": {"sig": "x"}},
        {"more": {"kid": "x"}},
    ],
    ids=str,
)
def test_signer_signs_nothing_that_could_be_another_link(
    signer: str, wrong: dict[str, Any]
) -> None:
    done = run(signer, VECTORS[0]["given"] | wrong)
    assert done.returncode != 0
    assert "sig=" not in done.stdout


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["given"]["kid"])
def test_gateway_takes_the_link_and_with_no_other_secret(vector: dict[str, Any]) -> None:
    given = vector["given"]
    target = read_target(vector["link"].removeprefix(given["origin"]))
    claim = claim_of(target)
    assert target.segments[2:] == tuple(given["names"])
    assert (claim.kid, claim.expires) == (given["kid"], given["now"] + given["lifetime"])
    assert is_good(claim, given["secret"])
    assert not is_good(claim, given["secret"][:-1] + "x")


def test_manual_shows_what_is_signed() -> None:
    manual = (ROOT / "docs" / "links.md").read_text("utf-8")
    given = VECTORS[0]["given"]
    parameters = dict(read_target(VECTORS[0]["link"].removeprefix(given["origin"])).parameters)
    text = signed_text("/" + "/".join(["gateway", "open", *given["names"]]), parameters)
    assert text.decode() in manual
    assert given["secret"] in manual
    assert VECTORS[0]["link"] in manual


def test_every_signer_is_tested() -> None:
    found = {path.name for path in SIGNERS.iterdir() if path.name.startswith("sign.")}
    assert found == set(COMMANDS)
    assert not [name for name in found if not Path(SIGNERS / name).stat().st_size]
