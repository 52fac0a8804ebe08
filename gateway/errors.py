"""Every error that crosses a module boundary.

Errors carry fields and build their text in `__str__`. Adapters translate foreign errors into
these with `raise … from`. What a client is told about one, problems.py says. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus


class GatewayError(Exception):
    """The root of the gateway's own errors.

    `status` is the HTTP answer (RFC 9110, section 15), `code` a stable word for programs.
    `retry_after` is seconds; None means that trying again does not help.
    """

    status: HTTPStatus = HTTPStatus.INTERNAL_SERVER_ERROR
    code: str = "internal"
    retry_after: float | None = None

    def for_people(self) -> str:
        """Return what the user of a notebook is told whose start fails by it; "" for general words.

        The text of the error is the operator's: it may name folders, addresses and settings.
        """
        return ""


class InvalidInput(GatewayError, ValueError):
    """What somebody gave us cannot be used; the text names the thing and the remedy."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "invalid"


@dataclass(eq=False)
class NotFound(GatewayError):
    """A notebook, project or route that is not there. `kind` is the noun, `name` the thing."""

    kind: str
    name: str
    status = HTTPStatus.NOT_FOUND
    code = "not-found"

    def __str__(self) -> str:
        return f"there is no {self.kind} {self.name!r}"


@dataclass(eq=False)
class Conflict(GatewayError):
    """The thing exists already, or its state forbids the change."""

    reason: str
    status = HTTPStatus.CONFLICT
    code = "conflict"

    def __str__(self) -> str:
        return self.reason


@dataclass(eq=False)
class NotebookLocked(GatewayError):
    """A locked notebook was to be stopped, deleted or reconfigured (RFC 4918, 423)."""

    slug: str
    locked_by: str
    reason: str
    status = HTTPStatus.LOCKED
    code = "locked"

    def __str__(self) -> str:
        return (
            f"notebook {self.slug!r} is locked by {self.locked_by}: {self.reason}; "
            f"its owner or an administrator unlocks it with `nbgate notebook unlock {self.slug}`"
        )


@dataclass(eq=False)
class ProjectLocked(GatewayError):
    """A project was to be changed under notebooks that are locked (RFC 4918, 423).

    Attributes:
        project: its name.
        locked: those of its notebooks that the change would reconfigure; one at least.
    """

    project: str
    locked: Sequence[NotebookLocked]
    status = HTTPStatus.LOCKED
    code = "locked"

    def __str__(self) -> str:
        shown = [f"{one.slug!r} by {one.locked_by}: {one.reason}" for one in self.locked[:3]]
        more = f" and {len(self.locked) - 3} more" if len(self.locked) > 3 else ""
        return (
            f"project {self.project!r} cannot be changed so, for it would reconfigure notebooks "
            f"that are locked ({'; '.join(shown)}{more}); an administrator, or the owner of each, "
            f"unlocks it with `nbgate notebook unlock {self.locked[0].slug}`"
        )


@dataclass(eq=False)
class Forbidden(GatewayError):
    """Somebody asked for what is not theirs."""

    reason: str
    status = HTTPStatus.FORBIDDEN
    code = "forbidden"

    def __str__(self) -> str:
        return self.reason


@dataclass(eq=False)
class StartFailed(GatewayError):
    """A notebook did not come up.

    Attributes:
        slug: the notebook.
        reason: one line that a student may read: no folders, addresses or settings.
        log_tail: the end of the server's log, for its owner and operators; "" when there is none.
        retry_after: seconds until the next try is allowed.
        cause: a stable word for what went wrong, by which pages find their words; "" for others.
        detail: the reason in full, for operators; "" where `reason` is that.
    """

    slug: str
    reason: str
    log_tail: str = ""
    retry_after: float | None = None
    cause: str = ""
    detail: str = ""
    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "start-failed"

    def __str__(self) -> str:
        return f"notebook {self.slug!r} did not start: {self.reason}"

    @property
    def in_full(self) -> str:
        """The reason as operators read it."""
        return self.detail or self.reason


@dataclass(eq=False)
class QueueFull(GatewayError):
    """So many starts wait already that one more is turned away (RFC 6585, 429)."""

    limit: int
    retry_after: float | None = 10.0
    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "queue-full"

    def __str__(self) -> str:
        return f"{self.limit} notebooks wait to be started already; try again in a moment"


@dataclass(eq=False)
class TooManyRunning(GatewayError):
    """The owner has as many notebooks running as one may have.

    Attributes:
        limit: how many that is.
        running: slugs of those that run or are being started.
    """

    limit: int
    running: Sequence[str]
    status = HTTPStatus.CONFLICT
    code = "too-many-running"

    def __str__(self) -> str:
        return (
            f"{self.limit} of your notebooks may run at the same time, and these do: "
            f"{', '.join(self.running)}; stop one of them first"
        )


@dataclass(eq=False)
class AllPlacesTaken(GatewayError):
    """As many notebooks run as the installation lets run.

    Attributes:
        limit: how many that is.
        running: slugs of those among them that are the owner's; others' are not told.
    """

    limit: int
    running: Sequence[str]
    retry_after: float | None = 30.0
    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "all-places-taken"

    def __str__(self) -> str:
        own = f"; yours are {', '.join(self.running)}" if self.running else ""
        return f"all places for running notebooks, {self.limit}, are taken{own}; try again later"


class EngineError(GatewayError):
    """The container engine refused or failed; the text says what and the remedy."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "engine"

    def for_people(self) -> str:
        """See GatewayError."""
        return "the container engine refused to start it"


@dataclass(eq=False)
class EngineUnavailable(EngineError):
    """The engine cannot be reached."""

    address: str
    retry_after: float | None = 5.0
    code = "engine-unavailable"

    def __str__(self) -> str:
        return (
            f"the container engine at {self.address} does not answer; start it, let the gateway's "
            f"user reach it, or name another with NBGATE_DOCKER_HOST"
        )

    def for_people(self) -> str:
        """See GatewayError."""
        return "the container engine does not answer"


@dataclass(eq=False)
class ImageMissing(EngineError):
    """The image is not on the engine.

    Attributes:
        image: its name.
        reason: one line on why it could not be pulled; "" where that was not tried.
    """

    image: str
    reason: str = ""
    code = "image-missing"

    def __str__(self) -> str:
        tried = f" and could not be pulled: {self.reason}" if self.reason else ""
        return (
            f"image {self.image!r} is not on the engine{tried}; build it with "
            f"`nbgate image build` or pull it"
        )

    def for_people(self) -> str:
        """See GatewayError."""
        return f"its image {self.image!r} is not on the server"


@dataclass(eq=False)
class NameTaken(EngineError):
    """A container with our name belongs to another installation."""

    name: str
    status = HTTPStatus.CONFLICT
    code = "name-taken"

    def __str__(self) -> str:
        return (
            f"container name {self.name!r} is taken by something that is not this "
            f"installation's; remove it, or give this gateway another installation id"
        )

    def for_people(self) -> str:
        """See GatewayError."""
        return "its name is taken by something else on the server"


@dataclass(eq=False)
class UpstreamUnreachable(GatewayError):
    """No connection to the upstream, or it broke before an answer."""

    reason: str
    status = HTTPStatus.BAD_GATEWAY
    code = "upstream-unreachable"

    def __str__(self) -> str:
        return self.reason


class PagesUnavailable(UpstreamUnreachable):
    """The gateway's own application does not accept connections: control is restarting."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "control-away"
    retry_after = 2.0

    def __init__(self) -> None:
        super().__init__("the gateway's pages are away for a moment; try again")


@dataclass(eq=False)
class UpstreamTimeout(GatewayError):
    """The upstream did not answer in time. `seconds` is the deadline that passed."""

    seconds: float
    status = HTTPStatus.GATEWAY_TIMEOUT
    code = "upstream-timeout"

    def __str__(self) -> str:
        return f"the notebook did not answer within {self.seconds:g} s"
