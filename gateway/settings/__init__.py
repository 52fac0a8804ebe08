"""All settings: one pydantic-settings tree, read by app/ and cli/ alone.

A setting comes from a flag of `nbgate serve`, else from the environment (`NBGATE_…`), else from
the file named by NBGATE_CONFIG (`KEY=value` lines), else from its default here. serving.py,
engine.py, lifecycle.py and people.py have those of a part; what is durable is here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import SettingsConfigDict

from gateway.durations import LONGEST
from gateway.errors import InvalidInput
from gateway.settings.engine import EngineSettings
from gateway.settings.lifecycle import LifecycleSettings
from gateway.settings.people import PeopleSettings
from gateway.settings.serving import ServingSettings
from gateway.settings.values import CommaList, Network, parse_address
from gateway.sizes import parse_bytes

__all__ = ["CommaList", "Network", "Settings", "load_settings", "parse_address", "parse_bytes"]


class Settings(ServingSettings, EngineSettings, LifecycleSettings, PeopleSettings):
    """The settings of one gateway. Durations are seconds, sizes bytes."""

    model_config = SettingsConfigDict(env_prefix="NBGATE_", extra="ignore", frozen=True)

    state_dir: Path = Field(
        default=Path.home() / ".local/state/nbgate",
        description="Folder for the key, the database, the route file, sockets and spaces.",
    )
    database_url: str = Field(
        default="",
        description="SQLAlchemy URL; empty: SQLite in state_dir. postgresql+asyncpg://… works too.",
    )
    route_file: Path | None = Field(
        default=None, description="GDBM route file; none: routes/routes.gdbm in state_dir."
    )
    persist_routes: bool = Field(
        default=True,
        description="Keep routes that are set through JupyterHub's API (/api/routes on "
        "`management_listen`) over restarts, in the route file and its companion.",
    )
    httpd_direct: bool = Field(
        default=False,
        description="Publish hot notebooks, who owns them and the edge ids of sessions to httpd, "
        "which then serves notebooks of our image to their owners directly.",
    )
    session_lifetime: float = Field(
        default=14 * 86400.0, gt=0, description="Seconds a session lives."
    )
    link_lifetime: float = Field(
        default=600.0, gt=0, description="Seconds a one-time login link can be used."
    )
    share_lifetime: float = Field(
        default=7 * 86400.0,
        ge=0,
        le=LONGEST,
        description="Seconds that a read-only copy which somebody shares can be read by whoever "
        "has its address; 0: nobody shares any, and none that was made is shown.",
    )

    @property
    def routes_path(self) -> Path:
        """The GDBM route file."""
        return self.route_file or self.state_dir / "routes" / "routes.gdbm"

    @property
    def spaces_path(self) -> Path:
        """The root of people's spaces, as the gateway sees it."""
        return self.spaces_dir or self.state_dir / "spaces"

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or f"sqlite+aiosqlite:///{self.state_dir / 'nbgate.db'}"

    @property
    def token_file(self) -> Path:
        """The 0600 file with the management API's token."""
        return self.state_dir / "management.token"


def load_settings(**flags: Any) -> Settings:
    """Return the settings in force; `flags` that are not None win.

    Raises:
        InvalidInput: a value is wrong; the text is one line that names the variable.
    """
    config = os.environ.get("NBGATE_CONFIG")
    if config:
        _check_file(Path(config))
    chosen = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(_env_file=config or None, **chosen)
    except ValidationError as error:
        first = error.errors()[0]
        name = "NBGATE_" + str(first["loc"][0]).upper() if first["loc"] else "settings"
        message = first["msg"].removeprefix("Value error, ")
        raise InvalidInput(f"{name}: {message}") from error


def _check_file(path: Path) -> None:
    """Raise InvalidInput where the settings file cannot be read, or names what is no setting."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"NBGATE_CONFIG: cannot read {path}: {error}") from error
    known = {f"NBGATE_{name.upper()}" for name in Settings.model_fields}
    for line in lines:
        name = line.partition("=")[0].removeprefix("export ").strip()
        if name.upper().startswith("NBGATE_") and name.upper() not in known:
            raise InvalidInput(f"{path}: {name} is no setting; docs/settings.md lists them")
