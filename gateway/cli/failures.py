"""How commands fail: exit codes, and errors that are one line for people."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Exit(enum.IntEnum):
    """Exit codes; `nbgate --help` documents them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_REACHABLE = 3
    NOT_FOUND = 4
    CONFLICT = 5
    TOKEN = 6
    INTERRUPTED = 130
    BROKEN_PIPE = 141


EXIT_CODES = """\
exit codes:
  0  done
  1  refused or failed
  2  wrong usage, or a wrong setting
  3  no gateway answers
  4  there is no such notebook, project, route or file
  5  conflict: it exists already, is in use, or is locked
  6  the management token is missing, cannot be read, or is refused
"""

_EXITS: dict[int, Exit] = {
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    423: Exit.CONFLICT,
}


class CommandError(Exception):
    """A command failed; the text is one line that names the thing and the remedy."""

    code: Exit = Exit.FAILED


class UsageError(CommandError):
    """The command line, or a setting, is wrong."""

    code = Exit.USAGE


@dataclass(eq=False)
class NotReachable(CommandError):
    """Nothing listens at `address`, or what does is no gateway. `reason` says which."""

    address: str
    reason: str
    code = Exit.NOT_REACHABLE

    def __str__(self) -> str:
        return (
            f"no gateway answers at {self.address} ({self.reason}); start it with `nbgate serve`, "
            f"or name another with --management or NBGATE_MANAGEMENT_LISTEN"
        )


class TokenUnusable(CommandError):
    """The management token cannot be read, or is not this gateway's."""

    code = Exit.TOKEN


@dataclass(eq=False)
class Refused(CommandError):
    """The gateway answered with a problem.

    Attributes:
        status: HTTP status code.
        detail: one line.
        log_tail: the end of a server's log that explains it; "" for none.
    """

    status: int
    detail: str
    log_tail: str = ""

    def __post_init__(self) -> None:
        self.code = _EXITS.get(self.status, Exit.FAILED)

    def __str__(self) -> str:
        return self.detail
