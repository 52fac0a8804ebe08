"""What a client is told about an error: the one place error → HTTP answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final

from gateway.errors import GatewayError, StartFailed

INTERNAL: Final = "an internal error happened; the operator's log has more"


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as `application/problem+json` (RFC 9457).

    Attributes:
        status: HTTP status code.
        code: a stable word, sent as `type` `about:blank#<code>`.
        detail: one line for people.
        retry_after: whole seconds for the Retry-After header; None for no header.
    """

    status: int
    code: str
    detail: str
    retry_after: int | None = None

    def as_dict(self) -> dict[str, str | int]:
        """Return the members of the JSON body."""
        return {
            "type": f"about:blank#{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }


def operators_problem_of(error: BaseException) -> Problem:
    """Return what an operator is told about `error`; for others see problem_of."""
    problem = problem_of(error)
    if isinstance(error, StartFailed) and error.detail:
        return replace(problem, detail=str(replace(error, reason=error.detail)))
    return problem


def problem_of(error: BaseException) -> Problem:
    """Return what a client is told about `error`.

    Unknown errors become a bare 500: their text stays in the log, for it may hold secrets.
    """
    if isinstance(error, GatewayError):
        after = None if error.retry_after is None else max(1, round(error.retry_after))
        return Problem(int(error.status), error.code, str(error), after)
    if isinstance(error, TimeoutError):
        return Problem(504, "timeout", "the answer took too long")
    if isinstance(error, ConnectionError):
        return Problem(502, "upstream-unreachable", "the connection to the notebook broke")
    return Problem(500, "internal", INTERNAL)
