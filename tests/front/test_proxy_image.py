"""The image of nbgate-proxy, built and run by a real engine, as strictly as one can run it."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import threading
from collections.abc import Iterator

import docker
import pytest
from docker.models.containers import Container

from tests.support.engine import EngineHandle
from tests.support.images import make_proxy_image
from tests.support.places import free_ports
from tests.support.waiting import PATIENCE

TOKEN = "of-this-test"


@pytest.fixture
def client(engine: EngineHandle) -> Iterator[docker.DockerClient]:
    with contextlib.closing(engine.client()) as made:
        yield made


@pytest.fixture(scope="module")
def proxy_image(engine: EngineHandle) -> str:
    return make_proxy_image(engine)


class Behind(http.server.BaseHTTPRequestHandler):
    """What is proxied to: tells the path that it was asked for."""

    def do_GET(self) -> None:
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def behind() -> Iterator[str]:
    """Run it; yield its URL."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Behind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def started(
    client: docker.DockerClient, image: str, *words: str, volume: str | None = None
) -> Iterator[Container]:
    """Run the image without a right, a home or a file that it could write to but on `volume`."""
    container: Container = client.containers.create(
        image,
        list(words),
        environment={"CONFIGPROXY_AUTH_TOKEN": TOKEN},
        network_mode="host",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges:true"],
        read_only=True,
        volumes={volume: {"bind": "/var/lib/nbgate", "mode": "rw"}} if volume else {},
        # The engine's would be among the container's processes now and then.
        healthcheck={"test": ["NONE"]},
    )
    try:
        container.start()
        yield container
    finally:
        container.remove(force=True, v=True)


def await_healthy(container: Container) -> None:
    """Wait until the image's own check says that the proxy answers."""
    assert container.image is not None
    check = container.image.attrs["Config"]["Healthcheck"]["Test"]
    assert check == ["CMD", "/opt/nbgate/bin/python", "-m", "gateway.chp.health"]
    waiting = f"until {' '.join(check[1:])}; do sleep 0.1; done"
    status, output = container.exec_run(["timeout", str(PATIENCE), "sh", "-c", waiting])
    assert status == 0, (output, container.logs())


def stop(container: Container) -> None:
    container.stop(timeout=int(PATIENCE))
    assert container.wait(timeout=PATIENCE)["StatusCode"] == 2, container.logs()


def ask(port: int, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Authorization": f"token {TOKEN}"})
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.mark.parametrize("workers", [1, 3])
def test_proxy_runs_read_only_and_without_root_and_takes_routes(
    client: docker.DockerClient, proxy_image: str, workers: int
) -> None:
    port, api = free_ports(2)
    listening = ("--ip", "127.0.0.1", "--port", str(port), "--api-port", str(api))
    flags = (*listening, "--workers", str(workers))
    with started(client, proxy_image, *flags) as container, behind() as target:
        await_healthy(container)
        assert ask(port, "GET", "/lab/x")[0] == 404
        assert ask(api, "POST", "/api/routes/lab", {"target": target}) == (201, b"")
        assert ask(port, "GET", "/lab/x?y") == (200, b"/lab/x?y")
        assert list(json.loads(ask(api, "GET", "/api/routes")[1])) == ["/lab"]
        processes = container.top(ps_args="-eo pid,uid,args")["Processes"]
        assert {process[1] for process in processes} == {"1000"}
        assert len(processes) == (1 if workers == 1 else workers + 2)
        stop(container)


def test_routes_outlive_the_container_on_a_volume(
    client: docker.DockerClient, proxy_image: str
) -> None:
    port, api = free_ports(2)
    flags = ("--ip", "127.0.0.1", "--port", str(port), "--api-port", str(api), "--persist-routes")
    volume = client.volumes.create()
    try:
        with started(client, proxy_image, *flags, volume=volume.id) as container:
            await_healthy(container)
            data = {"target": "http://127.0.0.1:9", "of": "a test"}
            assert ask(api, "POST", "/api/routes/lab", data)[0] == 201
            stop(container)
        with started(client, proxy_image, *flags, volume=volume.id) as container:
            await_healthy(container)
            assert json.loads(ask(api, "GET", "/api/routes/lab")[1])["of"] == "a test"
    finally:
        volume.remove(force=True)


def test_proxy_image_is_compiled_and_has_neither_engine_nor_database(
    client: docker.DockerClient, proxy_image: str
) -> None:
    script = (
        "import importlib.util, gateway.proxy.downstream as path;"
        "print(path.__file__.endswith('.so'),"
        " *filter(importlib.util.find_spec, ['docker', 'sqlalchemy', 'pydantic', 'aiohttp']))"
    )
    said = client.containers.run(
        proxy_image, ["-c", script], entrypoint="/opt/nbgate/bin/python", remove=True
    )
    assert said.split() == [b"True", b"aiohttp"]


def test_proxy_image_answers_to_the_name_that_it_replaces(
    client: docker.DockerClient, proxy_image: str
) -> None:
    said = client.containers.run(
        proxy_image, ["--version"], entrypoint="configurable-http-proxy", remove=True
    )
    assert said.split()
