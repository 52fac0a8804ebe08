"""What the parts of control are made with: all that needs nothing but settings, and the folders."""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass

from gateway.app.admission import open_maps
from gateway.app.configured import namespace_of, space_owner_of, spawner_of
from gateway.app.people import vouchers_of
from gateway.errors import InvalidInput
from gateway.launch.edges import Edges
from gateway.launch.session_table import SessionTable
from gateway.launch.sessions import Sessions
from gateway.metrics import Metrics
from gateway.namespace import Namespace
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.database import Database
from gateway.notebooks.identity import Identity
from gateway.settings import Settings
from gateway.spaces import Spaces
from gateway.spawners.base import Spawner
from routes.admission import AdmissionMaps


@dataclass(frozen=True, slots=True)
class Base:
    """What needs nothing but settings.

    Attributes:
        gateway: the id of this run of this gateway.
        people: the maps with which httpd admits people by itself; None where it does not.
    """

    gateway: str
    identity: Identity
    metrics: Metrics
    database: Database
    catalogue: Catalogue
    sessions: Sessions
    spaces: Spaces
    spawner: Spawner
    namespace: Namespace
    people: AdmissionMaps | None


async def open_base(
    settings: Settings, stack: contextlib.AsyncExitStack, session_table: SessionTable
) -> Base:
    """Open all of it; `stack` closes it.

    Args:
        settings: in force; their folders are there.
        stack: closes what is opened.
        session_table: to fill.

    Raises:
        DatabaseError: the database cannot be used.
        DatabaseInUse, GdbmMissing, OSError: a map for httpd cannot; see ApacheDB.
    """
    identity = Identity.load(settings.state_dir)
    metrics = Metrics()
    if settings.tls_cert is not None:
        metrics.watch_certificate(settings.tls_cert)
    database = Database(settings.database)
    await database.open()
    stack.push_async_callback(database.close)
    people = open_maps(settings, metrics, stack)
    sessions = await _sessions(settings, database, session_table, people)
    catalogue = Catalogue(database)
    catalogue.subscribe(sessions.nameless.notebook_changed)
    spaces = Spaces(settings.spaces_path, space_owner_of(settings))
    stack.push_async_callback(spaces.close)
    spawner = spawner_of(settings, identity, metrics)
    stack.push_async_callback(spawner.close)
    return Base(
        gateway=uuid.uuid4().hex,
        identity=identity,
        metrics=metrics,
        database=database,
        catalogue=catalogue,
        sessions=sessions,
        spaces=spaces,
        spawner=spawner,
        namespace=namespace_of(settings),
        people=people,
    )


async def _sessions(
    settings: Settings, database: Database, table: SessionTable, people: AdmissionMaps | None
) -> Sessions:
    sessions = Sessions(
        database,
        table,
        settings.session_lifetime,
        edges=Edges(None if people is None else people.edges),
        unused=settings.anonymous_lifetime,
        vouchers=vouchers_of(settings),
    )
    await sessions.load()
    return sessions


def make_folders(settings: Settings) -> None:
    """Make the folders that are not there. Raises InvalidInput where that cannot be."""
    folders = {
        settings.state_dir: 0o711,
        settings.routes_path.parent: 0o755,
        settings.state_dir / "run": 0o700,
    }
    for folder, mode in folders.items():
        try:
            if not folder.exists():
                folder.mkdir(parents=True, mode=mode)
        except OSError as error:
            raise InvalidInput(
                f"cannot make the folder {folder}: {error.strerror}; choose another with "
                f"NBGATE_STATE_DIR or NBGATE_ROUTE_FILE"
            ) from error
