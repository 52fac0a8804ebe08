"""httpd serves what nbgate-proxy keeps: hosts, with plain targets."""

from __future__ import annotations

from tests.chp.harness import rig, url
from tests.httpd.conftest import Front
from tests.httpd.upstreams import Client, upstreams

_HOST = "docs.nb.test"


async def test_httpd_serves_a_kept_host(front: Front) -> None:
    flags = ("--host-routing", "--persist-routes", f"--route-file={front.path}")
    async with (
        rig(*flags) as proxy,
        upstreams(1) as [upstream],
        Client(front.port) as client,
    ):
        assert (await client.get(_HOST))[0] == 404
        await proxy.add(f"/{_HOST}", url(upstream))
        assert (await proxy.api("POST", "/gateway/api/routes/flush")).status == 204
        assert await client.get(_HOST) == (200, str(upstream).encode())
        assert (await proxy.api("DELETE", f"/api/routes/{_HOST}")).status == 204
        assert (await proxy.api("POST", "/gateway/api/routes/flush")).status == 204
        assert (await client.get(_HOST))[0] == 404
