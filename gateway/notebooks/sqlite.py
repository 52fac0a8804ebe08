"""What is special about SQLite: its file, its modes, its transactions."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection

_BUSY_SECONDS = 15.0
_RETRY_SECONDS = 0.02


def prepare(path: Path, *, pause: Callable[[float], None] = time.sleep) -> None:
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
            _use_wal(connection, pause)
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise OSError(str(error)) from error
    if found != "ok":
        raise OSError(f"it is damaged: {found}")


def _use_wal(connection: sqlite3.Connection, pause: Callable[[float], None]) -> None:
    """Set the journal mode, at the latest when others that open the file let it.

    (Who reads and wants to write while another one writes gets "busy" at once, as the two could
    wait for each other: https://www.sqlite.org/c3ref/busy_handler.html.)
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
        pause(_RETRY_SECONDS)


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
