from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.gateway import ROOT, GatewayProcess, running

SPAWNERS = ("process", pytest.param("docker", marks=pytest.mark.engine))


@pytest.fixture(scope="module", params=SPAWNERS)
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A running gateway with the demo project, once with each spawner."""
    settings = {"spawner": request.param}
    if request.param == "docker":
        settings["docker_host"] = request.getfixturevalue("engine").url
        settings["image"] = request.getfixturevalue("notebook_image")
    with running(tmp_path_factory.mktemp("gateway") / "state", **settings) as process:
        process.nbgate("project", "add", "demo", "--source", str(ROOT / "examples" / "demo"))
        yield process
