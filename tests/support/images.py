"""The images of compose.yaml, built for tests; Prometheus's has a stand-in."""

from __future__ import annotations

from tests.support.engine import ROOT, EngineHandle, Say, build, make_base_image, say


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
