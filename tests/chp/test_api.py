"""The REST API, over raw connections."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.chp.harness import Rig, get, rig, url

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
TARGET = {"target": "http://127.0.0.1:9"}


@pytest.mark.parametrize("path", ["/api/routes", "/api/routes/"])
async def test_all_routes_are_told_with_the_default_one(proxy: Rig, path: str) -> None:
    await proxy.add("/user/a", url(9))
    answer = await proxy.api("GET", path)
    assert answer.status == 200
    assert (answer.one(b"content-type") or b"").startswith(b"application/json")
    told = json.loads(answer.body)
    assert set(told) == {"/", "/user/a"}
    assert told["/"]["target"].startswith("http://127.0.0.1:")
    assert all(STAMP.fullmatch(route["last_activity"]) for route in told.values())


async def test_extras_come_back_verbatim_but_last_activity_is_ours(proxy: Rig) -> None:
    extras = {
        "jupyterhub": True,
        "user": "é\ud800\n",
        "nested": {"list": [1, 2.5, None, {"deep": []}], "": ""},
        "big": 12345678901234567890,
        "last_activity": "1999-01-01T00:00:00.000Z",
    }
    before = datetime.now(UTC) - timedelta(seconds=1)
    await proxy.add("/x", url(9), **extras)
    answer = await proxy.api("GET", "/api/routes/x")
    told = json.loads(answer.body)
    stamp = datetime.fromisoformat(told.pop("last_activity"))
    extras.pop("last_activity")
    assert told == {"target": url(9), **extras}
    assert before <= stamp <= datetime.now(UTC) + timedelta(seconds=1)


async def test_target_is_told_as_it_was_given(proxy: Rig) -> None:
    await proxy.add("/x", "HTTP://LocalHost:8081/")
    assert (await proxy.routes())["/x"]["target"] == "HTTP://LocalHost:8081/"


async def test_one_route_is_told_by_its_exact_key(proxy: Rig) -> None:
    await proxy.add("/user/a", url(9))
    assert (await proxy.api("GET", "/api/routes/user/a")).status == 200
    assert (await proxy.api("GET", "/api/routes/user/a/")).status == 200
    for other in ("/user", "/user/a/b", "/user/A"):
        answer = await proxy.api("GET", f"/api/routes{other}")
        assert (answer.status, answer.body) == (404, b"")


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ("/foo", "/foo"),
        ("/foo/", "/foo"),
        ("/user/a%40b", "/user/a@b"),
        ("/user/a@b", "/user/a@b"),
        ("/%40/space%20word", "/@/space word"),
        ("/user/%C3%A9", "/user/é"),
        ("/a%2Fb", "/a/b"),
        ("/a%252Fb", "/a%2Fb"),
        ("/q%3Fx", "/q?x"),
        ("/a//b", "/a//b"),
        ("", "/"),
        ("/", "/"),
    ],
)
async def test_keys_are_decoded_once_and_lose_a_trailing_slash(
    proxy: Rig, sent: str, key: str
) -> None:
    await proxy.add(sent, url(9), mark=sent)
    assert (await proxy.routes())[key]["mark"] == sent
    if key != "/":
        assert (await proxy.api("GET", f"/api/routes{sent}")).status == 200
    assert (await proxy.api("DELETE", f"/api/routes{sent}")).status == 204
    assert key not in await proxy.routes()


async def test_post_overwrites(proxy: Rig) -> None:
    await proxy.add("/x", url(9), old=1)
    await proxy.add("/x", url(10), new=2)
    told = (await proxy.routes())["/x"]
    assert (told["target"], told.get("old"), told["new"]) == (url(10), None, 2)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"target", b"NaN", b'{"target": NaN}', b'{"x": -1e999}', b"\xff"]
)
async def test_body_that_is_no_json_is_400(proxy: Rig, body: bytes) -> None:
    answer = await proxy.api("POST", "/api/routes/x", body)
    assert answer.status == 400
    assert answer.body.startswith(b"Body not valid JSON")


@pytest.mark.parametrize("body", [{}, {"target": 1}, {"target": None}, [], [1], 7, "x", b"null"])
async def test_body_without_a_target_is_400(proxy: Rig, body: object) -> None:
    answer = await proxy.api("POST", "/api/routes/x", body)
    assert (answer.status, answer.body) == (400, b"Must specify 'target' as string")
    assert "/x" not in await proxy.routes()


@pytest.mark.parametrize(
    "target", ["", "nonsense", "ftp://h", "http://h:0", "http://u:p@h", "http://"]
)
async def test_target_that_leads_nowhere_is_told_at_once(proxy: Rig, target: str) -> None:
    answer = await proxy.api("POST", "/api/routes/x", {"target": target})
    assert answer.status == 400
    assert b"target" in answer.body


async def test_body_is_bounded_and_nesting_is_no_crash(proxy: Rig) -> None:
    assert (await proxy.api("POST", "/api/routes/x", b"[" * 100_000)).status == 400
    assert (await proxy.api("POST", "/api/routes/x", b" " * (2**20 + 1))).status == 413


async def test_delete_is_204_then_404_both_empty(proxy: Rig) -> None:
    await proxy.add("/x", url(9))
    for status in (204, 404):
        answer = await proxy.api("DELETE", "/api/routes/x")
        assert (answer.status, answer.body) == (status, b"")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "OPTIONS"])
async def test_other_methods_are_405(proxy: Rig, method: str) -> None:
    assert (await proxy.api(method, "/api/routes/x")).status == 405


@pytest.mark.parametrize("path", ["/", "/api", "/api/routesx", "/api/route", "/foo?/api/routes"])
async def test_other_paths_are_404(proxy: Rig, path: str) -> None:
    assert (await proxy.api("GET", path)).status == 404


@pytest.mark.parametrize(
    "authorization",
    [None, "", "token", "token wrong", "Bearer of-these-tests", "Token of-these-tests",
     "of-these-tests", "token of-these-tests x", "token of-these-testsx", "token é"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_without_the_token_everything_is_403(
    proxy: Rig, method: str, authorization: str | None
) -> None:
    body = TARGET if method == "POST" else None
    answer = await proxy.api(method, "/api/routes/x", body, authorization=authorization)
    assert (answer.status, answer.body) == (403, b"")
    assert set(await proxy.routes()) == {"/"}


@pytest.mark.parametrize("name", ["inactiveSince", "inactive_since"])
async def test_inactive_since_is_strict(proxy: Rig, name: str) -> None:
    await proxy.add("/x", url(9))
    stamp = (await proxy.routes())["/x"]["last_activity"]
    assert "/x" not in await proxy.routes(f"?{name}={stamp}")
    later = (datetime.fromisoformat(stamp) + timedelta(milliseconds=1)).isoformat()
    assert "/x" in await proxy.routes(f"?{name}={later.replace('+00:00', 'Z')}")
    assert await proxy.routes(f"?{name}=1999-12-31") == {}
    assert set(await proxy.routes(f"?{name}=2199-12-31T00:00:00.000Z")) == {"/", "/x"}


@pytest.mark.parametrize("date", ["nonsense", "endoftheuniverse", "2020-13-01", "1"])
async def test_inactive_since_a_bad_date_is_400(proxy: Rig, date: str) -> None:
    assert (await proxy.api("GET", f"/api/routes?inactiveSince={date}")).status == 400


async def test_route_is_used_at_once_and_gone_at_once(proxy: Rig) -> None:
    await proxy.api("DELETE", "/api/routes/")
    assert (await proxy.ask(get("/x"))).status == 404
    await proxy.add("/x", url(1))
    assert (await proxy.ask(get("/x"))).status == 503
    await proxy.api("DELETE", "/api/routes/x")
    assert (await proxy.ask(get("/x"))).status == 404


async def test_ten_thousand_routes(proxy: Rig) -> None:
    for number in range(10_000):
        proxy.proxy.book.put(f"/user/u{number}", {"target": url(9), "n": number})
    await proxy.add("/user/last", url(1))
    told = await proxy.routes()
    assert len(told) == 10_002
    assert told["/user/u9999"]["n"] == 9999
    assert (await proxy.ask(get("/user/last/x"))).status == 503
    assert (await proxy.api("DELETE", "/api/routes/user/u5000")).status == 204
    assert (await proxy.api("GET", "/api/routes/user/u5000")).status == 404
    assert len(await proxy.routes("?inactiveSince=2199-01-01")) == 10_001


async def test_many_callers_on_kept_connections(proxy: Rig) -> None:
    wire = await proxy.connect(proxy.api_port)
    for number in range(50):
        body = json.dumps({"target": url(9)}).encode()
        await wire.send(
            b"POST /api/routes/u%d HTTP/1.1\r\nHost: localhost\r\n"
            b"Authorization: token of-these-tests\r\nContent-Length: %d\r\n\r\n%b"
            % (number, len(body), body)
        )
        assert (await wire.response()).status == 201
    assert len(await proxy.routes()) == 51


class TestWithoutAToken:
    """On loopback only; programs of this machine may call, pages of a browser may not."""

    async def test_programs_are_let_in(self) -> None:
        async with rig(token="") as proxy:
            answer = await proxy.api("POST", "/api/routes/x", TARGET, authorization=None)
            assert answer.status == 201

    @pytest.mark.parametrize("header", [b"Origin: http://evil.example", b"Origin: null"])
    async def test_pages_are_not(self, header: bytes) -> None:
        async with rig(token="") as proxy:
            host = b"localhost:%d" % proxy.api_port
            answer = await proxy.ask(get("/api/routes", header, host=host), port=proxy.api_port)
            assert answer.status == 403

    async def test_rebound_names_are_not(self) -> None:
        async with rig(token="") as proxy:
            data = get("/api/routes", host=b"evil.example:%d" % proxy.api_port)
            assert (await proxy.ask(data, port=proxy.api_port)).status == 403


class TestKnownFaults:
    """What configurable-http-proxy never answers."""

    async def test_delete_of_the_whole_path_answers(self, proxy: Rig) -> None:
        assert (await proxy.api("DELETE", "/api/routes")).status == 204
        assert (await proxy.api("DELETE", "/api/routes")).status == 404

    @pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
    @pytest.mark.parametrize("path", ["/%zz", "/%", "/a%2", "/%FF"])
    async def test_broken_escape_is_400(self, proxy: Rig, method: str, path: str) -> None:
        body = TARGET if method == "POST" else None
        assert (await proxy.api(method, f"/api/routes{path}", body)).status == 400

    async def test_dot_segments_cannot_be_keys(self, proxy: Rig) -> None:
        assert (await proxy.api("POST", "/api/routes/a/%2e%2e/b", TARGET)).status == 400


async def test_log_says_why_a_route_was_refused(
    proxy: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await proxy.api("POST", "/api/routes/x", {"target": "ftp://there"})
    assert answer.status == 400
    (line,) = [
        record.getMessage() for record in caplog.records if "400 POST" in record.getMessage()
    ]
    assert line.startswith("400 POST /api/routes/x: ")
    assert "scheme ftp" in line
