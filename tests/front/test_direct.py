"""Hot notebooks served by httpd itself, to their owners alone; everybody else is the gateway's."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import pytest_asyncio

from gateway.launch.cookies import cookie_name, edge_cookie_name
from gateway.notebooks.names import notebook_slug
from tests.front.conftest import StartFront
from tests.front.people import KEY, PAGE, SECRET, SLUG, cookie, edge_of, publish
from tests.front.upstream import Upstream, told
from tests.support.front import Front, RouteFiles

pytestmark = pytest.mark.asyncio(loop_scope="package")

ALICE = cookie("alice")


@pytest_asyncio.fixture(loop_scope="package")
async def direct(start_front: StartFront, routes: RouteFiles, notebook: Upstream) -> Front:
    publish(routes, notebook)
    return await start_front(NBGATE_HTTPD_DIRECT="true")


async def test_owner_reaches_the_notebook_with_its_secret(direct: Front, gateway: Upstream) -> None:
    mine = {"Cookie": f"_xsrf=1; {ALICE['Cookie']}; theirs=2", "Authorization": "token mine"}
    answer = told(await direct.ask(PAGE, headers=mine))
    assert answer.by == "notebook"
    assert answer.all("Authorization") == [f"token {SECRET}"]
    assert answer.all("X-Nbgate-User") == ["alice"]
    assert answer.all("Cookie") == ["_xsrf=1; theirs=2"]
    assert gateway.seen == []


async def test_hot_notebook_works_while_the_gateway_is_stopped(
    direct: Front, gateway: Upstream
) -> None:
    await gateway.stop()
    assert told(await direct.ask(PAGE, headers=ALICE)).by == "notebook"


def _with(value: str, name: str = "nbgate-edge") -> dict[str, str]:
    return {"Cookie": f"{name}={value}"}


MADE_UP = "0123456789abcdef" * 3
STRANGERS = {
    "no cookie": {},
    "somebody else": cookie("bob"),
    "a teacher": cookie("teacher"),
    "made up": _with(MADE_UP),
    "a session's token": _with(edge_of("alice"), cookie_name(https=False)),
    "the other scheme's name": cookie("alice", https=True),
    "another course's": cookie("alice", course="other"),
    "longer": _with(edge_of("alice") + "0"),
    "shorter": _with(edge_of("alice")[:-1]),
    "upper case": _with(edge_of("alice").upper()),
    "a person's name": _with("alice"),
    "with a default": _with(f"{MADE_UP}|alice"),
    "a blank": _with(f"{edge_of('alice')} x"),
    "another map": _with("${secrets:/nb/demo-x-alice}"),
    "a variable": _with("%{ENV:nbgate-secret}"),
    "a reference": _with("$1%1"),
    "escaped": _with("%" + f"{ord(edge_of('alice')[0]):02x}" + edge_of("alice")[1:]),
    "another name's end": _with(edge_of("alice"), "x-nbgate-edge"),
    "the hop secret": {"Authorization": f"token {SECRET}"},
    "a password": {"Authorization": "Basic YWxpY2U6c2VzYW1l"},
    "what the gateway tells": {"X-Nbgate-User": "alice", "X-Remote-User": "alice"},
    "a scheme of their own": cookie("alice", https=True) | {"X-Forwarded-Proto": "https"},
}


@pytest.mark.parametrize("who", STRANGERS)
async def test_everybody_else_is_the_gateways_to_decide_about(
    direct: Front, notebook: Upstream, who: str
) -> None:
    for more in ({}, {"Connection": "Upgrade, close", "Upgrade": "websocket"}):
        answer = await direct.ask(PAGE, headers=STRANGERS[who] | more)
        assert SECRET.encode() not in answer.body or who == "the hop secret"
        if not more:
            seen = told(answer)
            assert seen.by == "gateway"
            sent = STRANGERS[who].get("Cookie")
            assert seen.one("Cookie") == sent
    assert notebook.seen == []


@pytest.mark.parametrize("cut", ["\r\n", "\n", "\x00", "\t"])
async def test_control_characters_in_the_cookie_open_nothing(
    direct: Front, notebook: Upstream, cut: str
) -> None:
    edge = edge_of("alice")
    head = f"GET {PAGE} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    await direct.send(f"{head}Cookie: nbgate-edge={edge[:9]}{cut}{edge[9:]}\r\n\r\n".encode())
    assert notebook.seen == []


async def test_edge_id_is_none_of_a_session_that_has_ended(
    direct: Front, routes: RouteFiles, notebook: Upstream
) -> None:
    assert told(await direct.ask(PAGE, headers=ALICE)).by == "notebook"
    publish(routes, notebook, people=["bob"])
    assert told(await direct.ask(PAGE, headers=ALICE)).by == "gateway"


async def test_former_owner_does_not_get_in_any_more(
    direct: Front, routes: RouteFiles, notebook: Upstream
) -> None:
    publish(routes, notebook, owner="bob")
    assert told(await direct.ask(PAGE, headers=ALICE)).by == "gateway"
    assert told(await direct.ask(PAGE, headers=cookie("bob"))).by == "notebook"


async def test_empty_and_missing_maps_admit_nobody(
    direct: Front, routes: RouteFiles, notebook: Upstream
) -> None:
    for name in ("owners.gdbm", "edges.gdbm"):
        publish(routes, notebook)
        assert told(await direct.ask(PAGE, headers=ALICE)).by == "notebook"
        (routes.folder / name).unlink()
        assert told(await direct.ask(PAGE, headers=ALICE)).by == "gateway"


async def test_sessions_of_courses_have_cookies_of_their_own(
    direct: Front, routes: RouteFiles, notebook: Upstream
) -> None:
    """Two courses in one browser, which know its person by two names."""
    publish(routes, notebook, owner="demo~17", people=["demo~17", "other~4", "bob"])
    of_courses = [cookie("other~4", course="other"), cookie("demo~17", course="demo")]
    plain = cookie("bob")["Cookie"]
    both = "; ".join([plain, *(one["Cookie"] for one in of_courses)])
    answer = told(await direct.ask(PAGE, headers={"Cookie": both}))
    assert (answer.by, answer.one("X-Nbgate-User")) == ("notebook", "demo~17")
    assert answer.one("Cookie") is None
    assert told(await direct.ask(PAGE, headers=of_courses[0])).by == "gateway"
    assert told(await direct.ask(PAGE, headers=cookie("demo~17"))).by == "notebook"
    wrong = {"Cookie": f"{edge_cookie_name(https=False, course='demo')}={edge_of('bob')}"}
    assert told(await direct.ask(PAGE, headers=wrong)).by == "gateway"


@pytest.mark.parametrize("course", ["flotpython", "mooc-2", "a", f"mooc-{7:041}"])
async def test_student_of_an_lms_is_admitted_by_the_courses_cookie(
    direct: Front, routes: RouteFiles, notebook: Upstream, course: str
) -> None:
    """Their names have slashes and colons, so their slugs end on a digest."""
    student = f"plain/{course}:mary"
    slug = notebook_slug(course, student)
    assert "-x--" in slug
    publish(routes, notebook, key=f"/nb/{slug}", slug=slug, owner=student, people=[student, "bob"])
    page, other = f"/nb/{slug}/notebooks/a.ipynb", cookie("bob", course="other")["Cookie"]
    mine = cookie(student, course=course)["Cookie"]
    for sent in (mine, f"{other}; {mine}", f"{mine}; {other}"):
        assert told(await direct.ask(page, headers={"Cookie": sent})).by == "notebook"
    of_bob = f"{edge_cookie_name(https=False, course=course)}={edge_of('bob')}"
    longer = cookie(student, course=f"{course}x")["Cookie"]
    part = cookie(student, course=slug.rpartition("-")[2])["Cookie"]
    for sent in (other, of_bob, longer, part):
        assert told(await direct.ask(page, headers={"Cookie": sent})).by == "gateway"


async def test_person_without_ascii_is_admitted(
    direct: Front, routes: RouteFiles, notebook: Upstream
) -> None:
    name = "Zoë|%2F/${x} ü"
    publish(routes, notebook, owner=name, people=[name, "alice"])
    answer = told(await direct.ask(PAGE, headers=cookie(name)))
    assert answer.by == "notebook"
    assert answer.one("X-Nbgate-User") == "Zo%C3%AB%7C%252F%2F%24%7Bx%7D%20%C3%BC"
    assert told(await direct.ask(PAGE, headers=ALICE)).by == "gateway"


async def test_edge_id_is_in_no_log(direct: Front) -> None:
    await direct.ask(f"{PAGE}?unlike-others", headers=ALICE)
    await direct.ask(f"{PAGE}", headers=_with(MADE_UP))
    log = direct.log.read_text()
    assert edge_of("alice") not in log
    assert MADE_UP not in log


async def test_what_is_not_hot_and_the_gateways_pages_are_the_gateways(direct: Front) -> None:
    for path in ("/nb/cold/", "/gateway/login", f"{KEY}x/lab", "/api/status"):
        answer = told(await direct.ask(path, headers=ALICE))
        assert answer.by == "gateway"
        assert answer.one("Authorization") is None


HOST = f"{SLUG}.nb.example.org"


@pytest.fixture
async def by_host(start_front: StartFront, routes: RouteFiles, notebook: Upstream) -> Front:
    publish(routes, notebook, key=HOST)
    return await start_front(NBGATE_HTTPD_DIRECT="true", NBGATE_BASE_DOMAIN="nb.example.org")


async def test_notebook_by_host_is_served_with_its_secret(by_host: Front) -> None:
    assert told(await by_host.ask("/lab", host=HOST)).by == "gateway"
    answer = told(await by_host.ask("/lab", host=f"{HOST}:8080", headers=ALICE))
    assert answer.all("Authorization") == [f"token {SECRET}"]
    assert told(await by_host.ask("/gateway/", host=HOST, headers=ALICE)).by == "gateway"
    assert told(await by_host.ask("/lab", host="x.nb.example.org", headers=ALICE)).by == "gateway"


async def test_https_is_what_a_trusted_proxy_says(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> None:
    publish(routes, notebook)
    front = await start_front(NBGATE_HTTPD_DIRECT="true", NBGATE_TRUSTED_PROXY="127.0.0.1")
    https = {"X-Forwarded-Proto": "https"}
    secure = cookie("alice", https=True)
    assert told(await front.ask(PAGE, headers=secure | https)).by == "notebook"
    assert told(await front.ask(PAGE, headers=ALICE | https)).by == "gateway"
    assert told(await front.ask(PAGE, headers=secure)).by == "gateway"
    assert told(await front.ask(PAGE, headers=ALICE)).by == "notebook"
    own = {"Origin": f"https://127.0.0.1:{front.port}"}
    answer = await front.ask(PAGE, method="POST", headers=secure | https | own)
    assert told(answer).by == "notebook"


async def test_notebook_without_a_secret_goes_to_the_gateway(
    direct: Front, routes: RouteFiles, notebook: Upstream
) -> None:
    publish(routes, notebook, secret="")
    assert told(await direct.ask(PAGE, headers=ALICE)).by == "gateway"


async def test_maps_are_not_read_where_httpd_admits_nobody(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> None:
    publish(routes, notebook)
    for name in ("secrets.gdbm", "edges.gdbm", "owners.gdbm"):
        (routes.folder / name).unlink()
    front = await start_front()
    assert told(await front.ask(PAGE, headers=ALICE)).one("Authorization") is None


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
    answer = told(await direct.ask(f"{KEY}/a%3F%2Fb{sent}", headers=ALICE))
    assert answer.target.rstrip("?&") == f"{KEY}/a%3F%2Fb{left}".rstrip("?&")


@pytest.mark.parametrize("status", [200, 404, 500])
async def test_notebook_grants_no_foreign_origin_and_sets_no_login_cookie(
    direct: Front, status: int
) -> None:
    answer = await direct.ask(f"{PAGE}?status={status}", headers=ALICE)
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
async def test_what_foreign_pages_send_is_the_gateways_to_refuse(
    direct: Front, notebook: Upstream, method: str, headers: Mapping[str, str]
) -> None:
    answer = await direct.ask(PAGE, method=method, headers=ALICE | dict(headers))
    assert "Upgrade" in headers or told(answer).by == "gateway"
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
    answer = await direct.ask(PAGE, method=method, headers=ALICE | dict(headers))
    assert told(answer).by == "notebook"


async def test_own_origin_may_post_and_the_other_schemes_may_not(direct: Front) -> None:
    for scheme, by in (("http", "notebook"), ("https", "gateway")):
        own = {"Origin": f"{scheme}://127.0.0.1:{direct.port}"}
        answer = await direct.ask(PAGE, method="POST", headers=ALICE | own)
        assert told(answer).by == by


async def test_wrong_setting_is_one_clear_line(start_front: StartFront) -> None:
    with pytest.raises(RuntimeError, match="NBGATE_HTTPD_DIRECT is 'maybe'; set it to true or"):
        await start_front(NBGATE_HTTPD_DIRECT="maybe")
