"""What holds for every request of the management API: problems, the Host check, the token.

Errors leave as `application/problem+json` (RFC 9457); texts of unknown errors stay in the log.
"""

from __future__ import annotations

import functools
import hmac
import ipaddress
import logging
import re
import uuid
from collections.abc import Awaitable, Callable

from aiohttp import web

from gateway.api.services import services_of
from gateway.errors import GatewayError, StartFailed
from gateway.problems import Problem, operators_problem_of, problem_of
from routes.errors import DatabaseInUse, RouteFileError
from routes.keys import InvalidKey, InvalidTarget

logger = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~+/=:@-]{1,128}")  # the data path's rule
_OPEN = frozenset({"/gateway/health", "/gateway/metrics"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def report_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into problem+json, and give the request its id."""
    request_id = _request_id(request)
    response = await _answer(request, handler, request_id)
    response.headers["X-Request-ID"] = request_id
    return response


async def _answer(request: web.Request, handler: Handler, request_id: str) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _http_problem(request, error)
    except GatewayError as error:
        return problem_response(operators_problem_of(error), **_for_the_operator(error))
    except (InvalidKey, InvalidTarget) as error:
        return problem_response(Problem(422, "invalid", str(error)))
    except RouteFileError as error:
        logger.error("route file: request_id=%s error=%s", request_id, error)
        status = 409 if isinstance(error, DatabaseInUse) else 500
        return problem_response(Problem(status, "route-file", str(error)))
    except Exception as error:
        logger.exception(
            "request failed: request_id=%s method=%s path=%s",
            request_id,
            request.method,
            request.rel_url.raw_path,
        )
        return problem_response(problem_of(error))


def problem_response(problem: Problem, **members: str) -> web.Response:
    """Return `problem` as an answer, with further members in its body."""
    headers = {} if problem.retry_after is None else {"Retry-After": str(problem.retry_after)}
    return web.json_response(
        problem.as_dict() | members,
        status=problem.status,
        headers=headers,
        content_type="application/problem+json",
    )


def _for_the_operator(error: GatewayError) -> dict[str, str]:
    if isinstance(error, StartFailed) and error.log_tail:
        return {"log_tail": error.log_tail}
    return {}


def _http_problem(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    code, detail = _words_of(request, error)
    response = problem_response(Problem(error.status, code, detail))
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _words_of(request: web.Request, error: web.HTTPException) -> tuple[str, str]:
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return "method-not-allowed", f"{request.method} is not allowed here, but {allowed} is"
        case web.HTTPRequestEntityTooLarge():
            return "too-large", "the request body is larger than 1 MiB"
        case web.HTTPUnsupportedMediaType():
            return "unsupported-media-type", "send JSON with Content-Type: application/json"
        case web.HTTPNotFound():
            return "no-such-page", f"there is nothing at {request.path}"
        case _:
            return error.reason.lower().replace(" ", "-"), error.reason


def _request_id(request: web.Request) -> str:
    given = request.headers.get("X-Request-ID", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


@web.middleware
async def check_host(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse names that a foreign page could have rebound to this address (DNS rebinding)."""
    if not is_own_host(request.headers.get("Host", ""), services_of(request).facts.hosts):
        detail = "this host name is not the management API's; use its IP address or localhost"
        return problem_response(Problem(421, "unknown-host", detail))
    return await handler(request)


@functools.lru_cache(maxsize=256)
def is_own_host(header: str, names: frozenset[str]) -> bool:
    """Whether a Host header cannot be a foreign domain that was rebound to our address.

    IP addresses need no DNS, `localhost` is resolved locally (RFC 6761, section 6.3), and nobody
    can register a name without a dot: those are the names of compose services.
    """
    host = re.sub(r":\d*$", "", header.strip()).lower().removesuffix(".")
    if host in names or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return re.fullmatch(r"[a-z0-9_-]+", host) is not None
    return True


@web.middleware
async def check_token(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse requests without the management token (RFC 6750, section 3)."""
    if request.path in _OPEN or _has_token(request, services_of(request).token):
        return await handler(request)
    detail = "the management API needs its token: Authorization: Bearer <token>"
    response = problem_response(Problem(401, "token-required", detail))
    response.headers["WWW-Authenticate"] = 'Bearer realm="nbgate"'
    return response


def _has_token(request: web.Request, token: str) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() not in ("bearer", "token"):
        return False
    # Headers hold undecodable bytes as surrogates; compare_digest takes only bytes for those.
    return hmac.compare_digest(
        given.strip().encode("utf-8", "surrogateescape"), token.encode("utf-8")
    )
