"""What goes wrong between the command and the gateway: one line that names the remedy."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.cli.client import Client, token_of
from gateway.cli.failures import CommandError, TokenUnusable
from tests.api.support import TOKEN
from tests.cli.conftest import Command, Gateway
from tests.support.places import free_port
from tests.support.waiting import PATIENCE


def test_no_gateway_exits_with_3_and_says_how_to_start_one(
    nbgate: Command, state_dir: Path
) -> None:
    address = f"127.0.0.1:{free_port()}"
    result = nbgate("notebook", "list", "--management", address)
    assert result.code == 3
    assert address in result.error
    assert "connection refused" in result.error
    assert "nbgate serve" in result.error


def test_no_gateway_is_told_rather_than_its_missing_token(nbgate: Command, state_dir: Path) -> None:
    (state_dir / "management.token").unlink()
    assert nbgate("notebook", "list", "--management", f"127.0.0.1:{free_port()}").code == 3


def test_an_unknown_host_is_told(nbgate: Command, state_dir: Path) -> None:
    result = nbgate("notebook", "list", "--management", "no-such-host.invalid:8001")
    assert (result.code, "no-such-host.invalid:8001" in result.error) == (3, True)


@pytest.mark.parametrize("wrong", ["nowhere", "host:port", "127.0.0.1:99999"])
def test_a_wrong_address_names_the_flag_or_the_variable(
    nbgate: Command, state_dir: Path, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = nbgate("notebook", "list", "--management", wrong)
    assert (result.code, result.error.startswith(f"--management: '{wrong}'")) == (2, True)
    monkeypatch.setenv("NBGATE_MANAGEMENT_LISTEN", wrong)
    result = nbgate("notebook", "list")
    assert result.code == 2
    assert result.error.startswith(f"NBGATE_MANAGEMENT_LISTEN: '{wrong}'")


def test_a_missing_token_file_is_named(nbgate: Command, gateway: Gateway) -> None:
    token = gateway.state_dir / "management.token"
    token.unlink()
    result = nbgate("notebook", "list")
    assert result.code == 6
    assert str(token) in result.error
    assert "--state-dir" in result.error


def test_a_token_file_that_cannot_be_read_is_named(
    nbgate: Command, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may read everything, so the refusal is made here.
    def refuse(path: Path, *_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)
    result = nbgate("notebook", "list")
    assert result.code == 6
    assert result.error.startswith(
        f"cannot read token file {gateway.state_dir / 'management.token'}: permission denied; "
        f"run as the gateway's user"
    )


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"two words\nand lines"])
def test_a_file_that_holds_no_token_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(TokenUnusable, match=r"token file .*/token holds no token"):
        token_of(file)


def test_a_folder_is_no_token_file(nbgate: Command, gateway: Gateway) -> None:
    result = nbgate("notebook", "list", "--token-file", str(gateway.state_dir))
    assert (result.code, str(gateway.state_dir) in result.error) == (6, True)


def test_another_gateways_token_is_refused_with_6(
    nbgate: Command, gateway: Gateway, tmp_path: Path
) -> None:
    other = tmp_path / "other.token"
    other.write_text("x" * 40)
    result = nbgate("notebook", "list", "--token-file", str(other))
    assert result.code == 6
    assert "refuses the management token" in result.error
    assert gateway.address in result.error


def test_the_token_may_come_from_the_environment(
    nbgate: Command, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    (gateway.state_dir / "management.token").unlink()
    monkeypatch.setenv("NBGATE_TOKEN", TOKEN)
    nbgate.ok("notebook", "list")
    monkeypatch.setenv("NBGATE_TOKEN", "tökén")
    assert nbgate("notebook", "list").code == 6


def test_settings_may_come_from_a_file(
    nbgate: Command, gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "nbgate.env"
    config.write_text(f"NBGATE_MANAGEMENT_LISTEN={gateway.address}\n")
    monkeypatch.delenv("NBGATE_MANAGEMENT_LISTEN")
    monkeypatch.setenv("NBGATE_CONFIG", str(config))
    nbgate.ok("notebook", "list")
    monkeypatch.setenv("NBGATE_CONFIG", str(tmp_path / "missing.env"))
    result = nbgate("notebook", "list")
    assert (result.code, "missing.env" in result.error) == (2, True)


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A listener that answers each connection with `answer` and closes it; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(timeout=PATIENCE)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n[]",
        b"SSH-2.0-OpenSSH\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",
    ],
)
def test_what_is_no_gateway_is_told_as_that(
    nbgate: Command, state_dir: Path, answer: bytes
) -> None:
    with answering(answer) as port:
        result = nbgate("notebook", "list", "--management", f"127.0.0.1:{port}")
    assert (result.code, f"127.0.0.1:{port}" in result.error) == (3, True)


def test_a_gateway_that_does_not_answer_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = Client("127.0.0.1", listener.getsockname()[1], lambda: TOKEN)
        with pytest.raises(CommandError, match=r"did not answer within 0\.05 s"):
            client.call("GET", "notebooks", timeout=0.05)


def test_listening_on_all_addresses_is_reached_on_loopback(gateway: Gateway) -> None:
    port = int(gateway.address.rpartition(":")[2])
    client = Client("0.0.0.0", port, lambda: TOKEN)
    assert client.address == f"127.0.0.1:{port}"
    assert client.get("notebooks") == {"notebooks": []}


def test_an_unexpected_error_is_one_line(
    nbgate: Command, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("oops")

    monkeypatch.setattr(Client, "call", fail)
    result = nbgate("notebook", "show", "first")
    assert (result.code, result.error) == (1, "internal error: KeyError: 'oops'")


def run(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gateway", *arguments]


def test_a_reader_that_goes_away_ends_the_command_quietly(gateway: Gateway, demo: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        run("project", "list"),
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
        check=False,
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_interrupting_ends_the_command_in_one_line(gateway: Gateway, demo: Path) -> None:
    gateway.world.engine.held.clear()
    gateway.call(gateway.world.catalogue.open_for("demo", "alice"))
    process = subprocess.Popen(
        run("notebook", "start", "demo-x-alice"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        shown = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert b"queued" in shown
    assert (process.returncode, rest) == (130, b"nbgate: interrupted\n")


def test_listing_needs_neither_aiohttp_nor_docker_nor_the_database(gateway: Gateway) -> None:
    code = (
        "import sys; from gateway.cli import main; assert main(['notebook', 'list']) == 0; "
        "print(sorted({'aiohttp', 'docker', 'sqlalchemy'} & set(sys.modules)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert ended.stdout == "[]\n"
