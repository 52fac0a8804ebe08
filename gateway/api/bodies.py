"""What clients send: request bodies as pydantic models, and query arguments.

A wrong body is one line that names the field. Sizes are `"2G"` or a number of bytes.
"""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import Annotated, TypeVar

from aiohttp import web
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gateway.durations import LONGEST, parse_duration
from gateway.errors import InvalidInput
from gateway.notebooks.ancestors import check_ancestors
from gateway.notebooks.model import LinkPage, Links
from gateway.notebooks.names import ADMINISTRATOR
from gateway.notebooks.rules import MOST_SHARED
from gateway.notebooks.stillbusy import check_still_busy
from gateway.sizes import parse_bytes

_BODY_TIMEOUT = 30.0
_SMALLEST_MEMORY = 32 * 2**20
_LARGEST_MEMORY = 2**50
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?")


class InvalidJson(InvalidInput):
    """The body is not a JSON object."""

    status = HTTPStatus.BAD_REQUEST
    code = "invalid-json"


def _size(value: object) -> object:
    return parse_bytes(value) if isinstance(value, str) else value


def _seconds(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _enough(value: int) -> int:
    if value < _SMALLEST_MEMORY:
        raise ValueError(f"{value} bytes are too few for a notebook; write for example 512M or 2G")
    if value > _LARGEST_MEMORY:
        raise ValueError(f"{value} bytes are more than any machine has")
    return value


def _one_line(text: str) -> str:
    if not text.strip() or any(ord(char) < 32 or 0xD800 <= ord(char) < 0xE000 for char in text):
        raise ValueError("must be one line of text, without control characters")
    return text.strip()


def _variables(items: dict[str, str]) -> dict[str, str]:
    for name, value in items.items():
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"{name!r} is not a variable's name; use letters, digits and _")
        if "\0" in value:
            raise ValueError(f"the value of {name} has a NUL character")
    return items


def _label_names(items: dict[str, str]) -> dict[str, str]:
    for name in items:
        if not _LABEL.fullmatch(name):
            raise ValueError(f"{name!r} is not a label's name; use letters, digits, . - _ and /")
        if name.startswith("nbgate."):
            raise ValueError(f"{name!r}: labels that begin with nbgate. are the gateway's own")
    return items


Memory = Annotated[
    int, BeforeValidator(_size, json_schema_input_type=int | str), AfterValidator(_enough)
]
Duration = Annotated[
    float, BeforeValidator(_seconds, json_schema_input_type=float | str), Field(ge=0, le=LONGEST)
]
Cpus = Annotated[float, Field(gt=0, le=1024)]
Line = Annotated[str, Field(max_length=200), AfterValidator(_one_line)]
LongLine = Annotated[str, Field(max_length=2000), AfterValidator(_one_line)]
StillBusy = Annotated[LongLine, AfterValidator(check_still_busy)]
Variables = Annotated[dict[str, str], AfterValidator(_variables)]
Ancestors = Annotated[tuple[str, ...], AfterValidator(check_ancestors)]
Labels = Annotated[dict[str, str], AfterValidator(_label_names)]


class Body(BaseModel):
    """The base of all bodies: unknown fields and loose types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class RouteBody(Body):
    """PUT /routes/one."""

    target: str


class _Spec(Body):
    """What a project and a notebook have in common; None means what is above it."""

    image: Line | None = None
    memory: Memory | None = None
    cpus: Cpus | None = None
    environment: Variables = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict)


class _Lifetimes(Body):
    """See model.Lifetimes; null is the installation's default."""

    idle_timeout: Duration | None = None
    max_age: Duration | None = None
    warning: Duration | None = None
    busy_cap: Duration | None = None
    pause_after: Duration | None = None
    remove_after: Duration | None = None
    still_busy: StillBusy | None = None
    autosave: Duration | None = None


LIFETIMES = tuple(_Lifetimes.model_fields)
"""The names of the fields that make up a project's lifetimes."""


class ProjectChange(_Spec, _Lifetimes):
    """PATCH /projects/{name}: only the fields that are there change; null is the default."""

    title: Line = ""
    links: Annotated[Links, Field(strict=False)] = Links.OFF
    links_page: Annotated[LinkPage, Field(strict=False)] = LinkPage.NOTEBOOK
    frame_ancestors: Ancestors | None = None
    source: LongLine | None = None
    staff: tuple[Line, ...] = ()
    anonymous: bool = False


class ProjectBody(ProjectChange):
    """POST /projects."""

    name: str


class NotebookChange(_Spec):
    """PATCH /notebooks/{slug}: only the fields that are there change; null is the default."""

    name: Line = ""
    owner: Line = ADMINISTRATOR
    shared_with: tuple[Line, ...] = ()


class NotebookBody(NotebookChange):
    """POST /notebooks. The name is the slug where none is given."""

    slug: str
    project: str


class PeopleBody(Body):
    """POST /notebooks/{slug}/share and unshare."""

    people: Annotated[tuple[Line, ...], Field(min_length=1, max_length=MOST_SHARED)]


class LockBody(Body):
    """POST /notebooks/{slug}/lock."""

    reason: LongLine
    by: Line = ADMINISTRATOR


class UnlockBody(Body):
    """POST /notebooks/{slug}/unlock."""

    by: Line = ADMINISTRATOR


class LinkBody(Body):
    """POST /links: a notebook by its slug, or by project and person."""

    slug: str | None = None
    project: str | None = None
    person: str | None = None
    file: str | None = None
    direct: bool = False


class SignBody(Body):
    """POST /links/signed. `lifetime` in seconds; without `notebook`, the front page."""

    project: str
    person: Line
    notebook: str = ""
    name: Annotated[str, Field(max_length=100)] = ""
    lifetime: Annotated[float, Field(gt=0)] = 600.0
    kid: str | None = None
    once: bool = False


class KeyBody(Body):
    """POST /link-keys: one of issuer, project and own_people."""

    issuer: str | None = None
    project: str | None = None
    own_people: bool = False


B = TypeVar("B", bound=Body)


async def body_of(request: web.Request, model: type[B]) -> B:
    """Return the request's body; an empty one counts as `{}`.

    Raises:
        InvalidJson: it is not JSON.
        InvalidInput: a field is wrong; the text names it.
        web.HTTPException: 408, 413 or 415.
    """
    if request.can_read_body and request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType
    try:
        async with asyncio.timeout(_BODY_TIMEOUT):
            raw = await request.read()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout from error
    return parse_body(raw or b"{}", model)


def parse_body(raw: bytes, model: type[B]) -> B:
    """Return `raw` as `model`; see body_of."""
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise _readable(error, model) from error


def _readable(error: ValidationError, model: type[Body]) -> InvalidInput:
    first = error.errors(include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    field = ".".join(str(part) for part in first["loc"] if part != "[key]")
    match first["type"]:
        case "json_invalid":
            return InvalidJson(f"the body is not JSON: {first['ctx']['error']}")
        case "model_type" | "model_attributes_type":
            return InvalidJson("the body must be a JSON object")
        case "extra_forbidden":
            known = ", ".join(model.model_fields)
            return InvalidInput(f"{field}: there is no such field; known are {known}")
        case "missing":
            return InvalidInput(f"{field}: is required")
        case _:
            return InvalidInput(f"{field}: {message}")


def flag(request: web.Request, name: str, *, default: bool = False) -> bool:
    """Return a query argument that is true or false; absent is `default`.

    Raises:
        InvalidInput: it is something else.
    """
    text = request.query.get(name, str(default)).lower()
    if text not in ("true", "false", "1", "0"):
        raise InvalidInput(f"{name}: {text!r} is neither true nor false")
    return text in ("true", "1")


def number(request: web.Request, name: str, default: int, largest: int) -> int:
    """Return a query argument that is a whole number from 1 to `largest`.

    Raises:
        InvalidInput: it is something else.
    """
    text = request.query.get(name, str(default))
    # The length first: int() refuses very long numbers with another error.
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= largest):
        raise InvalidInput(f"{name}: {text[:20]!r} is not a whole number from 1 to {largest}")
    return int(text)
