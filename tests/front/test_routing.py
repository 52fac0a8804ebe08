import pytest

from tests.front.conftest import StartFront
from tests.front.upstream import Upstream, told
from tests.support.front import RouteFiles

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_route_of_a_host_goes_straight_to_its_target(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream, gateway: Upstream
) -> None:
    routes.write({"docs.example.org": notebook.address})
    front = await start_front()
    assert told(await front.ask("/a", host="docs.example.org")).by == "notebook"
    assert gateway.seen == []


@pytest.mark.parametrize(
    "host",
    ["DOCS.Example.org", "docs.example.org:443", "docs.example.org.", "docs.example.org.:1"],
)
async def test_host_is_matched_without_case_port_and_final_dot(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream, host: str
) -> None:
    routes.write({"docs.example.org": notebook.address})
    front = await start_front()
    answer = told(await front.ask("/", host=host))
    assert (answer.by, answer.one("Host")) == ("notebook", host)


@pytest.mark.parametrize("path", ["/nb/alice", "/nb/alice/", "/nb/alice/lab?x=1", "/nb/alice?x"])
async def test_route_of_a_path_goes_straight_to_its_target(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream, path: str
) -> None:
    routes.write({"/nb/alice": notebook.address})
    front = await start_front()
    answer = told(await front.ask(path))
    assert (answer.by, answer.target) == ("notebook", path)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nb",
        "/nb/",
        "/nb/alicex/",
        "/nb/Alice/",
        "/n%62/alice/",
        "/nb//alice/",
        "/x/nb/alice",
    ],
)
async def test_every_other_path_goes_to_the_gateway(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream, path: str
) -> None:
    routes.write({"/nb/alice": notebook.address})
    front = await start_front()
    answer = told(await front.ask(path))
    assert (answer.by, answer.target) == ("gateway", path)


@pytest.mark.parametrize("path", ["/gateway", "/gateway/", "/gateway/login?ticket=1"])
async def test_gateway_pages_are_the_gateways_on_every_host(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream, path: str
) -> None:
    routes.write({"docs.example.org": notebook.address})
    front = await start_front()
    assert told(await front.ask(path, host="docs.example.org")).by == "gateway"


async def test_host_with_a_route_wins_over_the_path(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> None:
    # A URL is no target for httpd: such a host's requests are the gateway's, whatever their path.
    routes.write({"docs.example.org": "http://127.0.0.1:9/", "/nb/alice": notebook.address})
    front = await start_front()
    assert told(await front.ask("/nb/alice/", host="docs.example.org")).by == "gateway"


async def test_host_of_a_cold_notebook_is_not_routed_by_path(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> None:
    routes.write({"/nb/alice": notebook.address})
    front = await start_front(NBGATE_BASE_DOMAIN="nb.example.org")
    assert told(await front.ask("/nb/alice/", host="bob.nb.example.org")).by == "gateway"
    assert told(await front.ask("/nb/alice/", host="bob-nb.example.org")).by == "notebook"


async def test_changed_file_is_used_by_the_next_request(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> None:
    front = await start_front()
    assert told(await front.ask("/nb/alice/")).by == "gateway"
    routes.write({"/nb/alice": notebook.address})
    assert told(await front.ask("/nb/alice/")).by == "notebook"
    routes.write({})
    assert told(await front.ask("/nb/alice/")).by == "gateway"


async def test_httpd_serves_no_file_of_its_own(start_front: StartFront) -> None:
    front = await start_front()
    for path in ("/httpd.pid", "/run/httpd.pid", "/auth.conf", "/../front.log"):
        answer = await front.ask(path)
        assert answer.status == 400 or told(answer).by == "gateway"


async def test_health_of_httpd_needs_no_gateway(start_front: StartFront, gateway: Upstream) -> None:
    front = await start_front()
    await gateway.stop()
    assert (await front.ask("/.nbgate-httpd")).status == 204
    assert (await front.ask("/")).status == 503
