"""The map of secrets: what `nbgate route check` says about it, and that it tells no secret."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from routes.apachedb import ApacheDB
from routes.secretmap import beside, check, faults
from tests.routes.foreign import write_with_dbm_gnu

_SECRET = b"0123456789abcdef"


@pytest.fixture
def hidden(path: Path) -> Path:
    """A sound map with one secret."""
    map_ = beside(path)
    with ApacheDB.secrets(map_) as secrets:
        secrets["/nb/alice"] = _SECRET
    return map_


@pytest.mark.parametrize("wanted", [True, False])
def test_sound_map_has_no_findings(hidden: Path, wanted: bool) -> None:
    assert check(hidden, wanted) == []


def test_missing_map_is_a_finding_only_where_it_is_wanted(path: Path) -> None:
    (finding,) = check(beside(path), wanted=True)
    assert finding.startswith(f"{beside(path)} is not there")
    assert "`nbgate route rebuild`" in finding
    assert check(beside(path), wanted=False) == []


@pytest.mark.parametrize(
    ("wanted", "remedy"), [(True, "`nbgate route rebuild`"), (False, "remove it")]
)
def test_damaged_map_is_named_with_its_remedy(hidden: Path, wanted: bool, remedy: str) -> None:
    data = bytearray(hidden.read_bytes())
    at = data.index(_SECRET)
    data[at : at + 4] = b"beef"
    hidden.write_bytes(data)
    (finding,) = check(hidden, wanted)
    assert finding.startswith(f"{hidden} is damaged: ")
    assert remedy in finding


def test_foreign_file_is_damaged(hidden: Path) -> None:
    hidden.write_bytes(b"this is no GDBM file")
    assert "is damaged" in check(hidden, wanted=True)[0]


def test_map_without_a_seal_is_another_programs(path: Path) -> None:
    write_with_dbm_gnu(beside(path), {b"/nb/alice": _SECRET})
    beside(path).chmod(0o640)
    (finding,) = check(beside(path), wanted=True)
    assert finding.startswith(f"{beside(path)} has no seal")


def test_entry_that_another_program_added_is_told(hidden: Path) -> None:
    write_with_dbm_gnu(hidden, {b"/nb/eve": b"planted"})
    (finding,) = check(hidden, wanted=True)
    assert finding.startswith(f"{hidden} has entries that not the gateway")


def test_entries_that_httpd_cannot_use_are_named_by_their_keys(path: Path) -> None:
    with ApacheDB(beside(path), mode=0o640, checked=str) as made:
        made.publish({b"/nb/A b": _SECRET, b"/nb/bob": b"12\n34"})
    assert [finding.partition(";")[0] for finding in check(beside(path), wanted=True)] == [
        f"{beside(path)}: httpd cannot use the entry of b'/nb/A b'",
        f"{beside(path)}: httpd cannot use the entry of b'/nb/bob'",
    ]


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o641])
def test_map_that_others_may_read_or_the_group_write_is_told(hidden: Path, mode: int) -> None:
    hidden.chmod(mode)
    (finding,) = check(hidden, wanted=True)
    assert f"its mode {mode:04o}" in finding
    assert f"`chmod 640 {hidden}`" in finding


def test_findings_never_have_a_secret_in_them(path: Path, hidden: Path) -> None:
    write_with_dbm_gnu(hidden, {b"/nb/alice": _SECRET, b"/nb/A b": _SECRET, b"/x": _SECRET})
    hidden.chmod(0o666)
    told = " ".join([*check(hidden, wanted=True), *faults(hidden)])
    assert told
    assert _SECRET.decode() not in told


def test_rebuild_of_a_map_of_secrets_keeps_nothing_that_others_wrote(hidden: Path) -> None:
    with ApacheDB.secrets(hidden) as secrets:
        write_with_dbm_gnu(hidden, {b"/nb/eve": b"planted"})
        kept = secrets.rebuild({b"/nb/bob": _SECRET})
        assert dict(secrets) == {b"/nb/bob": _SECRET}
    assert check(hidden, wanted=True) == []
    assert kept is not None
    assert stat.S_IMODE(kept.stat().st_mode) == 0o640
