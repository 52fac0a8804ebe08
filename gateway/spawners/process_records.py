"""The process spawner's records: one small 0600 file per server, and its log beside it.

`<folder>/<slug>.json`, `<slug>.log`, and `<slug>/` for Jupyter's configuration and runtime files.
They hold no secret but what Jupyter writes into its runtime folder, and are for the owner only.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import deque
from pathlib import Path
from typing import NamedTuple


class Record(NamedTuple):
    """One server process.

    Attributes:
        slug: the notebook's slug.
        pid: process id.
        port: of 127.0.0.1.
        ticks: when the process started, in clock ticks since the machine did.
        generation: the notebook's generation.
        boot: the run of the machine that pid and ticks belong to.
    """

    slug: str
    pid: int
    port: int
    ticks: int
    generation: int
    boot: str

    @property
    def id(self) -> str:
        """The engine's id of the server."""
        return f"{self.pid}-{self.ticks}"


class Records:
    """The records in one folder. Blocking, but small: callers use a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self, slug: str) -> Path:
        """Make the folders for a server and return its own."""
        own = self._folder / slug
        self._folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        own.mkdir(mode=0o700, exist_ok=True)
        return own

    def save(self, record: Record) -> None:
        """Write a record, whole or not at all."""
        descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=".record-")  # 0600
        with os.fdopen(descriptor, "w") as file:
            json.dump(record._asdict(), file)
        Path(name).replace(self._path(record.slug))

    def load(self, slug: str) -> Record | None:
        """Return the record; None when there is none, or none that can be read."""
        try:
            return Record(**json.loads(self._path(slug).read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def all(self) -> list[Record]:
        """Return all records that can be read."""
        found = (self.load(path.stem) for path in sorted(self._folder.glob("*.json")))
        return [record for record in found if record is not None]

    def remove(self, record: Record) -> None:
        """Remove the record; the log stays for the operator until the next start."""
        self._path(record.slug).unlink(missing_ok=True)

    def log_tail(self, slug: str, lines: int) -> str:
        """Return the last `lines` lines of the log; "" when there is none."""
        try:
            with (self._folder / f"{slug}.log").open(errors="replace") as file:
                return "".join(deque(file, maxlen=lines))
        except FileNotFoundError:
            return ""

    def _path(self, slug: str) -> Path:
        return self._folder / f"{slug}.json"
