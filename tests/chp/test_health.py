from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.chp.health import answers, flags_in, running_flags, told
from gateway.chp.options import Options, Place, TlsFiles
from tests.chp.harness import options, rig
from tests.proxy.certificates import make_pair


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (
            ["/opt/nbgate/bin/python", "/usr/local/bin/nbgate-proxy", "--port", "80"],
            ["--port", "80"],
        ),
        (["/sbin/docker-init", "--", "configurable-http-proxy", "--port=80"], ["--port=80"]),
        (["nbgate-proxy"], []),
        (["sh", "-c", "nbgate-proxy --port 80"], None),
        ([], None),
    ],
)
def test_flags_are_what_follows_the_programs_name(
    words: list[str], flags: list[str] | None
) -> None:
    assert flags_in(words) == flags


def test_first_proxy_that_runs_is_found(tmp_path: Path) -> None:
    lines = {
        "1": "sh\0-c\0true\0",
        "7": "python\0nbgate-proxy\0--port\x0080\0",
        "self": "x",
        "30": "",
    }
    for name, line in lines.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "cmdline").write_text(line)
    (tmp_path / "5").mkdir()  # it ends while one looks
    assert running_flags(tmp_path) == ["--port", "80"]
    (tmp_path / "7" / "cmdline").unlink()
    assert running_flags(tmp_path) is None


def test_flags_mean_what_they_mean_to_the_proxy() -> None:
    token = {"CONFIGPROXY_AUTH_TOKEN": "t"}
    assert told([], token).public == Place("", 8000)
    assert told(["--port=80", "--ip", "::1", "--of-tomorrow"], token).public == Place("::1", 80)
    assert told(["--socket", "/run/s"], token).public == Place(path="/run/s")


async def answering(made: Options) -> bool:
    return await asyncio.to_thread(answers, made)


async def test_proxy_that_serves_is_well_and_one_that_has_ended_is_not() -> None:
    async with rig() as proxy:
        made = options("--ip", "127.0.0.1", "--port", str(proxy.port))
        assert await answering(made)
    assert not await answering(made)


async def test_unix_socket_is_asked_where_there_is_one(tmp_path: Path) -> None:
    made = options("--socket", str(tmp_path / "s"))
    assert not await answering(made)
    async with rig(public=made.public):
        assert await answering(made)


def tls_flags(port: int, files: TlsFiles) -> list[str]:
    """Return the flags of a proxy with TLS."""
    flags = ["--ip", "127.0.0.1", "--port", str(port), "--ssl-key", files.key]
    return [*flags, "--ssl-cert", files.cert, "--ssl-ca", files.ca]


async def test_proxy_with_tls_is_asked_over_tls(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, "proxy")
    files = TlsFiles("--ssl", str(pair.key), str(pair.cert), str(pair.cert))
    async with rig(tls=files) as proxy:
        flags = tls_flags(proxy.port, files)
        assert await answering(options(*flags))


async def test_proxy_that_wants_certificates_is_well_when_it_accepts(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, "proxy")
    files = TlsFiles("--ssl", str(pair.key), str(pair.cert), str(pair.cert), ask=True)
    async with rig(tls=files) as proxy:
        flags = tls_flags(proxy.port, files)
        assert await answering(options(*flags, "--ssl-request-cert"))
        # Nobody gets an answer without one.
        assert not await answering(options(*flags))


async def test_other_server_at_the_port_is_not_well() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert not await answering(options("--ip", "127.0.0.1", "--port", str(port)))
