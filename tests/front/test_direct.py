"""Hot notebooks served by httpd itself, where the operator says that it admits people."""

from __future__ import annotations

import base64
import subprocess
import zlib
from collections.abc import Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from tests.front.conftest import StartFront
from tests.front.upstream import Upstream, told
from tests.support.front import HTTPD, Front, RouteFiles

pytestmark = pytest.mark.asyncio(loop_scope="package")

SLUG, SECRET = "demo-x-alice", "5ec2e7"
KEY = f"/nb/{SLUG}"
PAGE = f"{KEY}/lab"

BASIC = """
AuthType Basic
AuthName "Notebooks"
AuthBasicProvider file
AuthUserFile {passwords}
{require}
"""
VALID_USER = "Require valid-user"


def basic(person: str) -> dict[str, str]:
    both = base64.b64encode(f"{person}:sesame".encode()).decode()
    return {"Authorization": f"Basic {both}"}


def write_auth(folder: Path, require: str) -> Path:
    """Write rules with Basic passwords; the same rules are the same file."""
    passwords, rules = folder / "htpasswd", folder / f"auth-{zlib.crc32(require.encode())}.conf"
    if not passwords.exists():
        passwords.touch(0o644)
        for person in ("alice", "bob", "teacher"):
            command = ["htpasswd", "-b", "-s", str(passwords), person, "sesame"]
            subprocess.run(command, check=True, capture_output=True)
    rules.write_text(BASIC.format(passwords=passwords, require=require))
    return rules


@pytest_asyncio.fixture(loop_scope="package")
async def direct(
    folder: Path, start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> Front:
    routes.write({KEY: notebook.address}, {KEY: SECRET})
    rules = write_auth(folder, VALID_USER)
    return await start_front(NBGATE_HTTPD_DIRECT="true", NBGATE_HTTPD_AUTH=str(rules))


async def test_known_person_reaches_the_notebook_with_its_secret(
    direct: Front, gateway: Upstream
) -> None:
    answer = told(await direct.ask(PAGE, headers=basic("alice")))
    assert answer.by == "notebook"
    assert answer.all("Authorization") == [f"token {SECRET}"]
    assert answer.all("X-Nbgate-User") == ["alice"]
    assert gateway.seen == []


async def test_hot_notebook_works_while_the_gateway_is_stopped(
    direct: Front, gateway: Upstream
) -> None:
    await gateway.stop()
    assert told(await direct.ask(PAGE, headers=basic("alice"))).by == "notebook"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("mallory"),
        {"Authorization": f"token {SECRET}x"},
        {"Authorization": "Basic !"},
        {"X-Nbgate-User": "alice", "X-Remote-User": "alice"},
    ],
)
async def test_nobody_else_reaches_it(
    direct: Front, notebook: Upstream, headers: dict[str, str]
) -> None:
    upgrade = {"Connection": "Upgrade, close", "Upgrade": "websocket"}
    for more in ({}, upgrade):
        answer = await direct.ask(PAGE, headers=headers | more)
        assert answer.status == 401
        assert SECRET.encode() not in answer.body
    assert notebook.seen == []


async def test_delivered_rules_admit_nobody(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> None:
    routes.write({KEY: notebook.address}, {KEY: SECRET})
    front = await start_front(
        NBGATE_HTTPD_DIRECT="true", NBGATE_HTTPD_AUTH=str(HTTPD / "auth.conf")
    )
    assert (await front.ask(PAGE, headers=basic("alice"))).status == 403
    assert notebook.seen == []


async def test_rules_that_let_strangers_in_give_them_no_secret(
    folder: Path, start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> None:
    routes.write({KEY: notebook.address}, {KEY: SECRET})
    rules = folder / "everybody.conf"
    rules.write_text("Require all granted\n")
    front = await start_front(NBGATE_HTTPD_DIRECT="true", NBGATE_HTTPD_AUTH=str(rules))
    answer = told(await front.ask(PAGE, headers=basic("alice")))
    assert answer.one("Authorization") is None


async def test_example_rule_keeps_people_to_their_own_notebooks(
    folder: Path, start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> None:
    routes.write({KEY: notebook.address}, {KEY: SECRET})
    example = (HTTPD / "auth.conf").read_text()
    own = next(line for line in example.splitlines() if "Require expr" in line).lstrip("# ")
    rules = write_auth(folder, f"{own}\nRequire user teacher")
    front = await start_front(NBGATE_HTTPD_DIRECT="true", NBGATE_HTTPD_AUTH=str(rules))
    statuses = {
        person: (await front.ask(PAGE, headers=basic(person))).status
        for person in ("alice", "bob", "teacher")
    }
    assert statuses == {"alice": 200, "bob": 401, "teacher": 200}


async def test_rules_for_notebooks_leave_the_gateway_alone(direct: Front) -> None:
    assert told(await direct.ask("/nb/cold/")).by == "gateway"
    assert told(await direct.ask("/gateway/login")).by == "gateway"


async def test_notebook_by_host_is_served_with_its_secret(
    folder: Path, start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> None:
    host = f"{SLUG}.nb.example.org"
    routes.write({host: notebook.address}, {host: SECRET})
    front = await start_front(
        NBGATE_HTTPD_DIRECT="true",
        NBGATE_HTTPD_AUTH=str(write_auth(folder, VALID_USER)),
        NBGATE_BASE_DOMAIN="nb.example.org",
    )
    assert (await front.ask("/lab", host=host)).status == 401
    answer = told(await front.ask("/lab", host=f"{host}:8080", headers=basic("alice")))
    assert answer.all("Authorization") == [f"token {SECRET}"]


async def test_notebook_without_a_secret_goes_to_the_gateway(
    direct: Front, routes: RouteFiles, notebook: Upstream
) -> None:
    routes.write({KEY: notebook.address}, {})
    assert told(await direct.ask(PAGE, headers=basic("alice"))).by == "gateway"


async def test_secrets_are_not_read_where_httpd_admits_nobody(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> None:
    routes.write({KEY: notebook.address}, {KEY: SECRET})
    (routes.folder / "secrets.gdbm").unlink()
    front = await start_front()
    assert told(await front.ask(PAGE)).one("Authorization") is None


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        ("?token=stale", "?"),
        ("?a=1&token=stale", "?a=1&"),
        ("?token=stale&a=%3F&b=?", "?a=%3F&b=?"),
        ("?tokens=1&atoken=2", "?tokens=1&atoken=2"),
        ("?", "?"),
        ("", ""),
    ],
)
async def test_token_in_the_query_does_not_reach_the_notebook(
    direct: Front, sent: str, left: str
) -> None:
    answer = told(await direct.ask(f"{KEY}/a%3F%2Fb{sent}", headers=basic("alice")))
    assert answer.target.rstrip("?&") == f"{KEY}/a%3F%2Fb{left}".rstrip("?&")


@pytest.mark.parametrize("status", [200, 404, 500])
async def test_notebook_grants_no_foreign_origin_and_sets_no_login_cookie(
    direct: Front, status: int
) -> None:
    answer = await direct.ask(f"{PAGE}?status={status}", headers=basic("alice"))
    assert answer.status == status
    assert not [name for name, _ in answer.headers if name.lower().startswith("access-control-")]
    assert not answer.all("Service-Worker-Allowed") + answer.all("Clear-Site-Data")
    assert [value for value in answer.all("Set-Cookie") if value] == ["_xsrf=fresh; Path=/"]


FOREIGN = {"Origin": "https://evil.example.org"}
CROSS = {"Sec-Fetch-Site": "cross-site"}
SISTER = {"Sec-Fetch-Site": "same-site"}
NAVIGATE = {"Sec-Fetch-Mode": "navigate"}
UPGRADE = {"Connection": "Upgrade, close", "Upgrade": "websocket"}


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", FOREIGN),
        ("DELETE", FOREIGN),
        ("POST", {"Origin": "null"}),
        ("POST", {"Origin": "http://127.0.0.1"}),
        ("POST", CROSS),
        ("POST", SISTER),
        ("POST", CROSS | NAVIGATE),
        ("GET", CROSS),
        ("GET", SISTER),
        ("GET", UPGRADE | FOREIGN),
        ("GET", UPGRADE | CROSS | NAVIGATE),
        ("GET", UPGRADE | {"Origin": "null"}),
    ],
)
async def test_foreign_pages_may_not_use_the_notebook(
    direct: Front, notebook: Upstream, method: str, headers: Mapping[str, str]
) -> None:
    answer = await direct.ask(PAGE, method=method, headers=basic("alice") | dict(headers))
    assert answer.status == 403
    assert notebook.seen == []


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {}),
        ("GET", FOREIGN),
        ("GET", CROSS | NAVIGATE),
        ("GET", {"Sec-Fetch-Site": "none"} | NAVIGATE),
        ("POST", {}),
        ("POST", {"Sec-Fetch-Site": "same-origin"}),
    ],
)
async def test_own_pages_programs_and_links_may(
    direct: Front, method: str, headers: Mapping[str, str]
) -> None:
    answer = await direct.ask(PAGE, method=method, headers=basic("alice") | dict(headers))
    assert told(answer).by == "notebook"


async def test_own_origin_may_post(direct: Front) -> None:
    for scheme in ("http", "https"):
        own = {"Origin": f"{scheme}://127.0.0.1:{direct.port}"}
        answer = await direct.ask(PAGE, method="POST", headers=basic("alice") | own)
        assert told(answer).by == "notebook"


async def test_wrong_setting_is_one_clear_line(start_front: StartFront) -> None:
    with pytest.raises(RuntimeError, match="NBGATE_HTTPD_DIRECT is 'maybe'; set it to true or"):
        await start_front(NBGATE_HTTPD_DIRECT="maybe")
