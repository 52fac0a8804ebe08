"""What is special about SQLite: its file, its modes, its transactions."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection

_BUSY_SECONDS = 15.0


def prepare(path: Path) -> None:
    """Make the file with mode 0600 where there is none, check it, and set the journal mode.

    WAL (https://www.sqlite.org/wal.html) lets reading and writing go on at once, and is kept in
    the file. Blocking: run it in a thread.

    Raises:
        OSError: it cannot be made, opened or written, or is damaged.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with path.open("r+b"):
        pass
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=_BUSY_SECONDS)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise OSError(str(error)) from error
    if found != "ok":
        raise OSError(f"it is damaged: {found}")


def on_connect(dbapi_connection: Any, _record: object) -> None:
    """Set what SQLite keeps per connection."""
    # The driver must not begin transactions by itself: on_begin does.
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={int(_BUSY_SECONDS * 1000)}")
    cursor.execute("PRAGMA foreign_keys=ON")
    # FULL: what was answered with success is there after a power cut.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def on_begin(connection: Connection) -> None:
    """Begin a transaction. One that writes takes the lock first, so that it can always wait.

    (A transaction that reads and then wants to write fails at once, without waiting, when
    another one wrote in between: https://www.sqlite.org/isolation.html.)
    """
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
