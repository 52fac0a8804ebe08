"""The images of the gateway and of httpd, built for tests as compose.yaml builds them."""

from __future__ import annotations

from tests.support.engine import ROOT, EngineHandle, Say, build, make_base_image, say


def make_gateway_image(engine: EngineHandle, progress: Say = say) -> str:
    """Return the tag of the gateway's image."""
    args = {"BASE_IMAGE": make_base_image(engine, progress)}
    return build(engine, ROOT, "gateway/Dockerfile", args, "gateway", progress)


def make_httpd_image(engine: EngineHandle, progress: Say = say) -> str:
    """Return the tag of httpd's image."""
    args = {"BASE_IMAGE": make_base_image(engine, progress)}
    return build(engine, ROOT / "httpd", "Dockerfile", args, "httpd", progress)
