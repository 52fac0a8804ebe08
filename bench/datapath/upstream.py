"""What every proxy proxies to: nginx for the small answer and files, the sink for all else."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.datapath.configs import Place, nginx_upstream
from bench.datapath.processes import find_program, free_port, program

SMALL_BYTES = 200
FILE_BYTES = {"1m.bin": 1 << 20, "100m.bin": 100 << 20}
_BLOCK = b"".join(hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(1 << 15))


@dataclass(frozen=True, slots=True)
class Upstream:
    """The running upstream.

    Attributes:
        web: port of the answers and files.
        sink: port of the uploads and WebSockets.
        pids: of its programs.
        configuration: of nginx.
    """

    web: int
    sink: int
    pids: tuple[int, ...]
    configuration: str


def small_body() -> str:
    """Return 200 bytes such as a Jupyter server's status."""
    start = (
        '{"connections": 3, "kernels": 1, "last_activity": "2026-01-01T12:00:00.000000Z", '
        '"started": "2026-01-01T08:00:00.000000Z", "padding": "'
    )
    return start + "x" * (SMALL_BYTES - len(start) - 2) + '"}'


def file_content(name: str) -> Iterator[bytes]:
    """Yield the content of a file in blocks of 1 MiB."""
    for _ in range(FILE_BYTES[name] // len(_BLOCK)):
        yield _BLOCK


def worker_user() -> str:
    """Return the user for workers of a master that is root; "" where we are not root."""
    return "www-data" if os.geteuid() == 0 else ""


@contextlib.contextmanager
def running_upstream(folder: Path, core: int) -> Iterator[Upstream]:
    """Run the upstream on a core; its files go into `folder`, which it may enter."""
    home = folder / "upstream"
    home.mkdir()
    for name in FILE_BYTES:
        with (home / name).open("wb") as file:
            file.writelines(file_content(name))
    web, sink = free_port(), free_port()
    place = Place(str(home), 0, web, sink, worker_user())
    configuration = nginx_upstream(place, str(home), small_body())
    (home / "nginx.conf").write_text(configuration)
    binary = find_program("nginx", "nginx")
    words = [sys.executable, "-m", "bench.datapath.sink", str(sink)]
    with (
        program(
            [binary, "-p", str(home), "-c", "nginx.conf"], {core}, home / "nginx.log", port=web
        ) as answers,
        program(words, {core}, home / "sink.log", port=sink) as swallows,
    ):
        yield Upstream(
            web, sink, (answers.pid, swallows.pid), configuration.replace(str(home), "<folder>")
        )
    shutil.rmtree(home)
