"""`project links --check` with a real gateway: each link is opened, and nothing is left of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.cli.failures import Exit
from tests.end_to_end.conftest import add_linked_courses
from tests.end_to_end.test_httpd import site
from tests.proxy.certificates import make_pair
from tests.support.gateway import ROOT, GatewayProcess, running, running_by
from tests.support.places import free_port
from tests.support.waiting import PATIENCE

DEMO = ROOT / "examples" / "demo"
SPACED = "week 1/été n° 1.ipynb"
GOOD = {"first-steps.ipynb", "walking.ipynb", SPACED}


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo course, with names that links can hold and names that they cannot."""
    folder = tmp_path_factory.mktemp("course") / "files"
    shutil.copytree(DEMO, folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    for name in (SPACED, "twice.ipynb.ipynb", "back\\slash.ipynb"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(DEMO / "first-steps.ipynb", folder / name)
    shutil.copy(DEMO / "first-steps.ipynb", folder / os.fsdecode(b"latin-\xe9.ipynb"))
    return folder


@pytest.fixture(scope="module", params=["path", "host"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, course: Path
) -> Iterator[GatewayProcess]:
    with running_by(request.param, tmp_path_factory.mktemp("checked") / "state") as process:
        add_linked_courses(process, course)
        yield process


@contextmanager
def gateway_of(tmp_path: Path, *words: str, **settings: str) -> Iterator[GatewayProcess]:
    """Run a gateway with the demo course, which takes plain links; `words` are for the course."""
    with running(tmp_path / "state", **settings) as process:
        words = ("--source", str(DEMO), "--links", "plain", *words)
        process.nbgate("project", "add", "demo", *words)
        yield process


def with_jupyter(folder: Path, code: str) -> tuple[str, str]:
    """Return words for a course whose servers run `code` in the place of Jupyter."""
    package = folder / "instead" / "jupyter_server"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(code)
    return "--env", f"PYTHONPATH={package.parent}"


def check(gateway: GatewayProcess, name: str, *words: str) -> tuple[int, dict[str, str]]:
    """Return the exit code of a check, and what it says of each notebook."""
    done = gateway.run("project", "links", name, "--check", *words)
    lines = (line.partition(": ") for line in done.stdout.splitlines())
    return done.returncode, {file: fault for file, _, fault in lines}


def starts(gateway: GatewayProcess) -> list[str]:
    """Return the notebooks of checks whose starts began."""
    return re.findall(
        r"nbgate\.notebook\.(\S*nbgate-check\S*) start begins", gateway.log.read_text()
    )


def assert_nothing_left(gateway: GatewayProcess) -> None:
    assert json.loads(gateway.nbgate("student", "list", "--all", "--json")) == []
    assert json.loads(gateway.nbgate("notebook", "list", "--json")) == []
    assert [one.name for one in (gateway.state / "spaces").glob("*check*")] == []


@pytest.mark.parametrize("name", ["signed", "plain"])
def test_each_link_is_opened_and_its_faults_are_told(gateway: GatewayProcess, name: str) -> None:
    before = len(starts(gateway))
    code, faults = check(gateway, name)
    assert code == Exit.FAILED
    assert {file for file, fault in faults.items() if fault == "ok"} == GOOD
    assert faults["twice.ipynb.ipynb"] == (
        "links mean 'twice.ipynb' by its name; rename it in the course"
    )
    assert "leads elsewhere" in faults["back\\slash.ipynb"]
    assert "not UTF-8" in faults["latin-\N{REPLACEMENT CHARACTER}.ipynb"]
    assert len(starts(gateway)) == before + 1, gateway.log.read_text()
    assert_nothing_left(gateway)


def test_page_of_lab_counts_as_well(gateway: GatewayProcess) -> None:
    gateway.nbgate("project", "update", "plain", "--links-page", "lab")
    _, faults = check(gateway, "plain")
    assert faults[SPACED] == "ok"


def test_quick_look_starts_nothing(gateway: GatewayProcess) -> None:
    before = len(starts(gateway))
    _, faults = check(gateway, "signed", "--static")
    assert {file for file, fault in faults.items() if fault == "ok"} == GOOD
    assert len(starts(gateway)) == before


def test_server_that_does_not_start_is_told_with_its_log(tmp_path: Path) -> None:
    with gateway_of(tmp_path, *with_jupyter(tmp_path, "raise SystemExit('broken')")) as gateway:
        done = gateway.run("project", "links", "demo", "--check")
        assert done.returncode == Exit.FAILED
        lines = done.stdout.splitlines()
        assert len(lines) == 2
        assert all(": the server did not start: " in line for line in lines)
        assert "nbgate:   | " in done.stderr
        assert len(starts(gateway)) == 1, "not tried again for each link"
        assert_nothing_left(gateway)


def test_check_takes_nobodys_place(tmp_path: Path) -> None:
    with gateway_of(tmp_path, running_in_all="1") as gateway:
        gateway.nbgate("notebook", "create", "theirs", "--project", "demo", "--owner", "mary")
        gateway.nbgate("notebook", "start", "theirs")
        code, faults = check(gateway, "demo")
        assert code == Exit.FAILED
        assert all("All places are taken" in fault for fault in faults.values())
        assert gateway.show("theirs")["state"] == "running"
        students = json.loads(gateway.nbgate("student", "list", "--all", "--json"))
        assert [one["person"] for one in students] == ["mary"]


def test_public_address_that_nobody_serves_is_told(tmp_path: Path) -> None:
    origin = f"http://127.0.0.1:{free_port()}"
    with gateway_of(tmp_path, public_url=origin) as gateway:
        code, faults = check(gateway, "demo")
        assert code == Exit.FAILED
        assert set(faults.values()) == {
            f"not reached: {origin}: connection refused; check NBGATE_PUBLIC_URL, and what serves "
            f"there"
        }
        assert_nothing_left(gateway)


def test_certificate_that_nobody_knows_is_told_and_can_be_named(tmp_path: Path) -> None:
    pair, port = make_pair(tmp_path, "own"), free_port()
    settings = {"tls_cert": str(pair.cert), "tls_key": str(pair.key)}
    origin = f"https://localhost:{port}"
    listen = {"listen": f"127.0.0.1:{port}", "public_url": origin}
    with gateway_of(tmp_path, **settings, **listen) as gateway:
        _, faults = check(gateway, "demo")
        assert all("SSL_CERT_FILE=" in fault for fault in faults.values()), faults
        gateway.environment["SSL_CERT_FILE"] = str(pair.cert)
        code, faults = check(gateway, "demo")
        assert (code, set(faults.values())) == (Exit.OK, {"ok"})
        assert_nothing_left(gateway)


@dataclass(frozen=True)
class Hanging:
    """A gateway whose course's server hangs while it starts, until `go_on`, and ends then."""

    gateway: GatewayProcess
    sign: Path

    def go_on(self) -> None:
        self.sign.touch()

    def until_begun(self, process: subprocess.Popen[str]) -> str:
        """Wait until a check that runs has begun to start a server; return the notebook."""
        deadline = time.monotonic() + PATIENCE
        while not (begun := starts(self.gateway)):
            assert process.poll() is None
            assert time.monotonic() < deadline, self.gateway.log.read_text()
        return begun[0]

    @contextmanager
    def checking(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Run a check while the context is open."""
        with subprocess.Popen(
            [sys.executable, "-m", "gateway", "project", "links", "demo", "--check", *words],
            env=self.gateway.environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                self.go_on()
                process.kill()


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[Hanging]:
    sign = tmp_path / "sign"
    code = f"import os, time\nwhile not os.path.exists({str(sign)!r}): time.sleep(0.05)\nexit(1)"
    with gateway_of(tmp_path, *with_jupyter(tmp_path, code)) as gateway:
        yield Hanging(gateway, sign)


def test_server_that_takes_too_long_is_told(hanging: Hanging) -> None:
    with hanging.checking("--timeout", "1s") as process:
        assert process.stdout is not None
        assert "not up within 1 s" in process.stdout.readline()
        hanging.go_on()
        process.communicate(timeout=PATIENCE)
    assert process.returncode == Exit.FAILED
    assert_nothing_left(hanging.gateway)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_check_that_is_interrupted_leaves_nothing(hanging: Hanging, how: signal.Signals) -> None:
    with hanging.checking() as process:
        slug = hanging.until_begun(process)
        assert slug in hanging.gateway.nbgate("notebook", "list")
        process.send_signal(how)
        hanging.go_on()
        ended = process.communicate(timeout=PATIENCE)
    assert (process.returncode, *ended) == (Exit.INTERRUPTED, "", "nbgate: interrupted\n")
    assert_nothing_left(hanging.gateway)


async def test_links_are_opened_through_httpd_too(request: pytest.FixtureRequest) -> None:
    async with AsyncExitStack() as stack:
        made = await site(request, "process", stack, direct=True)
        made.gateway.nbgate("project", "update", "demo", "--links", "plain")
        code, faults = check(made.gateway, "demo")
        assert (code, set(faults.values())) == (Exit.OK, {"ok"})
        assert "/ipythonExercice/demo/" in made.front.log.read_text()
        assert_nothing_left(made.gateway)
