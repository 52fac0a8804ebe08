"""The images that tests run: ours, those beside ours, and stand-ins.

`python -m tests.support.images prepare` makes those of notebooks ahead.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import signal
import sys

from tests.support.base_image import BaseImageFailed
from tests.support.building import build, has_image, make_base_image
from tests.support.engine import ROOT, EngineHandle, EngineMissing, Say, opened, say


def make_notebook_image(engine: EngineHandle, progress: Say = say) -> str:
    """Return the tag of the notebook image."""
    args = {"BASE_IMAGE": make_base_image(engine, progress)}
    return build(engine, ROOT / "jupyter-image", "Dockerfile", args, "jupyter", progress)


def make_stock_image(engine: EngineHandle, progress: Say = say) -> str:
    """Return the tag of the plain installation that the notebook image is measured against."""
    args = {"BASE_IMAGE": make_base_image(engine, progress)}
    return build(engine, ROOT / "bench/stock", "Dockerfile", args, "stock", progress)


def make_stub_image(engine: EngineHandle, progress: Say = say) -> str:
    """Return the tag of an image that passes for ours, and whose server is trivial and quick."""
    dockerfile = (
        "ARG BASE_IMAGE\n"
        "FROM ${BASE_IMAGE}\n"
        'LABEL org.nbgate.image="1" org.nbgate.read-only-root="true"\n'
        'ENTRYPOINT ["python3", "-m", "http.server", "8888"]\n'
    )
    base_tag = make_base_image(engine, progress)
    digest = hashlib.sha256((dockerfile + base_tag).encode()).hexdigest()[:12]
    tag = f"nbgate-test/stub:{digest}"
    client = engine.client()
    with contextlib.closing(client):
        if not has_image(client, tag):
            context = io.BytesIO(dockerfile.encode())
            client.images.build(
                fileobj=context,
                tag=tag,
                buildargs={"BASE_IMAGE": base_tag},
                rm=True,
                forcerm=True,
            )
    return tag


def make_gateway_image(engine: EngineHandle, progress: Say = say) -> str:
    """Return the tag of the gateway's image."""
    args = {"BASE_IMAGE": make_base_image(engine, progress)}
    return build(engine, ROOT, "gateway/Dockerfile", args, "gateway", progress)


def make_proxy_image(engine: EngineHandle, progress: Say = say) -> str:
    """Return the tag of nbgate-proxy's image."""
    args = {"BASE_IMAGE": make_base_image(engine, progress)}
    return build(engine, ROOT, "gateway/Dockerfile", args, "proxy", progress, target="proxy")


def make_httpd_image(engine: EngineHandle, progress: Say = say) -> str:
    """Return the tag of httpd's image."""
    args = {"BASE_IMAGE": make_base_image(engine, progress)}
    return build(engine, ROOT / "httpd", "Dockerfile", args, "httpd", progress)


def make_prometheus_image(engine: EngineHandle, progress: Say = say) -> str:
    """Return the tag of an image that stands in for prom/prometheus."""
    args = {"BASE_IMAGE": make_base_image(engine, progress)}
    folder = ROOT / "tests/support/prometheus_image"
    return build(engine, folder, "Dockerfile", args, "prometheus", progress)


def prepare() -> int:
    """Make the engine and all images ready; return an exit status."""
    try:
        with opened() as handle:
            for make in (make_base_image, make_notebook_image, make_stock_image, make_stub_image):
                say(f"ready: {make(handle)}")
    except (EngineMissing, BaseImageFailed, RuntimeError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    if sys.argv[1:] != ["prepare"]:
        sys.exit("usage: python -m tests.support.images prepare")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(prepare())
