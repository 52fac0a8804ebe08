"""The command as its callers run it: a process with output, signals, files and sockets."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.chp.test_options import PROGRAM
from tests.proxy.certificates import make_pair
from tests.support.places import free_ports
from tests.support.waiting import PATIENCE


class Running:
    """A process, and the lines that it has printed."""

    def __init__(
        self,
        flags: list[str],
        environ: dict[str, str],
        folder: Path,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        clean = {name: text for name, text in os.environ.items() if "CONFIGPROXY" not in name}
        self.process = subprocess.Popen(
            [*PROGRAM, *flags],
            env={**clean, **environ},
            cwd=folder,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._grown = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._grown:
                self.lines.append(line.rstrip("\n"))
                self._grown.notify_all()

    def await_line(self, words: str) -> str:
        """Wait until a line has these words; return it."""

        def found() -> str:
            return next((line for line in self.lines if words in line), "")

        with self._grown:
            assert self._grown.wait_for(found, timeout=PATIENCE), self.lines
        return found()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        code = self.process.wait(timeout=PATIENCE)
        self._reader.join(timeout=PATIENCE)
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def started(
    folder: Path,
    *flags: str,
    token: str = "t",
    stdin: int = subprocess.DEVNULL,
    environ: Mapping[str, str] = {},
) -> Iterator[Running]:
    given = {"CONFIGPROXY_AUTH_TOKEN": token} if token else {}
    made = Running(list(flags), {**given, **environ}, folder, stdin)
    try:
        yield made
    finally:
        made.close()


def ask(place: int | Path, path: str, *headers: str) -> str:
    """Return the whole answer to a GET."""
    family = socket.AF_INET if isinstance(place, int) else socket.AF_UNIX
    with socket.socket(family) as client:
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", place) if isinstance(place, int) else str(place))
        lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
        client.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        told = b""
        while data := client.recv(65536):
            told += data
    return told.decode()


AUTH = "Authorization: token t"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_tells_so_and_ends_with_2(tmp_path: Path, number: int) -> None:
    port, api, metrics = free_ports(3)
    pid_file = tmp_path / "pid"
    flags = [f"--port={port}", "--ip=localhost", f"--api-port={api}", f"--pid-file={pid_file}"]
    flags += ["--default-target=http://127.0.0.1:1", f"--metrics-port={metrics}"]
    with started(tmp_path, *flags) as proxy:
        proxy.await_line("Route added / -> http://127.0.0.1:1")
        proxy.await_line("Proxying http://localhost:")
        assert pid_file.read_text() == str(proxy.process.pid)
        assert '{"status":"OK"}' in ask(port, "/_chp_healthz")
        assert '"/": {"target"' in ask(api, "/api/routes", AUTH)
        assert " 403 " in ask(api, "/api/routes")
        assert "nbgate_routes 1" in ask(metrics, "/metrics")
        assert proxy.stop(number) == 2
    assert not pid_file.exists()
    form = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \[ConfigProxy\] (info|warn): .+")
    assert all(form.fullmatch(line) for line in proxy.lines), proxy.lines


def test_lines_cannot_be_forged(tmp_path: Path) -> None:
    port, api = free_ports(2)
    with started(tmp_path, f"--port={port}", "--ip=127.0.0.1", f"--api-port={api}") as proxy:
        proxy.await_line("Proxying")
        with socket.create_connection(("127.0.0.1", api)) as client:
            client.settimeout(PATIENCE)
            body = b'{"target": "http://h"}'
            client.sendall(
                b"POST /api/routes/x%%0AForged%%1B HTTP/1.1\r\nHost: localhost\r\n"
                b"Authorization: token t\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            assert b" 201 " in client.recv(65536)
        proxy.await_line(r"Route added /x\nForged\x1b -> http://h")
        assert proxy.stop() == 2


def test_unix_sockets_stale_ones_are_replaced_and_ours_removed(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("public", "api", "metrics")]
    for place in places:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(place))
    flags = [f"--socket={places[0]}", f"--api-socket={places[1]}", f"--metrics-socket={places[2]}"]
    with started(tmp_path, *flags, token="") as proxy:
        proxy.await_line("Proxying http://")
        assert '{"status":"OK"}' in ask(places[0], "/_chp_healthz")
        assert " 200 " in ask(places[1], "/api/routes")
        assert "requests_web" in ask(places[2], "/metrics")
        assert places[1].stat().st_mode & 0o777 == 0o600  # it has no token
        with started(tmp_path, *flags, token="") as second:
            assert second.ended() == 1
            assert "another process listens there" in second.lines[-1]
        assert '{"status":"OK"}' in ask(places[0], "/_chp_healthz")
        assert proxy.stop() == 2
    assert not any(place.exists() for place in places)


def test_socket_that_another_process_has_put_in_its_place_stays(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("public", "api")]
    with started(tmp_path, f"--socket={places[0]}", f"--api-socket={places[1]}") as proxy:
        proxy.await_line("Proxying http://")
        with contextlib.ExitStack() as stack:
            for place in places:
                place.unlink()
                stack.enter_context(socket.socket(socket.AF_UNIX)).bind(str(place))
            assert proxy.stop() == 2
    assert all(place.is_socket() for place in places)


def test_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_text("kept")
    with started(tmp_path, f"--socket={file}") as proxy:
        assert proxy.ended() == 1
    assert file.read_text() == "kept"


def test_used_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        (api,) = free_ports(1)
        with started(tmp_path, "--ip=127.0.0.1", f"--port={port}", f"--api-port={api}") as proxy:
            assert proxy.ended() == 1
            assert proxy.lines[-1].startswith(f"nbgate: cannot listen on 127.0.0.1:{port}: ")


def test_host_that_has_no_address_is_one_line(tmp_path: Path) -> None:
    (api,) = free_ports(1)
    with started(tmp_path, "--ip=no host", f"--api-port={api}") as proxy:
        assert proxy.ended() == 1
        assert proxy.lines[-1].startswith("nbgate: cannot listen on no host:8000: ")
        assert "Unknown error" not in proxy.lines[-1]


def test_it_needs_no_directory_that_it_can_write(tmp_path: Path) -> None:
    port, api = free_ports(2)
    before = set(tmp_path.iterdir())
    tmp_path.chmod(0o500)
    with started(tmp_path, f"--port={port}", "--ip=127.0.0.1", f"--api-port={api}") as proxy:
        proxy.await_line("Proxying")
        assert proxy.stop() == 2
    assert set(tmp_path.iterdir()) == before


@contextlib.contextmanager
def terminated_in_a_request(
    folder: Path,
) -> Iterator[tuple[Running, socket.socket, socket.socket]]:
    """Yield a proxy that was told to end, and the client and server of a request in flight."""
    port, api = free_ports(2)
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        upstream.settimeout(PATIENCE)
        flags = [f"--default-target=http://127.0.0.1:{upstream.getsockname()[1]}"]
        flags += ["--ip=127.0.0.1", f"--port={port}", f"--api-port={api}"]
        proxy = stack.enter_context(started(folder, *flags))
        proxy.await_line("Proxying")
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
        client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        server = stack.enter_context(upstream.accept()[0])
        assert server.recv(65536).startswith(b"GET / ")
        proxy.process.send_signal(signal.SIGTERM)
        proxy.await_line("Terminated")
        yield proxy, client, server


def test_requests_in_flight_are_finished_at_the_end(tmp_path: Path) -> None:
    with terminated_in_a_request(tmp_path) as (proxy, client, server):
        server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        told = client.recv(65536)
        assert told.startswith(b"HTTP/1.1 200 OK")
        assert told.endswith(b"hi")
        assert proxy.ended() == 2


def test_told_twice_it_ends_at_once(tmp_path: Path) -> None:
    with terminated_in_a_request(tmp_path) as (proxy, client, _):
        assert proxy.stop(signal.SIGINT) == 2
        assert client.recv(65536) == b""


def test_a_hang_up_without_a_terminal_changes_nothing(tmp_path: Path) -> None:
    port, api = free_ports(2)
    with started(tmp_path, "--ip=127.0.0.1", f"--port={port}", f"--api-port={api}") as proxy:
        proxy.await_line("Proxying")
        proxy.process.send_signal(signal.SIGHUP)
        proxy.await_line("SIGHUP")
        assert '{"status":"OK"}' in ask(port, "/_chp_healthz")
        assert proxy.stop() == 2


def test_a_terminal_that_is_closed_ends_it_properly(tmp_path: Path) -> None:
    port, api = free_ports(2)
    pid_file = tmp_path / "pid"
    ours, its = os.openpty()
    flags = ["--ip=127.0.0.1", f"--port={port}", f"--api-port={api}", f"--pid-file={pid_file}"]
    with started(tmp_path, *flags, stdin=its) as proxy:
        os.close(its)
        proxy.await_line("Proxying")
        proxy.process.send_signal(signal.SIGHUP)
        assert proxy.ended() == 2
    os.close(ours)
    assert not pid_file.exists()


def test_http_is_sent_on_to_https(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, "nb")
    port, api, plain = free_ports(3)
    flags = ["--ip=127.0.0.1", f"--port={port}", f"--api-port={api}", f"--redirect-port={plain}"]
    flags += [f"--ssl-key={pair.key}", f"--ssl-cert={pair.cert}"]
    with started(tmp_path, *flags) as proxy:
        proxy.await_line(f"Added HTTP to HTTPS redirection from {plain} to {port}")
        told = ask(plain, "/a%20b?c=d")
        assert told.startswith("HTTP/1.1 301 ")
        assert f"Location: https://localhost:{port}/a%20b?c=d\r\n" in told
        assert proxy.stop() == 2
    with started(tmp_path, *flags, "--redirect-to=443") as proxy:
        proxy.await_line(f"Added HTTP to HTTPS redirection from {plain} to 443")
        assert "Location: https://localhost/x\r\n" in ask(plain, "/x")
        assert proxy.stop() == 2


def test_metrics_have_the_names_that_dashboards_know(tmp_path: Path) -> None:
    port, api, metrics = free_ports(3)
    flags = ["--ip=127.0.0.1", f"--port={port}", f"--api-port={api}"]
    with started(tmp_path, *flags, "--metrics-ip=127.0.0.1", f"--metrics-port={metrics}") as proxy:
        proxy.await_line("Serve metrics at")
        proxy.await_line("Proxying")
        for _ in range(2):
            ask(port, "/x")
        ask(port, "/_chp_healthz")
        ask(api, "/api/routes", AUTH)
        ask(api, "/api/routes/none", AUTH)
        text = ask(metrics, "/metrics").partition("\r\n\r\n")[2]
        assert " 404 " in ask(metrics, "/other")
        assert proxy.stop() == 2
    list(text_string_to_metric_families(text))  # Prometheus' own parser reads it
    samples = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    values = {name: float(value) for name, value in samples}
    assert values["requests_web"] == 2
    assert values["requests_ws"] == 0
    assert values['requests_proxy{status="404"}'] == 2
    assert values['requests_api{status="200"}'] == 1
    assert values['requests_api{status="404"}'] == 1
    assert values["api_route_get"] == 1
    assert values["api_route_add"] == values["api_route_delete"] == 0
    assert values["find_target_for_req_count"] >= 2
    assert values["find_target_for_req_sum"] > 0
    assert values["last_activity_updating_count"] == 0
    assert values["nbgate_routes"] == 0
    assert values['nbgate_requests_total{outcome="4xx"}'] == 2
    assert values["process_resident_memory_bytes"] > 2**20
