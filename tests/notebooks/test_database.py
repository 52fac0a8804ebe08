"""Opening, migrating and refusing databases; transactions."""

from __future__ import annotations

import asyncio
import importlib.util
import multiprocessing
import sqlite3
import stat
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import IntegrityError

from gateway.errors import InvalidInput
from gateway.notebooks import schema, sqlite
from gateway.notebooks.database import Database, DatabaseError, parse_url
from tests.support.postgres import Cluster
from tests.support.waiting import PATIENCE

_NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def _ticket(digest: str = "d", created: datetime = _NOON) -> sa.Insert:
    return sa.insert(schema.tickets).values(
        digest=digest,
        purpose="login",
        subject="mary",
        host="h",
        next_path="/",
        state="",
        created=created,
        expires=created + timedelta(seconds=60),
    )


async def _count(database: Database) -> int:
    async with database.reading() as connection:
        found = await connection.execute(sa.select(sa.func.count()).select_from(schema.tickets))
        return int(found.scalar_one())


async def test_migrations_lead_to_exactly_the_tables_of_the_schema(database: Database) -> None:
    def differences(connection: sa.Connection) -> list[object]:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        return list(compare_metadata(context, schema.metadata))

    async with database.reading() as connection:
        assert await connection.run_sync(differences) == []


async def test_second_open_changes_nothing(database_url: str) -> None:
    first = Database(database_url)
    await first.open()
    async with first.writing() as connection:
        await connection.execute(_ticket())
    await first.close()
    second = Database(database_url)
    await second.open()
    assert await _count(second) == 1
    await second.close()


async def test_gateways_that_open_a_new_database_at_once_all_succeed(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(6)]
    await asyncio.gather(*(database.open() for database in databases))
    assert [await _count(database) for database in databases] == [0] * 6
    for database in databases:
        await database.close()


def _open_and_close(url: str) -> None:
    async def run() -> None:
        database = Database(url)
        await database.open()
        await database.close()

    asyncio.run(run())


async def test_processes_that_open_a_new_database_at_once_all_succeed(database_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_open_and_close, args=(database_url,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        await asyncio.to_thread(process.join, PATIENCE)
    assert [process.exitcode for process in processes] == [0, 0, 0]


async def test_database_of_a_newer_nbgate_is_refused_and_left_alone(database: Database) -> None:
    async with database.writing() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match=r"newer nbgate has migrated it \(to 9999\)"):
        await database.open()
    async with database.reading() as connection:
        found = await connection.execute(sa.text("SELECT version_num FROM alembic_version"))
        assert found.scalar_one() == "9999"


async def test_what_fails_within_a_transaction_is_rolled_back(database: Database) -> None:
    async def write_twice() -> None:
        async with database.writing() as connection:
            await connection.execute(_ticket("a"))
            await connection.execute(_ticket("a"))

    with pytest.raises(IntegrityError):
        await write_twice()
    assert await _count(database) == 0


async def test_many_writers_at_once_all_succeed(database: Database) -> None:
    async def write(number: int) -> None:
        async with database.writing() as connection:
            await connection.execute(_ticket(str(number)))

    await asyncio.gather(*(write(number) for number in range(60)))
    assert await _count(database) == 60


async def test_writers_of_two_gateways_wait_for_each_other(database_url: str) -> None:
    gateways = [Database(database_url), Database(database_url)]
    for gateway in gateways:
        await gateway.open()

    async def count_up(gateway: Database, name: str) -> None:
        for number in range(20):
            async with gateway.writing() as connection:
                await connection.execute(sa.select(schema.tickets))
                await connection.execute(_ticket(f"{name}{number}"))

    await asyncio.gather(count_up(gateways[0], "a"), count_up(gateways[1], "b"))
    assert await _count(gateways[0]) == 40
    for gateway in gateways:
        await gateway.close()


async def test_moments_are_stored_in_utc_and_read_aware(database: Database) -> None:
    local = _NOON.astimezone(timezone(timedelta(hours=5)))
    async with database.writing() as connection:
        await connection.execute(_ticket(created=local))
    async with database.reading() as connection:
        read = (await connection.execute(sa.select(schema.tickets.c.created))).scalar_one()
    assert read == _NOON
    assert read.utcoffset() == timedelta(0)


async def test_moment_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(DatabaseError, match="without a time zone"):
        async with database.writing() as connection:
            await connection.execute(_ticket(created=datetime(2026, 1, 1)))


async def test_change_is_finished_although_its_caller_goes_away(database: Database) -> None:
    under_way, go_on, finished = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def change() -> None:
        under_way.set()
        await go_on.wait()
        async with database.writing() as connection:
            await connection.execute(_ticket())
        finished.set()

    caller = asyncio.create_task(database.finish(change(), "change"))
    await under_way.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go_on.set()
    async with asyncio.timeout(PATIENCE):
        await finished.wait()
    assert await _count(database) == 1


async def test_close_waits_for_changes_under_way(database_url: str) -> None:
    database = Database(database_url)
    await database.open()

    async def change() -> None:
        async with database.writing() as connection:
            await connection.execute(_ticket())

    caller = asyncio.create_task(database.finish(change(), "change"))
    await asyncio.sleep(0)
    await database.close()
    await caller
    await database.open()
    assert await _count(database) == 1
    await database.close()


async def test_cancelled_readers_and_writers_leave_a_usable_database(database: Database) -> None:
    async def write(number: int) -> None:
        async with database.writing() as connection:
            await connection.execute(_ticket(str(number)))

    for turns in range(12):
        task = asyncio.create_task(write(turns))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    before = await _count(database)
    await write(1000)
    assert await _count(database) == before + 1


async def test_unopened_database_says_so(database_url: str) -> None:
    with pytest.raises(DatabaseError, match="is not open"):
        await _count(Database(database_url))


# SQLite's files.


def _sqlite(path: Path) -> Database:
    return Database(f"sqlite:///{path}")


async def test_sqlite_file_is_private_and_in_wal_mode(tmp_path: Path) -> None:
    database = _sqlite(tmp_path / "a.db")
    await database.open()
    async with database.reading() as connection:
        mode = (await connection.execute(sa.text("PRAGMA journal_mode"))).scalar_one()
        keys = (await connection.execute(sa.text("PRAGMA foreign_keys"))).scalar_one()
    await database.close()
    assert (mode, keys) == ("wal", 1)
    assert stat.S_IMODE((tmp_path / "a.db").stat().st_mode) == 0o600


def test_new_sqlite_file_that_another_gateway_writes_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "nbgate.db"
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("CREATE TABLE made (before INTEGER)")
        other.execute("BEGIN IMMEDIATE")
        sqlite.prepare(path, pause=lambda _seconds: other.rollback())
    other.close()
    with sqlite3.connect(path) as afterwards:
        assert afterwards.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    afterwards.close()


async def test_sqlite_in_a_missing_folder_names_it_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"missing/a.db.*No such file.*folder exists"):
        await _sqlite(tmp_path / "missing" / "a.db").open()


async def test_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"this is a letter to my aunt " * 100)
    with pytest.raises(DatabaseError, match=r"a\.db: file is not a database; put it back"):
        await _sqlite(path).open()
    assert path.read_bytes() == b"this is a letter to my aunt " * 100


async def test_damaged_sqlite_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    database = _sqlite(path)
    await database.open()
    await database.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)
    with pytest.raises(DatabaseError, match=r"a\.db: .*(malformed|damaged).*; put it back"):
        await database.open()


async def test_truncated_sqlite_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    database = _sqlite(path)
    await database.open()
    await database.close()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(DatabaseError, match=r"a\.db: .*(malformed|damaged).*; put it back"):
        await database.open()


async def test_folder_in_the_place_of_the_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="Is a directory") as caught:
        await _sqlite(tmp_path).open()
    assert "\n" not in str(caught.value)


async def test_write_lock_that_is_never_given_up_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = _sqlite(tmp_path / "a.db")
    await database.open()
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0.05)
    again = _sqlite(tmp_path / "a.db")
    with pytest.raises(DatabaseError, match="database is locked"):
        await again.open()
    other.close()
    await database.close()


# URLs.


@pytest.mark.parametrize(
    ("text", "driver"),
    [
        ("sqlite:////a/b.db", "sqlite+aiosqlite"),
        ("sqlite+aiosqlite:////a/b.db", "sqlite+aiosqlite"),
        ("postgres://u@h/n", "postgresql+asyncpg"),
        ("postgresql://u@h/n", "postgresql+asyncpg"),
        ("postgresql+asyncpg://u@h/n", "postgresql+asyncpg"),
    ],
)
def test_usual_urls_are_accepted(text: str, driver: str) -> None:
    assert parse_url(text).drivername == driver


def test_sslmode_of_libpq_becomes_the_drivers_word() -> None:
    assert dict(parse_url("postgresql://u@h/n?sslmode=require").query) == {"ssl": "require"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "cannot be read"),
        ("nbgate.db", "cannot be read"),
        ("postgresql://u@h:port/n", "cannot be read"),
        ("mysql://u@h/n", "'mysql' are not supported"),
        ("postgresql+psycopg2://u@h/n", "not supported"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("postgresql://u@h", "names no database"),
    ],
)
def test_unusable_url_says_why(text: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        Database(text)


def test_missing_driver_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(InvalidInput, match=r"pip install 'nbgate\[postgres\]'"):
        Database("postgresql://u@h/n")


# PostgreSQL's ways to fail.


async def test_postgresql_that_is_down_is_one_clear_line_without_the_password() -> None:
    database = Database("postgresql://mary:s3cret@127.0.0.1:1/nbgate")
    with pytest.raises(DatabaseError, match=r"127\.0\.0\.1:1/nbgate: .*refused") as caught:
        await database.open()
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_missing_postgresql_database_is_one_clear_line(cluster: Cluster) -> None:
    with pytest.raises(DatabaseError, match='database "nothere" does not exist') as caught:
        await Database(cluster.url("nothere")).open()
    assert "class" not in str(caught.value)
