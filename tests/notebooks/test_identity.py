"""The installation's identity and the management token."""

from __future__ import annotations

import logging
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.errors import GatewayError, InvalidInput
from gateway.notebooks.identity import Identity, load_or_create_token


def test_identity_is_made_once_private_and_kept(tmp_path: Path) -> None:
    first = Identity.load(tmp_path / "state")
    assert Identity.load(tmp_path / "state") == first
    assert len(first.installation) == 8
    assert len(first.key) == 32
    mode = (tmp_path / "state" / "identity.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["identity.json"]


def test_two_installations_differ(tmp_path: Path) -> None:
    first, second = Identity.load(tmp_path / "a"), Identity.load(tmp_path / "b")
    assert first.installation != second.installation
    assert first.key != second.key


def test_gateways_that_start_at_once_get_one_identity(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _number: Identity.load(tmp_path), range(40)))
    assert len(found) == 1


def test_key_is_not_shown(tmp_path: Path) -> None:
    identity = Identity.load(tmp_path)
    assert identity.key.hex() not in repr(identity)
    assert repr(identity.key) not in repr(identity)


def test_secrets_differ_by_purpose_notebook_and_generation_and_stay_the_same() -> None:
    identity = Identity("0123abcd", bytes(32))
    secrets = {
        identity.derive(purpose, slug, generation)
        for purpose in ("hop", "other")
        for slug in ("a", "b")
        for generation in (1, 2)
    }
    assert len(secrets) == 8
    assert all(len(secret) == 64 for secret in secrets)
    assert identity.derive("hop", "a", 1) == Identity("ffffffff", bytes(32)).derive("hop", "a", 1)
    assert identity.derive("hop", "a", 1) != Identity("x", bytes(31) + b"1").derive("hop", "a", 1)


def test_parts_of_a_secret_cannot_be_shifted() -> None:
    identity = Identity("0123abcd", bytes(32))
    assert identity.derive("hop", "a", 11) != identity.derive("hop", "a1", 1)
    assert identity.derive("hop", "a", 1) != identity.derive("hopa", "", 1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xff",
        b'{"installation": "0123abcd"}',
        b'{"installation": "0123abcd", "key": "00"}',
        b'{"installation": "0123ABCD", "key": "' + b"0" * 64 + b'"}',
        b'{"installation": 1, "key": 2}',
    ],
)
def test_damaged_identity_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "identity.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(InvalidInput, match=r"identity\.json is damaged; put it back"):
        Identity.load(tmp_path)
    assert path.read_bytes() == content


def test_file_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    Identity.load(tmp_path)
    (tmp_path / "identity.json").chmod(0o644)
    with pytest.raises(InvalidInput, match=r"mode 0644\); chmod 600 it"):
        Identity.load(tmp_path)


def test_file_open_to_a_group_is_used_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = Identity.load(tmp_path)
    (tmp_path / "identity.json").chmod(0o640)
    with caplog.at_level(logging.WARNING):
        assert Identity.load(tmp_path) == first
    assert "open to a group" in caplog.text


def test_state_folder_that_is_a_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("x")
    with pytest.raises(GatewayError, match=r"identity\.json: .*gateway's user"):
        Identity.load(tmp_path / "state")


def test_token_is_made_once_private_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "management.token"
    token = load_or_create_token(path)
    assert load_or_create_token(path) == token
    assert len(token) >= 43
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_token_that_an_operator_wrote_is_used(tmp_path: Path) -> None:
    path = tmp_path / "management.token"
    path.write_text("a" * 32 + "\n")
    path.chmod(0o600)
    assert load_or_create_token(path) == "a" * 32


@pytest.mark.parametrize("content", ["", "short", "a" * 32 + "\n" + "b" * 32, "é" * 32])
def test_file_without_a_token_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "management.token"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(InvalidInput, match=r"management\.token holds no token"):
        load_or_create_token(path)
