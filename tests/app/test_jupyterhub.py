"""JupyterHub's API on the management listener, over the gateway's own routes and a real file."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.proxy.interface import RouteEntry
from routes.apachedb import ApacheDB, read
from routes.keys import Target, checked_text
from routes.trailing import DELAY
from tests.app.hub import Hub, hub_in
from tests.proxy.harness import activity_of
from tests.proxy.wire import until

NINE = "http://127.0.0.1:9"


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with hub_in(tmp_path) as made:
        yield made


def entry_of(hub: Hub, key: str) -> RouteEntry:
    entry = hub.table.get(key)
    assert entry is not None
    return entry


class TestContract:
    """The API is configurable-http-proxy's; tests/chp/test_api.py has the whole of it."""

    async def test_json_comes_back_verbatim_with_our_last_activity(self, hub: Hub) -> None:
        members = {"jupyterhub": True, "user": "é\ud800", "deep": [{"": None}], "last_activity": 1}
        before = datetime.now(UTC) - timedelta(seconds=1)
        await hub.add("/user/a", "HTTP://LocalHost:9/", **members)
        told = json.loads((await hub.ask("GET", "/api/routes/user/a/")).body)
        stamp = datetime.fromisoformat(told.pop("last_activity"))
        assert before <= stamp <= datetime.now(UTC) + timedelta(seconds=1)
        members.pop("last_activity")
        assert told == {"target": "HTTP://LocalHost:9/", **members}
        assert set(await hub.routes()) == {"/user/a"}

    @pytest.mark.parametrize(
        ("sent", "key", "place"),
        [
            ("", "/", "/"),
            ("/foo/", "/foo", "/foo"),
            ("/a%40b", "/a@b", "/a@b"),
            ("/%40/space%20word", "/@/space word", "/@/space%20word"),
            ("/user/%C3%A9", "/user/é", "/user/%C3%A9"),
            ("/a%2Fb", "/a/b", "/a/b"),
            ("/a%252Fb", "/a%2Fb", "/a%252Fb"),
            ("/q%3Fx", "/q?x", "/q%3Fx"),
            ("/a//b", "/a//b", "/a//b"),
        ],
    )
    async def test_paths_are_raw_and_keys_decoded_once(
        self, hub: Hub, sent: str, key: str, place: str
    ) -> None:
        await hub.add(sent, NINE, mark=1)
        assert set(await hub.routes()) == {key}
        assert entry_of(hub, place).target == Target("127.0.0.1", 9)
        assert await hub.status("DELETE", f"/api/routes{sent}") == 204
        assert await hub.status("DELETE", f"/api/routes{sent}") == 404
        assert not len(hub.table)

    async def test_errors_are_the_contracts(self, hub: Hub) -> None:
        assert await hub.status("POST", "/api/routes/x", b"{") == 400
        assert await hub.status("POST", "/api/routes/x", {"target": 1}) == 400
        assert await hub.status("POST", "/api/routes/x", {"target": "ftp://h"}) == 400
        assert await hub.status("POST", "/api/routes/%zz", {"target": NINE}) == 400
        assert await hub.status("GET", "/api/routes?inactiveSince=never") == 400
        assert await hub.status("PUT", "/api/routes/x") == 405
        assert await hub.status("GET", "/api/routes/x") == 404
        assert await hub.status("POST", "/api/routes/x", b" " * (2**20 + 1)) == 413
        assert (await hub.ask("GET", "/api/routesx")).status == 404
        for scheme in ("", "Bearer", "Token"):
            assert (await hub.ask("GET", "/api/routes", scheme=scheme)).status == 403

    async def test_foreign_names_of_the_listener_are_refused(self, hub: Hub) -> None:
        answer = await hub.ask("GET", "/api/routes", host="evil.example:8001")
        assert answer.status == 421

    async def test_inactive_since_and_activity(self, hub: Hub) -> None:
        await hub.add("/x", NINE)
        await hub.add("/y", NINE)
        later = datetime.fromisoformat((await hub.routes())["/y"]["last_activity"])
        activity_of(entry_of(hub, "/y")).last += 60.0
        soon = (later + timedelta(milliseconds=1)).isoformat().replace("+00:00", "Z")
        assert set(await hub.routes(f"?inactiveSince={soon}")) == {"/x"}
        assert (await hub.routes())["/y"]["last_activity"] > soon


class TestOneTable:
    """Operators, notebooks and JupyterHub share it."""

    async def test_operators_see_the_routes_and_the_api_sees_theirs(self, hub: Hub) -> None:
        await hub.add("/hub", NINE, jupyterhub=True)
        await hub.service.set("/wiki", "127.0.0.1:8")
        await hub.service.set("/odd%40key", "127.0.0.1:8")
        await hub.service.set("docs.example.org", "127.0.0.1:8")
        seen = {record.key: record.target for record in hub.service.list()}
        assert seen["/hub"] == "127.0.0.1:9"
        told = await hub.routes()
        assert set(told) == {"/hub", "/wiki"}, "hosts, and what its keys cannot say, are not told"
        assert told["/wiki"]["target"] == "http://127.0.0.1:8"
        assert "jupyterhub" not in told["/wiki"]
        assert await hub.routes("?inactiveSince=2000-01-01") == {}

    @pytest.mark.parametrize(
        "path", ["/nb/x", "/nb", "/n%62/x", "/nb%2Fx", "/gateway", "/gateway/api"]
    )
    async def test_what_is_the_gateways_or_a_notebooks_is_409(self, hub: Hub, path: str) -> None:
        answer = await hub.ask("POST", f"/api/routes{path}", {"target": NINE})
        assert answer.status == 409
        assert b"\n" not in answer.body
        assert answer.body
        assert await hub.status("DELETE", f"/api/routes{path}") == 409
        assert not len(hub.table)

    async def test_notebooks_are_neither_told_nor_touched(self, hub: Hub) -> None:
        notebook = RouteEntry("/nb/hers", Target("127.0.0.1", 7), slug="hers", owner="alice")
        hub.service.put_cold(notebook)
        assert await hub.routes() == {}
        assert await hub.status("GET", "/api/routes/nb/hers") == 404
        assert await hub.status("DELETE", "/api/routes/nb/hers") == 409
        assert hub.table.get("/nb/hers") is notebook

    async def test_no_route_leads_to_the_gateways_own_sockets(self, hub: Hub) -> None:
        own = str(hub.file.parent / "run" / "pages.sock").replace("/", "%2F")
        assert await hub.status("POST", "/api/routes/x", {"target": f"http+unix://{own}"}) == 400

    async def test_operators_route_ends_the_json_and_the_activity(self, hub: Hub) -> None:
        await hub.add("/x", NINE, user="a")
        await hub.flush()
        await hub.service.set("/x", "127.0.0.1:8")
        assert entry_of(hub, "/x").activity is None
        told = (await hub.routes())["/x"]
        assert (told["target"], told.get("user")) == ("http://127.0.0.1:8", None)
        await hub.flush()
        assert read(hub.companion) == {}
        assert read(hub.file) == {b"/x": b"127.0.0.1:8"}
        await hub.add("/x", NINE, user="b")
        await hub.service.delete("/x")
        await hub.flush()
        assert read(hub.companion) == {} == read(hub.file)

    async def test_operator_who_sets_what_is_being_written_wins(self, hub: Hub) -> None:
        for number in range(20):
            await hub.add("/x", NINE, number=number)
            await hub.service.set("/x", f"127.0.0.1:{number + 1}")
            await hub.flush()
            assert read(hub.file) == {b"/x": b"127.0.0.1:%d" % (number + 1)}
        await hub.add("/x", NINE)
        assert await hub.status("DELETE", "/api/routes/x") == 204, "whoever set it"
        await hub.flush()
        assert read(hub.file) == {} == read(hub.companion)


class TestFiles:
    """What outlives the process, and when."""

    async def test_file_follows_by_itself(self, hub: Hub) -> None:
        assert DELAY < 0.5, "and the file is there within a second"
        await hub.add("/x", NINE, user="a")
        await until(lambda: read(hub.file) == {b"/x": b"127.0.0.1:9"})
        assert await hub.status("DELETE", "/api/routes/x") == 204
        await until(lambda: read(hub.file) == {} == read(hub.companion))

    async def test_routes_and_json_are_there_after_a_clean_stop(self, tmp_path: Path) -> None:
        targets = {
            "/plain": NINE,
            "/path": f"{NINE}/hub/@/space%20word",
            "/tls": "https://h.example:8443",
            "/socket": "http+unix://%2Ftmp%2Fx.sock",
            "/": "http://[::1]:8081/",
        }
        async with hub_in(tmp_path) as hub:
            for path, target in targets.items():
                await hub.add(path, target, jupyterhub=True, user="é", mark=path)
            entries = {key: entry.target for key, entry in hub.table.items()}
        assert read(tmp_path / "routes.gdbm") == {b"/plain": b"127.0.0.1:9", b"/": b"[::1]:8081"}
        async with hub_in(tmp_path) as hub:
            told = await hub.routes()
            assert {key: entry.target for key, entry in hub.table.items()} == entries
            assert hub.service.check() == []
        for path, target in targets.items():
            told[path].pop("last_activity")
            assert told[path] == {"target": target, "jupyterhub": True, "user": "é", "mark": path}

    async def test_flushed_routes_outlive_a_copy_taken_at_once(self, tmp_path: Path) -> None:
        copy = tmp_path / "copy"
        copy.mkdir()
        async with hub_in(tmp_path) as hub:
            await hub.add("/x", NINE, user="a")
            await hub.flush()
            for file in (hub.file, hub.companion):
                shutil.copy(file, copy / file.name)
        async with hub_in(copy) as hub:
            assert (await hub.routes())["/x"]["user"] == "a"

    async def test_where_the_files_differ_the_route_file_is_right(self, tmp_path: Path) -> None:
        async with hub_in(tmp_path) as hub:
            for name in ("changed", "gone", "same"):
                await hub.add(f"/{name}", NINE, user=name)
            await hub.add("/tls", "https://h", user="tls")
        with ApacheDB(tmp_path / "routes.gdbm") as database:
            database["/changed"] = "127.0.0.1:8"
            database["/tls"] = "127.0.0.1:7"
            del database["/gone"]
        async with hub_in(tmp_path) as hub:
            told = await hub.routes()
            assert {key: one.get("user") for key, one in told.items()} == {
                "/changed": None,
                "/same": "same",
                "/tls": None,
            }
            await hub.flush()
            assert set(read(hub.companion)) == {b"/same"}

    async def test_reload_keeps_what_is_the_same_and_what_is_new(self, hub: Hub) -> None:
        await hub.add("/x", NINE, user="a")
        kept = entry_of(hub, "/x")
        await hub.add("/new", "https://h", user="b")
        await hub.service.set("/mine", "127.0.0.1:8")
        assert await hub.service.reload() == 3
        assert entry_of(hub, "/x") is kept
        assert set(await hub.routes()) == {"/x", "/new", "/mine"}

    async def test_rebuild_writes_both_files_and_keeps_damaged_ones(self, hub: Hub) -> None:
        await hub.add("/x", NINE, user="a")
        await hub.add("/tls", "https://h")
        await hub.flush()
        sound = read(hub.file), read(hub.companion)
        hub.companion.write_bytes(b"this is no GDBM file")
        assert [one for one in hub.service.check() if str(hub.companion) in one]
        told = await hub.service.rebuild()
        assert "extras.gdbm.damaged-" in told
        assert (read(hub.file), read(hub.companion)) == sound
        assert hub.service.check() == []

    async def test_unusable_entries_of_the_companion_are_told_and_the_others_used(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with hub_in(tmp_path) as hub:
            await hub.add("/tls", "https://h")
        with ApacheDB(hub.companion, checked=checked_text) as companion:
            companion["/nb/x"] = '{"target": "https://h"}'
            companion["/y"] = "{"
            companion["/z"] = '{"target": "-"}'
        caplog.clear()
        async with hub_in(tmp_path) as hub:
            assert set(await hub.routes()) == {"/tls"}
        assert caplog.text.count("cannot be used") == 3

    async def test_without_persistence_routes_are_in_memory_alone(self, tmp_path: Path) -> None:
        async with hub_in(tmp_path, persist=False) as hub:
            await hub.add("/x", NINE, user="a")
            await hub.service.set("/mine", "127.0.0.1:8")
            assert await hub.service.reload() == 2
            assert (await hub.routes())["/x"]["user"] == "a"
            await hub.service.rebuild()
            answer = await hub.ask("POST", "/gateway/api/routes/flush")
            assert answer.status == 409
            assert b"NBGATE_PERSIST_ROUTES" in answer.body
            assert read(hub.file) == {b"/mine": b"127.0.0.1:8"}
            assert await hub.status("DELETE", "/api/routes/mine") == 204
        assert read(hub.file) == {}
        assert not hub.companion.exists()

    async def test_ten_thousand_routes_are_added_told_and_kept(self, tmp_path: Path) -> None:
        async with hub_in(tmp_path) as hub:
            for number in range(10_000):
                hub.service.api.put(
                    f"/user/u{number}", NINE, f'{{"target": "{NINE}", "n": {number}'
                )
            await hub.add("/user/last", NINE)
            assert len(await hub.routes()) == 10_001
            await hub.flush()
            assert len(read(hub.file)) == 10_001
        async with hub_in(tmp_path) as hub:
            assert (await hub.routes())["/user/u9999"]["n"] == 9999
