"""The images of gateway and httpd, built and run by a real engine."""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.support.engine import EngineHandle
from tests.support.front import RouteFiles
from tests.support.images import make_gateway_image, make_httpd_image
from tests.support.waiting import PATIENCE

# What `nbgate` is replaced by, to see how it is run.
SHOW = b"""#!/bin/sh
grep -E '^(Uid|Gid|Groups|CapPrm|CapEff|CapBnd|NoNewPrivs):' /proc/self/status | tr '\\t' ' '
echo "home $HOME"
echo "arguments $*"
"""
# What answers in the gateway's place, and tells whose user id asks. It goes on running: who asked
# would be killed with the container's first process.
LISTENER = b"""
import signal, socket, sys
server = socket.create_server(("127.0.0.1", 8001))
connection, (_, port) = server.accept()
lines = [line.split() for line in open("/proc/net/tcp")][1:]
print(*(line[7] for line in lines if int(line[1].split(":")[1], 16) == port))
connection.recv(4096)
connection.sendall(b"HTTP/1.1 %b \\r\\n" % sys.argv[1].encode())
connection.close()
signal.pause()
"""
# As in compose.yaml.
RIGHTS = ["CHOWN", "DAC_OVERRIDE", "SETGID", "SETPCAP", "SETUID"]
HARDENED = ["no-new-privileges:true"]


@pytest.fixture
def client(engine: EngineHandle) -> Iterator[docker.DockerClient]:
    with contextlib.closing(engine.client()) as made:
        yield made


@pytest.fixture(scope="module")
def gateway_image(engine: EngineHandle) -> str:
    return make_gateway_image(engine)


@pytest.fixture(scope="module")
def httpd_image(engine: EngineHandle) -> str:
    return make_httpd_image(engine)


def archive(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), 0o755
        tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def shown(client: docker.DockerClient, image: str, *command: str, user: str = "") -> dict[str, str]:
    """Run the image with SHOW in place of nbgate; return what it printed by its first words."""
    container = client.containers.create(
        image,
        list(command),
        user=user,
        cap_drop=["ALL"],
        cap_add=RIGHTS,
        security_opt=HARDENED,
    )
    try:
        container.put_archive("/opt/nbgate/bin", archive("nbgate", SHOW))
        container.start()
        container.wait(timeout=PATIENCE)
        lines = container.logs().decode().splitlines()
    finally:
        container.remove(force=True, v=True)
    return {line.split()[0].rstrip(":"): " ".join(line.split()[1:]) for line in lines}


def test_gateway_serves_without_root_and_without_any_capability(
    client: docker.DockerClient, gateway_image: str
) -> None:
    seen = shown(client, gateway_image)
    assert seen["Uid"] == seen["Gid"] == "1000 1000 1000 1000"
    assert {int(seen[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {0}
    assert (seen["NoNewPrivs"], seen["home"], seen["arguments"]) == ("1", "/state", "serve")


def test_commands_in_the_gateways_container_give_up_root_too(
    client: docker.DockerClient, gateway_image: str
) -> None:
    seen = shown(client, gateway_image, "notebook", "list")
    assert (seen["Uid"].split()[0], seen["arguments"]) == ("1000", "notebook list")


def test_gateway_image_can_be_run_as_another_user(
    client: docker.DockerClient, gateway_image: str
) -> None:
    assert shown(client, gateway_image, user="1234:1234")["Uid"].split()[0] == "1234"


@pytest.mark.parametrize(("user", "uid"), [("", "1000"), ("1234:1234", "1234")])
@pytest.mark.parametrize(("answer", "code"), [("200", 0), ("503", 1)])
def test_health_check_asks_the_gateway_without_root(
    client: docker.DockerClient, gateway_image: str, user: str, uid: str, answer: str, code: int
) -> None:
    container = client.containers.create(
        gateway_image,
        ["/tmp/listener", answer],
        entrypoint=["python3", "-u"],
        user=user,
        cap_drop=["ALL"],
        cap_add=RIGHTS,
        security_opt=HARDENED,
        # Nobody else asks meanwhile.
        healthcheck={"test": ["NONE"]},
        network_mode="none",
    )
    check = client.images.get(gateway_image).attrs["Config"]["Healthcheck"]["Test"]
    assert check[0] == "CMD"
    try:
        container.put_archive("/tmp", archive("listener", LISTENER))
        container.start()
        listening = "until grep -q :1F41 /proc/net/tcp; do sleep 0.1; done"
        assert container.exec_run(["timeout", str(PATIENCE), "sh", "-c", listening])[0] == 0
        assert container.exec_run(check[1:])[0] == code
        container.kill()
        container.wait(timeout=PATIENCE)
        assert container.logs().decode().split() == [uid]
    finally:
        container.remove(force=True, v=True)


def test_gateway_image_has_what_the_gateway_uses(
    client: docker.DockerClient, gateway_image: str
) -> None:
    script = (
        "set -e; nbgate --version; git --version; iptables --version;"
        "test -d /usr/share/nbgate/demo;"
        "/opt/nbgate/bin/python -c 'import gateway.app, routes.apachedb, asyncpg'"
    )
    container = client.containers.create(gateway_image, ["-c", script], entrypoint="sh")
    try:
        container.start()
        assert container.wait(timeout=PATIENCE)["StatusCode"] == 0, container.logs().decode()
    finally:
        container.remove(force=True, v=True)


def test_httpd_container_is_healthy_without_a_gateway_and_without_root(
    client: docker.DockerClient, httpd_image: str, tmp_path: Path
) -> None:
    RouteFiles(tmp_path)
    container = client.containers.create(
        httpd_image,
        environment={"NBGATE_GATEWAY": "127.0.0.1:9"},
        network_mode="none",
        cap_drop=["ALL"],
        security_opt=HARDENED,
        read_only=True,
        tmpfs={"/run/nbgate-httpd": "uid=10001,gid=1000,mode=0750"},
        volumes={str(tmp_path): {"bind": "/run/nbgate", "mode": "ro"}},
    )
    try:
        tmp_path.chmod(0o755)
        container.start()
        status, output = container.exec_run(
            ["sh", "-c", "until /etc/nbgate/healthcheck; do sleep 0.1; done 2> /dev/null; id -u"]
        )
        assert (status, output) == (0, b"10001\n"), container.logs()
        processes = container.top(ps_args="-eo pid,uid,args")["Processes"]
        assert {process[1] for process in processes} == {"10001"}
    finally:
        container.remove(force=True, v=True)
