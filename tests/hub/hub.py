"""A real JupyterHub, with nbgate-proxy as its proxy, in a folder and on ports of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.places import free_port
from tests.support.waiting import PATIENCE

PROXY = str(Path(sys.executable).with_name("nbgate-proxy"))
TOKEN = "0123456789abcdef" * 2  # of the service that asks the hub's API for the tests
_RUNNING = b"JupyterHub is now running"

# What every hub of the tests has, besides what the manual says. Ports and folders are its own.
_COMMON = """
import os
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/home/{{username}}"
c.Spawner.args = ["--allow-root"] if os.geteuid() == 0 else []
c.Spawner.environment = {{"JUPYTER_PREFER_ENV_PATH": "1"}}
c.Spawner.start_timeout = c.Spawner.http_timeout = {patience:.0f}
c.ConfigurableHTTPProxy.check_running_interval = 1
c.JupyterHub.last_activity_interval = 1
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
c.JupyterHub.services = [{{"name": "tests", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [
    {{
        "name": "tests",
        "services": ["tests"],
        "scopes": ["admin:users", "admin:servers", "proxy", "read:hub"],
    }}
]
"""


@dataclass
class Hub:
    """A JupyterHub process.

    Attributes:
        folder: its working directory; with a short name, for there are sockets in it.
        url: what people's browsers call it, without a slash at the end.
        log: what it, its proxy and its people's servers print.
    """

    folder: Path
    url: str
    environment: Path
    config: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "hub.log"

    @property
    def proxy_pid(self) -> int:
        """The process id of the proxy that it has started last."""
        return int((self.folder / "jupyterhub-proxy.pid").read_text())

    def start(self) -> None:
        """Start it and wait until it says that it runs."""
        common = _COMMON.format(folder=self.folder, patience=PATIENCE, token=TOKEN)
        file = self.folder / "jupyterhub_config.py"
        file.write_text(f"c = get_config()\n{common}\n{self.config}")
        binaries = self.environment / "bin"
        with self.log.open("ab") as output:
            told = output.tell()
            self.process = subprocess.Popen(
                [binaries / "jupyterhub", "--config", file],
                cwd=self.folder,
                env={
                    "PATH": f"{binaries}:{os.environ['PATH']}",
                    "HOME": str(self.folder),
                    "LANG": "C.UTF-8",
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._wait_until_running(told)

    def end(self) -> None:
        """End it as it wants to be ended."""
        assert self.process is not None
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        """End it; what it has started and left behind is killed.

        It may leave a proxy: once it has restarted one, it also does so while it ends.
        """
        try:
            self.end()
        finally:
            for pid in _processes_in(self.folder):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _wait_until_running(self, told: int) -> None:
        """Wait until the log says so behind its first `told` bytes."""
        assert self.process is not None
        deadline = time.monotonic() + PATIENCE
        while _RUNNING not in self.log.read_bytes()[told:]:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the hub did not come up:\n{self.log.read_text()}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)


@contextlib.contextmanager
def folder_for_hub() -> Iterator[Path]:
    """Yield a new folder with a name that is short, and without capital letters.

    JupyterHub lower-cases the sockets of people's servers as if they were host names.
    """
    folder = Path(tempfile.mkdtemp(prefix="nbgate-hub-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running_hub(hub: Hub, config: str) -> Iterator[Hub]:
    """Run a hub with the lines of `config` behind what all hubs of the tests have."""
    hub.config = config
    try:
        hub.start()
        yield hub
    finally:
        if hub.process is not None:
            hub.stop()


def on_loopback(port: int = 0) -> str:
    """Return an URL with a port that nobody listens on now, or with the given one."""
    return f"http://127.0.0.1:{port or free_port()}"


def _processes_in(folder: Path) -> list[int]:
    """Return the ids of the processes whose home is in the folder: a hub's and its people's."""
    home = b"\0HOME=" + os.fsencode(folder)
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if home in b"\0" + file.read_bytes():
                found.append(int(file.parent.name))
    return found
