"""Errors of the route file. Each text is one line that names the file and the remedy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class RouteFileError(Exception):
    """The root of what can be wrong with a route file."""


@dataclass(eq=False)
class DamagedDatabase(RouteFileError):
    """The file is no sound GDBM file, or its content is not what was published.

    Attributes:
        path: the file. It is left as it is.
        reason: what is wrong with it.
    """

    path: Path
    reason: str

    def __str__(self) -> str:
        return (
            f"route file {self.path} is damaged: {self.reason}; `nbgate route check` says more, "
            "`nbgate route rebuild` writes a fresh one and keeps this one beside it"
        )


@dataclass(eq=False)
class DatabaseInUse(RouteFileError):
    """Somebody else writes the file.

    Attributes:
        path: the file.
        holder: who has it, as far as known.
    """

    path: Path
    holder: str = "another process"

    def __str__(self) -> str:
        return (
            f"route file {self.path} is in use by {self.holder}; stop that one, or choose "
            "another file with NBGATE_ROUTE_FILE"
        )


class GdbmMissing(RouteFileError):
    """The GDBM library is not on this machine."""

    def __str__(self) -> str:
        return (
            "libgdbm.so.6 is not installed; install the package libgdbm6 "
            "(`apt-get install libgdbm6` on Debian and Ubuntu, `dnf install gdbm-libs` on Fedora)"
        )


@dataclass(eq=False)
class BuildFailed(RouteFileError):
    """A new route file could not be made; the old one is in place.

    Attributes:
        path: the file.
        reason: what went wrong.
    """

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"route file {self.path} could not be written: {self.reason}"


@dataclass(eq=False)
class Overtaken(BuildFailed):
    """A new file came too late: the one in place was emptied after this one was begun."""

    reason: str = "it was emptied meanwhile"
