"""`nbgate route …`: against a running management API, and on the file itself."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from routes.admission import beside
from routes.apachedb import ApacheDB
from tests.cli.conftest import Command, Gateway


def test_a_route_is_set_read_listed_and_deleted(gateway: Gateway, nbgate: Command) -> None:
    assert "nbgate route set" in nbgate.ok("route", "list").error
    assert nbgate.ok("route", "set", "/docs", "127.0.0.1:9000").out == "/docs: 127.0.0.1:9000\n"
    assert nbgate.ok("route", "get", "/docs").out == "127.0.0.1:9000\n"
    record = {"key": "/docs", "target": "127.0.0.1:9000", "slug": None, "hot": True}
    record |= {"owner": None, "project": None, "engine_id": "local"}
    assert nbgate.ok("route", "get", "/docs", "--json").json == record
    assert nbgate.ok("route", "list", "--json").json == [record]
    assert nbgate.ok("route", "list").out.splitlines() == [
        "KEY    TARGET          NOTEBOOK",
        "/docs  127.0.0.1:9000  -",
    ]
    assert nbgate.ok("route", "delete", "/docs").out == "/docs: deleted\n"
    assert nbgate("route", "get", "/docs").code == 4


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["set", "/josé", "127.0.0.1:9000"], 1, "jos"),
        (["set", "/a b", "127.0.0.1:9000"], 1, "/a b"),
        (["set", "", "127.0.0.1:9000"], 1, "key"),
        (["set", "/docs", "nowhere"], 1, "nowhere"),
        (["set", "/gateway/api", "127.0.0.1:9000"], 5, "/gateway"),
        (["delete", "/nothing"], 4, "/nothing"),
        (["get", "/nothing"], 4, "/nothing"),
    ],
)
def test_what_is_wrong_is_one_line(
    gateway: Gateway, nbgate: Command, arguments: list[str], code: int, named: str
) -> None:
    result = nbgate("route", *arguments)
    assert (result.code, named in result.error) == (code, True), result


def test_check_rebuild_and_reload_ask_the_gateway(gateway: Gateway, nbgate: Command) -> None:
    nbgate.ok("route", "set", "/docs", "127.0.0.1:9000")
    assert nbgate.ok("route", "check").out == "the route file is sound\n"
    assert nbgate.ok("route", "check", "--json").json == []
    assert "1 route" in nbgate.ok("route", "rebuild").out
    assert nbgate.ok("route", "reload").out == "1 routes read from the file\n"


@pytest.fixture
def no_gateway(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder with a route file, and no gateway; the file."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("NBGATE_MANAGEMENT_LISTEN", f"127.0.0.1:{port}")
    file = state_dir / "routes" / "routes.gdbm"
    file.parent.mkdir()
    database = ApacheDB(file)
    with database.batch():
        database["/docs"] = b"127.0.0.1:9000"
        database["docs.example.org"] = b"127.0.0.1:9001"
    database.close()
    return file


def test_without_a_gateway_the_file_is_read(nbgate: Command, no_gateway: Path) -> None:
    listed = nbgate.ok("route", "list", "--json")
    assert "using the route file itself" in listed.error
    assert [(route["key"], route["target"]) for route in listed.json] == [
        ("/docs", "127.0.0.1:9000"),
        ("docs.example.org", "127.0.0.1:9001"),
    ]
    assert nbgate.ok("route", "get", "Docs.example.org").out == "127.0.0.1:9001\n"
    assert nbgate("route", "get", "/nothing").code == 4
    assert nbgate.ok("route", "check").out == "the route file is sound\n"


def test_without_a_gateway_nothing_is_set(nbgate: Command, no_gateway: Path) -> None:
    result = nbgate("route", "set", "/more", "127.0.0.1:9000")
    assert (result.code, "nbgate serve" in result.error) == (3, True)


def test_a_damaged_file_is_told_and_left_as_it_is(nbgate: Command, no_gateway: Path) -> None:
    no_gateway.write_bytes(b"this is no GDBM file")
    checked = nbgate("route", "check", "--route-file", str(no_gateway))
    assert checked.code == 1
    assert checked.out
    assert "nbgate route rebuild" in checked.error
    listed = nbgate("route", "list", "--route-file", str(no_gateway))
    assert (listed.code, str(no_gateway) in listed.error) == (1, True)
    assert no_gateway.read_bytes() == b"this is no GDBM file"


def test_a_map_of_secrets_that_others_can_read_is_told(
    nbgate: Command, no_gateway: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBGATE_HTTPD_DIRECT", "true")
    missing = nbgate("route", "check", "--json")
    assert (missing.code, "secrets.gdbm is not there" in missing.json[0]) == (1, True)
    hidden = no_gateway.with_name("secrets.gdbm")
    for one in (hidden, *beside(no_gateway)):
        ApacheDB.secrets(one).close()
    assert nbgate.ok("route", "check").out == "the route file is sound\n"
    hidden.chmod(0o644)
    told = nbgate("route", "check")
    assert (told.code, f"chmod 640 {hidden}" in told.out) == (1, True)


def test_rebuild_without_a_gateway_mends_the_map_of_secrets(
    nbgate: Command, no_gateway: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBGATE_HTTPD_DIRECT", "true")
    hidden = no_gateway.with_name("secrets.gdbm")
    hidden.write_bytes(b"this is no GDBM file")
    assert nbgate("route", "check").code == 1
    nbgate.ok("route", "rebuild")
    assert nbgate.ok("route", "check").out == "the route file is sound\n"
    (kept,) = no_gateway.parent.glob("secrets.gdbm.damaged-*")
    assert kept.read_bytes() == b"this is no GDBM file"


def test_a_missing_file_is_told(nbgate: Command, state_dir: Path) -> None:
    missing = state_dir / "missing.gdbm"
    for verb in ("list", "check"):
        result = nbgate("route", verb, "--route-file", str(missing))
        assert (result.code, str(missing) in result.error) == (4, True)


def test_rebuild_without_a_gateway_writes_a_sound_file_and_keeps_the_damaged_one(
    nbgate: Command, no_gateway: Path
) -> None:
    no_gateway.write_bytes(b"this is no GDBM file")
    rebuilt = nbgate.ok("route", "rebuild")
    assert str(no_gateway) in rebuilt.out
    assert nbgate.ok("route", "check").out == "the route file is sound\n"
    kept = [file.read_bytes() for file in no_gateway.parent.iterdir()]
    assert b"this is no GDBM file" in kept
