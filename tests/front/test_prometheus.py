"""docs/prometheus.yml and the metrics, read by a real Prometheus."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.gateway import ROOT, GatewayProcess, running
from tests.support.prometheus import CONFIGURATION, running_prometheus, until_up, values
from tests.support.waiting import PATIENCE


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    """Fail or skip where Prometheus is not installed."""
    if shutil.which("prometheus") and shutil.which("promtool"):
        return
    lacking = "Prometheus is missing; on Debian: apt-get install prometheus"
    if os.environ.get("CI") == "true":
        pytest.fail(lacking)
    pytest.skip(lacking)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with one notebook, cold."""
    with running(tmp_path_factory.mktemp("metrics") / "state", spawner="process") as process:
        process.nbgate("project", "add", "demo", "--source", str(ROOT / "examples" / "demo"))
        process.nbgate("notebook", "create", "lab1", "--project", "demo", "--name", "Lab one")
        yield process


def test_configuration_is_valid() -> None:
    command = ["promtool", "check", "config", str(CONFIGURATION)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_promtool_has_no_objection_to_the_metrics(gateway: GatewayProcess) -> None:
    with urllib.request.urlopen(
        f"{gateway.management_url}/gateway/metrics", timeout=PATIENCE
    ) as answer:
        metrics = answer.read()
    command = ["promtool", "check", "metrics"]
    result = subprocess.run(command, input=metrics, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode()


async def test_prometheus_reads_the_gateway(gateway: GatewayProcess, tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as session:
        for path, status in (("/", 200), ("/nothing-here", 404)):
            async with session.get(gateway.url + path) as answer:
                assert answer.status == status
    target = f"127.0.0.1:{gateway.management_port}"
    async with running_prometheus(tmp_path, target) as origin:
        found = await until_up(origin)
        assert found["scrapeUrl"] == f"http://{target}/gateway/metrics"
        assert found["labels"]["job"] == "nbgate"
        requests = await values(origin, "sum by (outcome) (nbgate_requests_total)")
        assert requests == {"2xx": 1.0, "4xx": 1.0}
        notebooks = await values(origin, "sum by (state) (nbgate_notebooks)")
        assert notebooks.pop("cold") == 1.0
        assert notebooks.keys() >= {"starting", "running", "stopping", "failed"}
        assert set(notebooks.values()) == {0.0}
