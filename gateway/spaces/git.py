"""Fetches a git repository into a folder, by the `git` command."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from gateway.errors import GatewayError
from gateway.notebooks.source import Source, without_credentials

_CLONE_SECONDS = 120.0
_KILL_SECONDS = 5.0
# Nothing of our machine, nor the URL with its password, comes into what students may have.
_CLONE = (
    *("-c", "core.logAllRefUpdates=false"),
    *("clone", "--quiet", "--template=", "--origin", "origin"),
    *("--depth", "1", "--no-tags", "--single-branch"),
)
# Set by git itself where we run below one of its hooks; they would point it elsewhere.
_OTHER_REPOSITORY = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_WORK_TREE",
    }
)


class SourceUnavailable(GatewayError):
    """A project's source cannot be read; the text says what and the remedy."""

    code = "source"

    def for_people(self) -> str:
        """See GatewayError."""
        return "the files of its course cannot be had"


async def clone(source: Source, folder: Path, seconds: float = _CLONE_SECONDS) -> None:
    """Fetch the newest commit of the repository into `folder`, which must not exist.

    The clone does not know the credentials of the source's URL.

    Raises:
        SourceUnavailable: git is not there, refuses, or is not done in time.
    """
    assert source.url is not None
    branch = ["--branch", source.ref] if source.ref else []
    await _run(source, seconds, *_CLONE, *branch, "--", source.url, str(folder))
    if source.address != source.url:
        config = str(folder / ".git" / "config")
        origin = ("remote.origin.url", source.address)
        await _run(source, seconds, "config", "--file", config, *origin)


async def _run(source: Source, seconds: float, *words: str) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            "git",
            *words,
            env=_environment(os.environ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            # A group of its own: git has children, and all must end at the deadline.
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise SourceUnavailable(
            "git is not installed on the gateway's machine; install the package git"
        ) from error
    await _finish(process, source, seconds)


async def _finish(process: asyncio.subprocess.Process, source: Source, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            _, output = await process.communicate()
    except TimeoutError as error:
        raise SourceUnavailable(f"git repository {source} did not come in {seconds:g} s") from error
    finally:
        if process.returncode is None:
            await _kill(process)
    if process.returncode != 0:
        why = _first_complaint(output, source) or f"git ended with {process.returncode}"
        raise SourceUnavailable(
            f"git repository {source} cannot be fetched: {why}; check the project's source"
        )


def _first_complaint(output: bytes, source: Source) -> str:
    # What comes after it ("make sure you have the correct access rights") explains nothing.
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines()]
    first = next((line for line in lines if line and not line.startswith("warning: ")), "")
    # git may repeat the URL, or a part of it, with what str(source) leaves out.
    first = without_credentials(first.replace(source.url or "", str(source)))
    return first.removeprefix("fatal: ").rstrip(".")


async def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_KILL_SECONDS):
            await process.wait()


def _environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return git's environment: it never asks, and speaks only protocols that we accept."""
    kept = {name: value for name, value in inherited.items() if name not in _OTHER_REPOSITORY}
    kept.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=15")
    return kept | {
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_ALLOW_PROTOCOL": "https:ssh:file:git",
    }
