"""The commands: options, exit codes, output, signals, error pages and metrics of both."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.chp import peer
from tests.chp.harness import UPGRADE, get, rig
from tests.chp.pair import Recorder, Start, call, paired
from tests.chp.test_options import CONTRACT, PROGRAM
from tests.chp.test_process import started
from tests.proxy.certificates import make_pair
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import Wire
from tests.support.places import free_ports
from tests.support.waiting import PATIENCE

GONE = {"--ssl-allow-rc4", "--version", "--help"}
UNUSABLE = [
    ["--no-such-flag"],
    ["--por=80"],
    ["--port"],
    ["--error-target=http://h", "--error-path=/x"],
    ["--redirect-port=8080"],
    ["--socket=/x", "--port=1"],
    ["--socket=/x", "--ip=127.0.0.1"],
    ["--custom-header", "no colon"],
    ["--custom-header", ":x"],
    ["--ssl-key=/none", "--ssl-cert=/none"],
]


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "CONFIGPROXY_AUTH_TOKEN": "x"}
    return subprocess.run(
        words, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def test_options_are_those_that_it_has() -> None:
    """The table that our own help is compared with is the truth."""
    found = {}
    for line in run([*peer.command(), "--help"]).stdout.splitlines():
        option = re.match(r"  (?:-\w, )?(--[\w-]+)( <)?", line)
        if option is not None:
            found[option[1]] = option[2] is not None
    assert {flag: value for flag, (value, _) in CONTRACT.items()} == {
        flag: value for flag, value in found.items() if flag not in GONE
    }


@pytest.mark.parametrize("flags", UNUSABLE, ids=" ".join)
def test_what_cannot_be_is_exit_code_1(flags: list[str]) -> None:
    for words in (list(peer.command()), PROGRAM):
        done = run([*words, *flags])
        assert done.returncode == 1, done
    if flags[0] == "--custom-header":
        line = f"A colon was expected in custom header: {flags[1]}"
        assert line in run([*peer.command(), *flags]).stderr
        assert line in run([*PROGRAM, *flags]).stderr


def plain(text: str) -> list[str]:
    """Return log lines without their times and colours."""
    return [re.sub(r"\x1b\[\d+m", "", line).partition("Z ")[2] for line in text.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_output_pid_file_and_end(tmp_path: Path, number: int) -> None:
    pair = make_pair(tmp_path, "nb")
    flags = ["--default-target=http://127.0.0.1:1", f"--ssl-key={pair.key}"]
    flags += [f"--ssl-cert={pair.cert}", "--redirect-to=443"]
    files = [tmp_path / "theirs", tmp_path / "ours"]
    ports = free_ports(4)
    with peer.started(
        tmp_path, *flags, f"--pid-file={files[0]}", "--metrics-port", str(ports[0])
    ) as theirs:
        assert files[0].read_text() == str(theirs.process.pid)
        theirs.process.send_signal(number)
        assert theirs.process.wait(PATIENCE) == 2
        assert not files[0].exists()
        lines = plain(theirs.log.read_text())
    flags += ["--ip=127.0.0.1", f"--port={ports[1]}", f"--api-port={ports[2]}"]
    flags += [f"--pid-file={files[1]}", f"--redirect-port={ports[3]}"]
    with started(tmp_path, *flags) as ours:
        ours.await_line("redirection from")
        assert files[1].read_text() == str(ours.process.pid)
        assert ours.stop(number) == 2
        assert not files[1].exists()
    end = "Interrupted" if number is signal.SIGINT else "Terminated"
    for line in ("[ConfigProxy] info: Route added / -> http://127.0.0.1:1",
                 f"[ConfigProxy] warn: {end}"):  # fmt: skip
        assert line in lines
        assert line in plain("\n".join(ours.lines))


class TestErrors:
    """404, 503 and 500, with and without somebody who has pages for them."""

    PATHS = (("/none/a%20b?q=1&r=%2F", 404), ("/x", 503), ("/%zz", 500))

    @pytest.mark.parametrize("method", [b"GET", b"POST", b"HEAD"])
    async def test_statuses(self, chp: Start, method: bytes) -> None:
        async with paired(chp) as pair:
            await pair.lead("/x", "http://127.0.0.1:1")
            for path, status in self.PATHS:
                data = get(path, b"Content-Length: 0", method=method)
                for made in await pair.ask(data):
                    assert (made.status, made.alive) == (status, True)
                    assert made.got["content-type"][0].startswith("text/html")

    async def test_pages_of_an_error_target(self, chp: Start, tmp_path: Path) -> None:
        async with Recorder() as hub:
            hub.answer = (
                b"HTTP/1.1 599 Own\r\nContent-Type: text/x-hub\r\nContent-Encoding: x-own\r\n"
                b"Set-Cookie: no=1\r\nX-Other: no\r\nContent-Length: 4\r\n\r\npage"
            )
            flag = f"--error-target=http://127.0.0.1:{hub.port}/hub/error"
            async with paired(chp, flag) as pair:
                await pair.lead("/x", "http://127.0.0.1:1")
                for path, status in self.PATHS:
                    made = await pair.ask(get(path, b"Cookie: secret=1"))
                    for one in made:
                        one.got.pop("content-length", None)
                        assert (one.status, one.body) == (status, b"page")
                    assert made[1] == made[0]
                    theirs, ours = hub.seen[-2:]
                    assert ours.start == theirs.start
                    assert not {b"cookie"} & (ours.names() | theirs.names())

    async def test_error_target_that_fails(self, chp: Start) -> None:
        async with paired(chp, "--error-target=http://127.0.0.1:1") as pair:
            await pair.lead("/x", "http://127.0.0.1:1")
            for path, status in self.PATHS:
                theirs, ours = await pair.ask(get(path))
                assert ours.status == theirs.status == status
                assert ours.body == theirs.body

    async def test_pages_of_a_folder(self, chp: Start, tmp_path: Path) -> None:
        (tmp_path / "404.html").write_text("not there")
        async with paired(chp, f"--error-path={tmp_path}") as pair:
            await pair.lead("/x", "http://127.0.0.1:1")
            for general in (False, True):
                if general:
                    (tmp_path / "error.html").write_text("an error")
                for path, status in self.PATHS:
                    theirs, ours = await pair.ask(get(path))
                    assert ours.status == theirs.status == status
                    assert ours.body == theirs.body

    async def test_upstream_that_does_not_answer(self, chp: Start) -> None:
        async with paired(chp, "--proxy-timeout=100") as pair, Upstream() as silent:
            await pair.lead("/x", f"http://127.0.0.1:{silent.port}")
            theirs, ours = await pair.ask(get("/x"))
            assert (theirs.status, ours.status) == (503, 503)

    @pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n"])
    async def test_upstream_that_breaks_off(self, chp: Start, answer: bytes) -> None:
        async with paired(chp) as pair:
            await pair.add("/")
            pair.upstream.answer = answer
            theirs, ours = await pair.ask(get("/x", b"Content-Length: 0", method=b"POST"))
            assert (theirs.status, ours.status) == (503, 503)

    async def test_health(self, chp: Start) -> None:
        async with paired(chp) as pair:
            for method in (b"GET", b"POST"):
                for made in await pair.ask(get("/_chp_healthz", method=method)):
                    assert (made.status, made.body) == (200, b'{"status":"OK"}')
                    assert made.got["content-type"] == ["application/json"]


NAMES = re.compile(r"# TYPE (\w+) (\w+)")


def metrics_of(text: str) -> tuple[dict[str, str], dict[str, float]]:
    """Return types and values of the metrics that are not of the process."""
    kinds = {name: kind for name, kind in NAMES.findall(text) if is_of_the_proxy(name)}
    samples = [line.rsplit(" ", 1) for line in re.findall(r"^[^#\n].*", text, re.MULTILINE)]
    values = {name: float(value) for name, value in samples if is_of_the_proxy(name)}
    return kinds, values


def is_of_the_proxy(name: str) -> bool:
    return not name.startswith(("process_", "nodejs_", "nbgate_"))


async def test_metrics(chp: Start) -> None:
    (port,) = free_ports(1)
    async with paired(chp, f"--metrics-port={port}", "--metrics-ip=127.0.0.1") as pair:
        await pair.add("/", "/d")
        await pair.lead("/x", "http://127.0.0.1:1")
        for path in ("/a", "/b", "/x", "/%zz", "/_chp_healthz"):
            await pair.ask(get(path))
        await pair.ask(UPGRADE % b"/x")
        for method, path in (("DELETE", "/x"), ("DELETE", "/x"), ("GET", ""), ("GET", "/none")):
            await pair.api(method, f"/api/routes{path}")
        await pair.api("GET", "/other")
        ours_port = pair.ours.proxy.metrics_addresses[0][1]
        texts = [(await call(at, "GET", "/metrics")).body.decode() for at in (port, ours_port)]
        (kinds, theirs), (our_kinds, ours) = [metrics_of(text) for text in texts]
        assert our_kinds == kinds
        # It was asked for its routes once more, before the test, and marks routes that are set.
        theirs["api_route_get"] -= 1
        theirs['requests_api{status="200"}'] -= 1
        for name in ("find_target_for_req", "last_activity_updating"):
            timed = [one for one in theirs if one.startswith(name)]
            assert len(timed) == 2 + 7, "the sum, how many, and the quantiles"
            for one in timed:
                assert theirs.pop(one) >= 0
                assert ours.pop(one) >= 0
        assert ours == theirs


@pytest.mark.parametrize("more", [[], ["--redirect-to=8443"]])
async def test_http_is_sent_on_to_https(tmp_path: Path, more: list[str]) -> None:
    pair = make_pair(tmp_path, "nb")
    tls = [f"--ssl-key={pair.key}", f"--ssl-cert={pair.cert}", *more]
    places = free_ports(3)
    flags = [[*tls, f"--redirect-port={port}"] for port in places[:2]]
    with peer.started(tmp_path, *flags[0]) as theirs:
        async with rig(*flags[1], redirect_to=int(more[0][-4:]) if more else places[2]):
            for port, goal in zip(places, (theirs.port, places[2]), strict=False):
                async with Wire(*await asyncio.open_connection("127.0.0.1", port)) as wire:
                    await wire.send(get("/a%20b?c", host=b"hub.example:80"))
                    told = await wire.response()
                    place = 8443 if more else goal
                    assert told.status == 301
                    assert told.one(b"location") == b"https://hub.example:%d/a%%20b?c" % place
