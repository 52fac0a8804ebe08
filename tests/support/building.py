"""How images are built on the tests' engine: once for each content, by its hash.

NBGATE_TEST_BASE_IMAGE names an image there to build on, in place of one made of Debian's packages.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

import docker
import docker.errors
from docker.utils.build import exclude_paths

from tests.support import base_image as base
from tests.support.engine import CACHE, EngineHandle, Say, locked, say

_BUILD_SILENCE = 1800


def has_image(client: docker.DockerClient, tag: str) -> bool:
    """Tell whether the engine has `tag`."""
    try:
        client.images.get(tag)
    except docker.errors.ImageNotFound:
        return False
    return True


def make_base_image(engine: EngineHandle, progress: Say = say) -> str:
    """Return the tag of a Debian with Python, made without a registry if it is not there."""
    given = os.environ.get("NBGATE_TEST_BASE_IMAGE")
    if given:
        return given
    digest = base.content_hash()
    tag = f"nbgate-test/base:{digest}"
    client = engine.client()
    with contextlib.closing(client), locked(CACHE / f"base-{digest}.lock", progress):
        if not has_image(client, tag):
            tarball = CACHE / f"base-{digest}.tar"
            if not tarball.exists():
                base.make_tarball(tarball, progress)
            progress(f"importing {tag}")
            client.api.import_image_from_file(
                str(tarball), repository="nbgate-test/base", tag=digest
            )
    return tag


def build(
    engine: EngineHandle,
    folder: Path,
    dockerfile: str,
    args: Mapping[str, str],
    name: str,
    progress: Say = say,
    *,
    target: str | None = None,
) -> str:
    """Build an image and return its tag; nothing is done when one of the same content is there.

    Args:
        engine: where to build.
        folder: the build context.
        dockerfile: path of the Dockerfile inside it.
        args: build arguments.
        name: what the image is called, e.g. `jupyter`.
        progress: is told each step.
        target: the stage that is the image; None for the last one.
    """
    digest = context_hash(folder, dockerfile, args)
    tag = f"nbgate-test/{name}:{digest}"
    client = engine.client()
    with contextlib.closing(client), locked(CACHE / f"build-{name}.lock", progress):
        if has_image(client, tag):
            return tag
        progress(f"building {tag}")
        began = time.monotonic()
        events = client.api.build(
            path=str(folder),
            dockerfile=dockerfile,
            tag=tag,
            buildargs=dict(args),
            target=target,
            network_mode="host",
            decode=True,
            rm=True,
            forcerm=True,
            timeout=_BUILD_SILENCE,
        )
        for event in events:
            if "error" in event:
                raise RuntimeError(f"{tag}: {event['error']}")
            line = str(event.get("stream", "")).strip()
            if line.startswith(("Step ", "Collecting ", "Successfully ")):
                progress(line)
        progress(f"built {tag} in {time.monotonic() - began:.0f} s")
    return tag


def context_hash(folder: Path, dockerfile: str, args: Mapping[str, str]) -> str:
    """Return 12 digits that stand for everything that a build reads."""
    ignore = folder / ".dockerignore"
    patterns = ignore.read_text().splitlines() if ignore.exists() else []
    patterns = [line.strip() for line in patterns if line.strip() and not line.startswith("#")]
    found = sorted(exclude_paths(str(folder), patterns, dockerfile=dockerfile))
    digest = hashlib.sha256(repr((dockerfile, sorted(args.items()))).encode())
    for relative in found:
        path = folder / relative
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"{relative}\0{path.stat().st_mode & 0o111}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]
