from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import EngineError
from gateway.spawners.base import ServerSpec
from gateway.spawners.docker_spec import (
    GENERATION,
    INSTALLATION,
    SLUG,
    SPEC,
    Image,
    Place,
    container_config,
    image_from,
    translate,
)

OURS = Image("sha256:1", ours=True, read_only_root=True)
STRANGE = Image("sha256:2", ours=False, read_only_root=False)
PLACE = Place("0a1b2c3d", 1001, 1002, Path("/host/demo"), "nbgate-0a1b2c3d", "10.213.0.16", True)
SPECIMEN = ServerSpec(
    slug="demo",
    generation=4,
    image="nbgate/jupyter:latest",
    base_url="/nb/demo/",
    token="s3cret",
    user_name="Zoë",
    space=Path("/spaces/demo"),
    memory=2**30,
    cpus=1.5,
    environment={"COURSE": "bio", "NBGATE_HOP_SECRET": "mine"},
    labels={"team": "a", SLUG: "forged"},
    frame_ancestors=("https://lms.example.org",),
)


def environment_of(config: dict[str, object]) -> dict[str, str]:
    items = config["Env"]
    assert isinstance(items, list)
    return dict(item.split("=", 1) for item in items)


def test_our_image_is_told_by_its_environment() -> None:
    config = container_config(SPECIMEN, OURS, PLACE)

    assert environment_of(config) == {
        "COURSE": "bio",
        "NBGATE_HOP_SECRET": "s3cret",
        "NBGATE_SLUG": "demo",
        "NBGATE_BASE_URL": "/nb/demo/",
        "NBGATE_USER_NAME": "Zoë",
        "NBGATE_FRAME_ANCESTORS": "https://lms.example.org",
        "NBGATE_AUTOSAVE": "",
    }
    assert config["Cmd"] is None


def test_strange_image_has_no_secret_in_its_arguments() -> None:
    config = container_config(SPECIMEN, STRANGE, replace(PLACE, provider="# a provider"))

    assert environment_of(config)["JUPYTER_TOKEN"] == "s3cret"
    assert environment_of(config)["NBGATE_USER_NAME"] == "Zoë"
    assert "# a provider" in config["Cmd"]
    assert "--ServerApp.base_url=/nb/demo/" in config["Cmd"]
    assert "s3cret" not in " ".join(config["Cmd"])


def test_strange_image_may_be_framed() -> None:
    config = container_config(SPECIMEN, STRANGE, PLACE)

    option = config["Cmd"][-1].partition("=")[2]
    policy = json.loads(option)["headers"]["Content-Security-Policy"]
    assert policy.startswith("frame-ancestors 'self' https://lms.example.org;")


def test_labels_of_ours_cannot_be_forged() -> None:
    labels = container_config(SPECIMEN, OURS, PLACE)["Labels"]

    assert (labels[INSTALLATION], labels[SLUG], labels[GENERATION]) == ("0a1b2c3d", "demo", "4")
    assert labels["team"] == "a"


@pytest.mark.parametrize(
    "changed",
    [
        replace(SPECIMEN, memory=2**29),
        replace(SPECIMEN, cpus=1.0),
        replace(SPECIMEN, environment={"A": "b"}),
        replace(SPECIMEN, base_url="/"),
    ],
)
def test_spec_hash_changes_with_what_the_container_is_made_of(changed: ServerSpec) -> None:
    assert spec_of(changed, PLACE) != spec_of(SPECIMEN, PLACE)


def test_spec_hash_stays_with_another_address_or_secret() -> None:
    same = replace(SPECIMEN, token="other")

    assert spec_of(same, replace(PLACE, address="10.213.0.99")) == spec_of(SPECIMEN, PLACE)


def test_spec_hash_changes_with_an_image_that_was_built_anew() -> None:
    rebuilt = container_config(SPECIMEN, replace(OURS, id="sha256:9"), PLACE)["Labels"][SPEC]

    assert rebuilt != spec_of(SPECIMEN, PLACE)


def test_container_may_do_as_little_as_possible() -> None:
    config = container_config(SPECIMEN, OURS, PLACE)
    host = config["HostConfig"]

    assert config["User"] == "1001:1002"
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["ReadonlyRootfs"] is True
    assert set(host["Tmpfs"]) == {"/tmp", "/home/jovyan"}
    assert host["Memory"] == host["MemorySwap"] == 2**30
    assert (host["CpuQuota"], host["CpuPeriod"]) == (150_000, 100_000)
    assert host["LogConfig"]["Config"]["max-size"]
    assert host["Mounts"] == [
        {"Type": "bind", "Source": "/host/demo", "Target": "/home/jovyan/work"}
    ]


def test_port_is_published_on_loopback_in_dev_mode_alone() -> None:
    dev = container_config(SPECIMEN, OURS, PLACE)["HostConfig"]
    prod = container_config(SPECIMEN, OURS, replace(PLACE, publish=False))["HostConfig"]

    assert dev["PortBindings"] == {"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}
    assert prod["PortBindings"] == {}


def test_image_without_labels_is_strange() -> None:
    assert image_from({"Id": "sha256:3", "Config": {"Labels": None}}) == Image(
        "sha256:3", ours=False, read_only_root=False
    )


def test_path_is_translated_by_the_nearest_mount() -> None:
    mounts = [
        {"Destination": "/", "Source": "/all"},
        {"Destination": "/state", "Source": "/srv/nbgate"},
        {"Destination": "/stateful", "Source": "/wrong"},
    ]

    assert translate(Path("/state/spaces"), mounts) == Path("/srv/nbgate/spaces")


def test_path_inside_the_gateways_container_is_refused() -> None:
    with pytest.raises(EngineError, match="NBGATE_SPACES_HOST_DIR"):
        translate(Path("/state/spaces"), [{"Destination": "/other", "Source": "/x"}])


def spec_of(spec: ServerSpec, place: Place) -> str:
    return str(container_config(spec, OURS, place)["Labels"][SPEC])
