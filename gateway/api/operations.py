"""Operations: what was and is done to notebooks. To read only; they come from other requests."""

from __future__ import annotations

from aiohttp import web

from gateway.activation.operations import Operation, Progress
from gateway.api.bodies import number
from gateway.api.records import Record
from gateway.api.services import services_of
from gateway.errors import InvalidInput

_ROOT = "/gateway/api/operations"


def add_to(app: web.Application) -> None:
    """Register the handlers."""
    app.router.add_get(_ROOT, _list)
    app.router.add_get(f"{_ROOT}/{{id}}", _get)


def location_of(operation: Operation) -> dict[str, str]:
    """Return the header that tells where an operation is found."""
    return {"Location": f"{_ROOT}/{operation.id}"}


async def _list(request: web.Request) -> web.Response:
    limit = number(request, "limit", default=100, largest=10_000)
    found = await services_of(request).operations.list(
        request.query.get("notebook"), _state(request), limit
    )
    return web.json_response({"operations": [_record(one) for one in found]})


async def _get(request: web.Request) -> web.Response:
    operation = await services_of(request).operations.get(request.match_info["id"])
    return web.json_response(_record(operation))


def _state(request: web.Request) -> Progress | None:
    text = request.query.get("state")
    if text is None:
        return None
    try:
        return Progress(text)
    except ValueError as error:
        states = ", ".join(Progress)
        raise InvalidInput(f"state: {text!r} is none of {states}") from error


def _record(operation: Operation) -> Record:
    return {
        "id": operation.id,
        "notebook": operation.slug,
        "kind": str(operation.kind),
        "state": str(operation.state),
        "requested_by": operation.requested_by,
        "reason": operation.reason,
        "gateway": operation.gateway,
        "created": operation.created.isoformat(),
        "began": None if operation.began is None else operation.began.isoformat(),
        "ended": None if operation.ended is None else operation.ended.isoformat(),
        "error": operation.error,
    }
