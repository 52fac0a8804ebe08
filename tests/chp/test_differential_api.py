"""The REST API: the same calls to configurable-http-proxy and to nbgate-proxy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.chp.pair import Start, paired, routes
from tests.proxy.wire import Message

TARGET = {"target": "http://127.0.0.1:9"}
EXTRAS = {
    "target": "http://127.0.0.1:9/x/",
    "jupyterhub": True,
    "user": "é\n☃",
    "nested": {"list": [1, 2.5, None, {"deep": []}], "": ""},
    "last_activity": "1999-01-01T00:00:00.000Z",
}
Call = tuple[str, str, object]


def told(answer: Message) -> tuple[int, str, Any]:
    """Return what can be compared of an answer."""
    kind = (answer.one(b"content-type") or b"").decode().partition(";")[0]
    body: Any = answer.body.decode()
    if kind == "application/json":
        body = json.loads(body)
        for route in [body, *(part for part in body.values() if isinstance(part, dict))]:
            if "target" in route:
                assert route.pop("last_activity")
    return answer.status, kind if kind == "application/json" else "", body


TRANSCRIPT: list[Call] = [
    ("GET", "/api/routes", None),
    ("GET", "/api/routes/", None),
    ("POST", "/api/routes/", TARGET),
    ("GET", "/api/routes/", None),
    ("POST", "/api/routes", TARGET | {"mine": 1}),
    ("GET", "/api/routes", None),
    ("POST", "/api/routes/user/a", EXTRAS),
    ("GET", "/api/routes/user/a", None),
    ("GET", "/api/routes/user/a/", None),
    ("GET", "/api/routes/user", None),
    ("GET", "/api/routes/user/a/b", None),
    ("GET", "/api/routes/user/A", None),
    ("POST", "/api/routes/user/a/", TARGET | {"again": True}),
    ("GET", "/api/routes", None),
    ("POST", "/api/routes/user/a%40b", TARGET),
    ("POST", "/api/routes/user/a@b", TARGET | {"same": True}),
    ("POST", "/api/routes/%40/space%20word/", TARGET),
    ("POST", "/api/routes/user/%C3%A9", TARGET),
    ("POST", "/api/routes/a%2Fb", TARGET),
    ("POST", "/api/routes/a%252Fb", TARGET),
    ("POST", "/api/routes/q%3Fx?y=z", TARGET),
    ("POST", "/api/routes/a//b", TARGET),
    ("POST", "/api/routes/no-slash", TARGET),
    ("POST", "/api/routes/s//", TARGET),
    ("GET", "/api/routes/s", None),
    ("GET", "/api/routes/s//", None),
    ("DELETE", "/api/routes/s//", None),
    ("POST", "/api/routes/s///", TARGET | {"slash": 1}),
    ("GET", "/api/routes/s///", None),
    ("GET", "/api/routes/s//", None),
    ("DELETE", "/api/routes/s///", None),
    ("DELETE", "/api/routes/s//", None),
    ("GET", "/api/routes/s", None),
    ("DELETE", "/api/routes/s", None),
    ("POST", "/api/routes//", TARGET),
    ("POST", "/api/routes///", TARGET | {"slash": 2}),
    ("GET", "/api/routes", None),
    ("GET", "/api/routes/a%2Fb", None),
    ("GET", "/api/routes/a/b", None),
    ("DELETE", "/api/routes/user/a", None),
    ("DELETE", "/api/routes/user/a", None),
    ("DELETE", "/api/routes/a/b/", None),
    ("DELETE", "/api/routes/user/a%40b", None),
    ("DELETE", "/api/routes/none", None),
    ("DELETE", "/api/routes/", None),
    ("GET", "/api/routes", None),
    ("POST", "/api/routes/x", {}),
    ("POST", "/api/routes/x", {"target": 1}),
    ("POST", "/api/routes/x", {"target": None}),
    ("POST", "/api/routes/x", []),
    ("POST", "/api/routes/x", 7),
    ("POST", "/api/routes/x", "x"),
    ("POST", "/api/routes/x", b"null"),
    ("PUT", "/api/routes/x", TARGET),
    ("PATCH", "/api/routes", TARGET),
    ("OPTIONS", "/api/routes", None),
    ("GET", "/", None),
    ("GET", "/api", None),
    ("GET", "/api/routesx", None),
    ("GET", "/api/route", None),
    ("GET", "/foo?/api/routes", None),
    ("GET", "/api/routes", None),
]


async def test_transcript(chp: Start) -> None:
    async with paired(chp) as pair:
        for number, (method, path, body) in enumerate(TRANSCRIPT):
            theirs, ours = await pair.api(method, path, body)
            assert told(ours) == told(theirs), (number, method, path)


@pytest.mark.parametrize("body", [b"", b"{", b"target", b"NaN", b'{"target": NaN}', b"{'a': 1}"])
async def test_body_that_is_no_json(chp: Start, body: bytes) -> None:
    async with paired(chp) as pair:
        for answer in await pair.api("POST", "/api/routes/x", body):
            assert answer.status == 400
            assert answer.body.startswith(b"Body not valid JSON: ")


TOKENS = [None, "", "token", "token wrong", "Bearer of-these-tests", "Token of-these-tests",
          "of-these-tests", "token of-these-testsx", "token  of-these-tests"]  # fmt: skip


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_token(chp: Start, method: str, token: str | None) -> None:
    async with paired(chp) as pair:
        body = TARGET if method == "POST" else None
        theirs, ours = await pair.api(method, "/api/routes/x", body, token=token)
        assert told(ours) == told(theirs)
        assert (ours.status == 403) == (token != "token  of-these-tests")


DATES = ["1999-12-31", "2199-12-31", "2199-12-31T00:00:00.000Z", "2199-12-31T00:00:00Z",
         "1999-12-31T23:59:59%2B02:00", "2199-12-31T23:59:59-02:00", "2199-12-31T23:59",
         "2199-12", "2199", "nonsense", "endoftheuniverse", "2020-13-01", "2020-01-32",
         "2020-01-01T25:00:00Z", "", "2199-12-31T00:00:00.123456Z"]  # fmt: skip


@pytest.mark.parametrize("date", DATES)
@pytest.mark.parametrize("name", ["inactiveSince", "inactive_since"])
async def test_inactive_since(chp: Start, name: str, date: str) -> None:
    async with paired(chp) as pair:
        await pair.add("/x")
        theirs, ours = await pair.api("GET", f"/api/routes?{name}={date}")
        assert told(ours) == told(theirs)


async def test_inactive_since_is_strict(chp: Start) -> None:
    async with paired(chp) as pair:
        await pair.add("/x")
        for port in (pair.chp.api_port, pair.ours.api_port):
            stamp = (await routes(port))["/x"]["last_activity"]
            later = f"{stamp[:-5]}.999Z"
            for moment, there in ((stamp, False), (later, later > stamp)):
                answers = await pair.api("GET", f"/api/routes?inactiveSince={moment}")
                answer = answers[port == pair.ours.api_port]
                assert ("/x" in json.loads(answer.body)) == there
