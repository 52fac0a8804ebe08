"""The database: where it is, how it is opened and migrated, and transactions on it.

SQLite by default, PostgreSQL by URL. The tables are schema.py's, statements the repositories'.
What the drivers raise becomes DatabaseError or IntegrityError here and nowhere else.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from gateway.errors import GatewayError, InvalidInput
from gateway.notebooks import migrate, sqlite

T = TypeVar("T")

_STATEMENT_SECONDS = 15.0
_MIGRATION_SECONDS = 120.0
_CLOSE_SECONDS = 10.0
_SQLITE = "sqlite+aiosqlite"
_POSTGRES = "postgresql+asyncpg"
_DRIVERS = {
    "sqlite": _SQLITE,
    _SQLITE: _SQLITE,
    "postgres": _POSTGRES,
    "postgresql": _POSTGRES,
    _POSTGRES: _POSTGRES,
}


class DatabaseError(GatewayError):
    """The database cannot be opened, read or written; the text names it and the remedy."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "database"

    def for_people(self) -> str:
        """See GatewayError."""
        return "the server's database does not answer"


def parse_url(text: str) -> URL:
    """Return `text` as the URL of a driver that we use.

    `sqlite:///…`, `postgres://…` and `postgresql://…` are accepted too, and libpq's `sslmode`.

    Raises:
        InvalidInput: it is no URL, of another database, in memory, or asyncpg is not installed.
    """
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError) as error:
        raise InvalidInput(
            "the database URL cannot be read; write for example "
            "sqlite+aiosqlite:////var/lib/nbgate/nbgate.db or postgresql+asyncpg://user@host/name"
        ) from error
    if url.drivername not in _DRIVERS:
        raise InvalidInput(
            f"databases of kind {url.drivername!r} are not supported; use {_SQLITE}:///… or "
            f"{_POSTGRES}://…"
        )
    url = url.set(drivername=_DRIVERS[url.drivername])
    return _checked_postgres(url) if url.drivername == _POSTGRES else _checked_sqlite(url)


def _checked_sqlite(url: URL) -> URL:
    if url.database in (None, "", ":memory:") or str(url.database).startswith("file:"):
        raise InvalidInput(
            f"{url} names no file; the database must survive restarts, so write for example "
            f"{_SQLITE}:////var/lib/nbgate/nbgate.db"
        )
    return url


def _checked_postgres(url: URL) -> URL:
    if importlib.util.find_spec("asyncpg") is None:
        raise InvalidInput(
            "PostgreSQL needs the driver asyncpg; install it with: pip install 'nbgate[postgres]'"
        )
    if not url.database:
        raise InvalidInput(f"{url} names no database; write {_POSTGRES}://user@host/name")
    mode = url.query.get("sslmode")
    if mode is None:
        return url
    return url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})


class Database:
    """One database. Nothing is touched before `open`.

    Args:
        url: see parse_url.

    Raises:
        InvalidInput: the URL cannot be used.
    """

    def __init__(self, url: str) -> None:
        self._url = parse_url(url)
        self._engine: AsyncEngine | None = None
        self._changes: set[asyncio.Task[Any]] = set()
        # SQLite has one writer at a time. Waiting here is fair and quick; its own wait polls.
        self._turn: asyncio.Lock | None = asyncio.Lock() if self._is_sqlite else None

    def __str__(self) -> str:
        return self._url.render_as_string(hide_password=True)

    @property
    def _is_sqlite(self) -> bool:
        return self._url.drivername == _SQLITE

    async def open(self) -> None:
        """Make the database where there is none, take the missing migrations, and connect.

        Of gateways that open at once one migrates and the others wait for it.

        Raises:
            DatabaseError: it cannot be reached, is damaged, or was migrated by a newer nbgate.
        """
        try:
            async with asyncio.timeout(_MIGRATION_SECONDS):
                await self._prepare()
                await self._migrate()
        except migrate.TooNew as error:
            raise DatabaseError(
                f"{self}: a newer nbgate has migrated it (to {error}); start that version, or "
                f"put the backup back that you made before"
            ) from error
        except TimeoutError as error:
            raise DatabaseError(f"{self}: it does not answer; is it up, or locked?") from error
        except (SQLAlchemyError, OSError, ValueError, TypeError) as error:
            raise _unusable(self, error) from error
        self._engine = self._make_engine(pooled=True)

    async def close(self) -> None:
        """Finish the changes that are under way, then disconnect."""
        if self._changes:
            await asyncio.wait(self._changes, timeout=_CLOSE_SECONDS)
        if self._engine is not None:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._engine.dispose()
            self._engine = None

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection that sees one state of the database; nothing is to be written.

        Raises:
            DatabaseError: the database fails.
        """
        async with self._connection({"reading": True}) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection in a transaction: committed at the end, rolled back on an error.

        Raises:
            IntegrityError: a row exists already, or what it refers to does not.
            DatabaseError: the database fails.
        """
        turn: AbstractAsyncContextManager[None] = self._turn or nullcontext()
        async with turn, self._connection({}) as connection:
            yield connection

    async def finish(self, change: Coroutine[Any, Any, T], name: str) -> T:
        """Carry out `change` to its end, also when whoever waits for it goes away.

        What is stored and what is in memory are changed together: a cancellation between the
        two would leave them apart until the next start.
        """
        task = asyncio.create_task(change, name=name)
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        return await asyncio.shield(task)

    @asynccontextmanager
    async def _connection(self, options: dict[str, Any]) -> AsyncIterator[AsyncConnection]:
        if self._engine is None:
            raise DatabaseError(f"{self} is not open")
        try:
            async with self._engine.connect() as connection:
                await connection.execution_options(**options)
                async with connection.begin():
                    yield connection
        except IntegrityError:
            raise
        except (SQLAlchemyError, TimeoutError, OSError) as error:
            raise _unusable(self, error) from error

    async def _prepare(self) -> None:
        if self._is_sqlite:
            await asyncio.to_thread(sqlite.prepare, Path(str(self._url.database)))

    async def _migrate(self) -> None:
        engine = self._make_engine(pooled=False)
        try:
            async with engine.begin() as connection:
                await migrate.upgrade(connection)
        finally:
            await engine.dispose()

    def _make_engine(self, *, pooled: bool) -> AsyncEngine:
        options: dict[str, Any] = {"poolclass": NullPool}
        if pooled:
            options = {"pool_timeout": _STATEMENT_SECONDS * 2, "pool_pre_ping": not self._is_sqlite}
        if self._is_sqlite:
            engine = create_async_engine(self._url, **options)
            event.listen(engine.sync_engine, "connect", sqlite.on_connect)
            event.listen(engine.sync_engine, "begin", sqlite.on_begin)
            return engine
        seconds = _STATEMENT_SECONDS if pooled else _MIGRATION_SECONDS
        arguments = {"timeout": _STATEMENT_SECONDS, "command_timeout": seconds}
        return create_async_engine(self._url, connect_args=arguments, **options)


def _unusable(database: Database, error: BaseException) -> DatabaseError:
    cause = getattr(error, "orig", None) or error
    if isinstance(error, TimeoutError) or isinstance(cause, TimeoutError):
        return DatabaseError(f"{database}: it does not answer in time; is it up, or locked?")
    text = _text_of(cause)
    return DatabaseError(f"{database}: {text or type(cause).__name__}; {_remedy(text)}")


def _text_of(cause: BaseException) -> str:
    """Return what a driver complains about, in one line and without the class it prefixes."""
    if isinstance(cause, OSError) and cause.errno is not None:
        return os.strerror(cause.errno)
    text = " ".join(str(cause).split())
    return text.split(">: ", 1)[1] if text.startswith("<class ") and ">: " in text else text


def _remedy(text: str) -> str:
    lower = text.lower()
    if "malformed" in lower or "not a database" in lower or "damaged" in lower:
        return "put it back from a backup, or move it away to begin anew"
    if "unable to open" in lower or "readonly" in lower or "no such file" in lower:
        return "check that its folder exists and that the gateway's user may write there"
    if "full" in lower or "space" in lower:
        return "make room on its disk"
    return "check the database and NBGATE_DATABASE_URL"
