"""Projects over the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Client

URL = "/gateway/api/projects"


async def add(client: Client, **fields: Any) -> dict[str, Any]:
    response = await client.post(URL, json={"name": "demo"} | fields)
    assert response.status == 201, await response.text()
    record: dict[str, Any] = await response.json()
    return record


async def test_an_added_project_can_be_read_and_listed(client: Client, course: Path) -> None:
    added = await add(
        client,
        title="Demo course",
        source=str(course),
        memory="2G",
        cpus=1.5,
        environment={"A": "1"},
        labels={"team": "bio"},
        staff=["teacher"],
    )
    assert added["memory"] == 2 * 2**30
    assert (added["cpus"], added["environment"], added["staff"]) == (1.5, {"A": "1"}, ["teacher"])
    assert await (await client.get(f"{URL}/demo")).json() == added
    assert await (await client.get(URL)).json() == {"projects": [added]}


async def test_a_second_project_of_the_name_is_a_conflict(client: Client) -> None:
    await add(client)
    response = await client.post(URL, json={"name": "demo"})
    assert response.status == 409


async def test_a_change_leaves_the_other_fields_and_null_means_the_default(client: Client) -> None:
    await add(client, memory="2G", cpus=2, image="a/b:1")
    response = await client.patch(f"{URL}/demo", json={"memory": 2**30, "image": None})
    changed = await response.json()
    assert (changed["memory"], changed["cpus"], changed["image"]) == (2**30, 2.0, None)
    response = await client.patch(f"{URL}/demo", json={"memory": None, "title": "New"})
    changed = await response.json()
    assert (changed["memory"], changed["cpus"], changed["title"]) == (None, 2.0, "New")


async def test_lifetimes_are_seconds_or_words_and_null_is_the_default(client: Client) -> None:
    added = await add(client, idle_timeout="30m", max_age=7200, still_busy="pgrep train")
    assert (added["idle_timeout"], added["max_age"], added["warning"]) == (1800.0, 7200.0, None)
    change = {"idle_timeout": None, "pause_after": "90", "remove_after": 0}
    changed = await (await client.patch(f"{URL}/demo", json=change)).json()
    assert (changed["idle_timeout"], changed["max_age"]) == (None, 7200.0)
    assert (changed["pause_after"], changed["remove_after"]) == (90.0, 0.0)
    assert changed["still_busy"] == "pgrep train"
    assert await (await client.get(f"{URL}/demo")).json() == changed


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("idle_timeout", "soon"),
        ("idle_timeout", -1),
        ("max_age", "11000d"),
        ("warning", True),
        ("still_busy", "ftp://example.org/"),
        ("still_busy", "sh -c 'unfinished"),
    ],
)
async def test_a_lifetime_that_is_none_names_its_field(
    client: Client, field: str, value: Any
) -> None:
    response = await client.post(URL, json={"name": "demo", field: value})
    assert response.status == 422
    assert (await response.json())["detail"].startswith(f"{field}: ")


async def test_a_project_with_notebooks_is_not_removed(client: Client) -> None:
    await add(client)
    await client.post("/gateway/api/notebooks", json={"slug": "first", "project": "demo"})
    assert (await client.delete(f"{URL}/demo")).status == 409
    await client.delete("/gateway/api/notebooks/first")
    assert (await client.delete(f"{URL}/demo")).status == 204
    assert (await client.get(f"{URL}/demo")).status == 404


async def test_a_change_that_reconfigures_a_locked_notebook_is_423_with_who_and_why(
    client: Client,
) -> None:
    await add(client, memory="2G", cpus=1)
    notebook = {"slug": "first", "project": "demo", "owner": "alice", "cpus": 2}
    await client.post("/gateway/api/notebooks", json=notebook)
    lock = {"reason": "exam until Friday", "by": "teacher"}
    await client.post("/gateway/api/notebooks/first/lock", json=lock)
    refused: list[dict[str, Any]] = [{"memory": "4G"}, {"image": "a"}, {"environment": {"A": ""}}]
    for change in refused:
        response = await client.patch(f"{URL}/demo", json=change)
        problem = await response.json()
        assert (response.status, response.content_type) == (423, "application/problem+json")
        assert problem["type"] == "about:blank#locked"
        for word in ("'demo'", "'first'", "teacher", "exam until Friday", "notebook unlock first"):
            assert word in problem["detail"]
    allowed: list[dict[str, Any]] = [{"title": "New", "staff": ["bob"]}, {"cpus": 4}]
    for change in [*allowed, {"memory": 2**31}]:
        assert (await client.patch(f"{URL}/demo", json=change)).status == 200
    await client.post("/gateway/api/notebooks/first/unlock")
    assert (await client.patch(f"{URL}/demo", json={"memory": "4G"})).status == 200


async def test_a_project_with_a_locked_notebook_is_not_removed(client: Client) -> None:
    await add(client)
    await client.post("/gateway/api/notebooks", json={"slug": "first", "project": "demo"})
    await client.post("/gateway/api/notebooks/first/lock", json={"reason": "exam"})
    assert (await client.delete(f"{URL}/demo")).status == 409
    assert (await (await client.get("/gateway/api/notebooks/first")).json())["lock"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": "Demo Course"}, "'Demo Course'"),
        ({"name": "gateway"}, "reserved"),
        ({"name": 7}, "name:"),
        ({"nmae": "x"}, "nmae: there is no such field"),
        ({"memory": "lots"}, "memory: 'lots' is not a size"),
        ({"memory": "16"}, "memory: 16 bytes are too few"),
        ({"memory": True}, "memory:"),
        ({"memory": 10**30}, "memory:"),
        ({"memory": "9" * 5000}, "memory:"),
        ({"cpus": 0}, "cpus:"),
        ({"cpus": "2"}, "cpus:"),
        ({"environment": {"A B": "1"}}, "environment: 'A B'"),
        ({"environment": {"A": 1}}, "environment.A:"),
        ({"environment": {"A": "\0"}}, "environment:"),
        ({"labels": {"nbgate.slug": "x"}}, "labels: 'nbgate.slug'"),
        ({"labels": {"ü": "x"}}, "labels: 'ü'"),
        ({"title": "two\nlines"}, "title:"),
        ({"source": "relative/folder"}, "source"),
        ({"staff": "teacher"}, "staff:"),
        ({"image": ""}, "image:"),
    ],
)
async def test_a_wrong_field_is_one_line_that_names_it(
    client: Client, fields: dict[str, Any], named: str
) -> None:
    response = await client.post(URL, json={"name": "demo"} | fields)
    detail = (await response.json())["detail"]
    assert response.status == 422
    assert named in detail
    assert "\n" not in detail
    assert await (await client.get(URL)).json() == {"projects": []}


async def test_a_source_folder_that_is_not_there_is_named(client: Client, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    response = await client.post(URL, json={"name": "demo", "source": str(missing)})
    assert response.status == 422
    assert str(missing) in (await response.json())["detail"]
    await add(client)
    response = await client.patch(f"{URL}/demo", json={"source": str(missing)})
    assert str(missing) in (await response.json())["detail"]


async def test_a_missing_field_is_named(client: Client) -> None:
    response = await client.post(URL, json={})
    assert (await response.json())["detail"] == "name: is required"


async def test_origins_that_may_frame_a_project_are_its_own_or_the_installations(
    client: Client,
) -> None:
    assert (await add(client))["frame_ancestors"] is None
    for given in (["https://lms.example.org", "http://*.example.org:*"], [], None):
        response = await client.patch(f"{URL}/demo", json={"frame_ancestors": given})
        assert (response.status, (await response.json())["frame_ancestors"]) == (200, given)
    await client.patch(f"{URL}/demo", json={"frame_ancestors": ["https://a.example"]})
    kept = await (await client.patch(f"{URL}/demo", json={"title": "New"})).json()
    assert kept["frame_ancestors"] == ["https://a.example"]


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "*",
        "https:",
        "'none'",
        "lms.example.org",
        "https://lms.example.org/",
        "https://lms.example.org; script-src *",
        "https://lms.example.org\r\nX-Evil: 1",
        "https://lms.example.org, https://b.example.org",
        "https://lms.example.org\n",
        "https://user@lms.example.org",
        f"https://{'a' * 300}.example.org",
    ],
)
async def test_what_is_no_origin_frames_nothing(client: Client, origin: str) -> None:
    await add(client)
    for response in (
        await client.patch(f"{URL}/demo", json={"frame_ancestors": [origin]}),
        await client.post(URL, json={"name": "other", "frame_ancestors": [origin]}),
    ):
        assert response.status == 422
        assert "frame_ancestors" in (await response.json())["detail"]


async def test_origins_that_may_frame_a_project_are_not_without_number(client: Client) -> None:
    origins = [f"https://lms{number}.example.org" for number in range(51)]
    response = await client.post(URL, json={"name": "demo", "frame_ancestors": origins})
    assert response.status == 422
