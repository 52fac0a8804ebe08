"""compose.yaml: what it says, and that it comes up."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gateway.settings import Settings
from tests.support.engine import ROOT

LONG_LIVED = {"gateway", "httpd", "firewall", "prometheus"}


def config(compose: list[str], **variables: str) -> dict[str, Any]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("NBGATE_")
    }
    command = [*compose, "-f", str(ROOT / "compose.yaml"), "--profile", "metrics", "config"]
    result = subprocess.run(
        command, env=inherited | variables, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    loaded = yaml.safe_load(result.stdout)
    assert isinstance(loaded, dict)
    return loaded


def test_all_services_are_there(compose: list[str]) -> None:
    assert set(config(compose)["services"]) == LONG_LIVED | {"notebook-image"}


def test_each_lasting_service_has_a_health_check(compose: list[str]) -> None:
    services = config(compose)["services"]
    in_image = {"gateway": ROOT / "gateway", "httpd": ROOT / "httpd"}
    for name in LONG_LIVED:
        if name in in_image:
            assert "\nHEALTHCHECK" in (in_image[name] / "Dockerfile").read_text()
        else:
            assert services[name]["healthcheck"]["test"]


def test_only_httpd_is_published_and_only_on_this_machine(compose: list[str]) -> None:
    services = config(compose)["services"]
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert set(published) == {"httpd"}
    assert "127.0.0.1" in str(published["httpd"])
    elsewhere = config(compose, NBGATE_PUBLISH="0.0.0.0:80")["services"]["httpd"]["ports"]
    assert "0.0.0.0" in str(elsewhere)


def test_no_service_can_do_more_than_it_needs(compose: list[str]) -> None:
    services = config(compose)["services"]
    for name in LONG_LIVED:
        assert services[name]["cap_drop"] == ["ALL"], name
        assert services[name]["security_opt"] == ["no-new-privileges:true"], name
        assert not services[name].get("privileged"), name
    with_net_admin = {name for name in LONG_LIVED if "NET_ADMIN" in str(services[name])}
    assert with_net_admin == {"firewall"}


def test_httpd_sees_the_route_files_and_nothing_else_of_the_gateways(compose: list[str]) -> None:
    mounts = [str(volume) for volume in config(compose)["services"]["httpd"]["volumes"]]
    assert len(mounts) == 3, "routes, conf.d, and a folder for certificates"
    assert not [mount for mount in mounts if "docker.sock" in mount or "/state" in mount]


def test_gateway_trusts_httpds_address_alone(compose: list[str]) -> None:
    services = config(compose, NBGATE_FRONT_PREFIX="10.99.7")["services"]
    address = services["httpd"]["networks"]["front"]["ipv4_address"]
    assert services["gateway"]["environment"]["NBGATE_TRUSTED_PROXIES"] == address == "10.99.7.3"


def test_every_image_can_be_chosen(compose: list[str]) -> None:
    chosen = {
        "NBGATE_PYTHON_IMAGE": "python.example",
        "NBGATE_DEBIAN_IMAGE": "debian.example",
        "NBGATE_PROMETHEUS_IMAGE": "prometheus.example",
    }
    services = config(compose, **chosen)["services"]
    bases = {
        name: service["build"]["args"]["BASE_IMAGE"]
        for name, service in services.items()
        if "build" in service
    }
    assert bases == {
        "gateway": "python.example",
        "firewall": "python.example",
        "notebook-image": "python.example",
        "httpd": "debian.example",
    }
    assert services["prometheus"]["image"] == "prometheus.example"


def test_every_setting_named_is_one(compose: list[str]) -> None:
    environment: Mapping[str, Any] = config(compose)["services"]["gateway"]["environment"]
    known = {f"NBGATE_{name.upper()}" for name in Settings.model_fields}
    assert set(environment) <= known


def test_prometheus_scrapes_the_management_port_inside_the_gateways_network(
    compose: list[str],
) -> None:
    prometheus = config(compose)["services"]["prometheus"]
    assert prometheus["network_mode"] == "service:gateway"
    scraped = yaml.safe_load((ROOT / "docs/prometheus.yml").read_text())["scrape_configs"][0]
    assert scraped["metrics_path"] == "/gateway/metrics"
    assert scraped["static_configs"] == [{"targets": ["127.0.0.1:8001"]}]


def test_files_that_are_mounted_are_in_the_tree(compose: list[str]) -> None:
    for service in config(compose)["services"].values():
        for volume in service.get("volumes", []):
            source = volume["source"] if isinstance(volume, dict) else volume.partition(":")[0]
            if source.startswith(str(ROOT)):
                assert Path(source).exists(), source
