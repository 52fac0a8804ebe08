"""A real httpd with a configuration of the test's own. That of the project's is front.py's."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import pwd
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from tests.support.places import free_port
from tests.support.waiting import PATIENCE

_MODULES = (
    "mpm_event",
    "authz_core",
    "headers",
    "proxy",
    "proxy_http",
    "proxy_wstunnel",
    "rewrite",
)


@contextlib.contextmanager
def folder_for_httpd() -> Iterator[Path]:
    """Yield a new folder that httpd's workers can enter, which pytest's own folders forbid."""
    folder = Path(tempfile.mkdtemp(prefix="nbgate-httpd-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.asynccontextmanager
async def running_apache(folder: Path, configuration: str, *modules: str) -> AsyncIterator[int]:
    """Run httpd; yield its port on 127.0.0.1 once it answers, and stop it at the end.

    Args:
        folder: for its files, `error.log` among them; see `folder_for_httpd`.
        configuration: what comes after modules, `Listen`, `User` and log settings.
        modules: names of modules (`status`) besides those for proxying by a rewrite map.

    Raises:
        RuntimeError: it ended, or did not answer in time; the text has its log.
    """
    port = free_port()
    file = folder / "httpd.conf"
    text = f"{_preamble(folder, port, modules)}\n{configuration}\n"
    await asyncio.to_thread(file.write_text, text)
    process = await asyncio.create_subprocess_exec(
        _binary(), "-D", "FOREGROUND", "-f", str(file), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await _answering(process, port, folder / "error.log")
        yield port
    finally:
        await stop(process)


def _binary() -> str:
    binary = shutil.which("apache2", path=f"{os.environ['PATH']}:/usr/sbin")
    assert binary is not None, "httpd is missing: apt-get install apache2-bin"
    return binary


def _preamble(folder: Path, port: int, modules: tuple[str, ...]) -> str:
    lines = [
        f"ServerRoot {folder}",
        "ServerName localhost",
        f"PidFile {folder}/httpd.pid",
        f"ErrorLog {folder}/error.log",
        f"Listen 127.0.0.1:{port}",
        *(
            f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so"
            for name in (*_MODULES, *modules)
        ),
    ]
    if os.geteuid() == 0:
        user = pwd.getpwnam("www-data")
        lines += [f"User {user.pw_name}", f"Group {grp.getgrgid(user.pw_gid).gr_name}"]
    return "\n".join(lines)


async def _answering(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while process.returncode is None:
                with contextlib.suppress(ConnectionError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise RuntimeError(f"httpd does not answer: {_text(log)}") from None
    raise RuntimeError(f"httpd ended with status {process.returncode}: {_text(log)}")


def _text(log: Path) -> str:
    return log.read_text(errors="replace") if log.exists() else "(no log)"


async def stop(process: asyncio.subprocess.Process) -> None:
    """End httpd by its process id: the parent takes its children along."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(PATIENCE):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
