"""A Debian with Python as an image's content, made by debootstrap: no registry is needed."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python3", "python3-venv")
_CERTIFICATES = Path("etc/ssl/certs/ca-certificates.crt")
_VERSION = "1"  # counts up when make_tarball does something else

Say = Callable[[str], None]


class BaseImageFailed(Exception):
    """debootstrap is not there or failed; the text says which."""


def content_hash() -> str:
    """Return 12 digits that stand for what the image is made of."""
    host = Path("/") / _CERTIFICATES
    certificates = host.read_bytes() if host.exists() else b""
    text = repr((_VERSION, SUITE, PACKAGES, hashlib.sha256(certificates).hexdigest()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def make_tarball(target: Path, progress: Say) -> None:
    """Write the image's root file system to `target`, whole or not at all; takes about 75 s.

    Raises:
        BaseImageFailed: see there.
    """
    debootstrap = shutil.which("debootstrap", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if debootstrap is None:
        raise BaseImageFailed("the tests' base image needs debootstrap (package debootstrap)")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="base-") as folder:
        root = Path(folder) / "root"
        run(
            [
                *(debootstrap, "--variant=minbase", f"--include={','.join(PACKAGES)}"),
                *(SUITE, str(root), *mirror()),
            ],
            progress,
        )
        clean(root)
        tarball = Path(folder) / "base.tar"
        run(["tar", "-C", str(root), "-cf", str(tarball), "."], progress)
        tarball.replace(target)


def run(command: list[str], progress: Say) -> None:
    """Run a command, telling each line of its output.

    Raises:
        BaseImageFailed: it failed; the text has its last line.
    """
    last = ""
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            last = line.strip() or last
            progress(line.strip())
    if process.returncode:
        raise BaseImageFailed(f"{Path(command[0]).name} failed: {last}")


def clean(root: Path) -> None:
    """Leave out what no image needs, and let it trust whom this machine trusts."""
    for cache in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(root / cache, ignore_errors=True)
        (root / cache / "partial").mkdir(parents=True)
    if (Path("/") / _CERTIFICATES).exists():
        shutil.copyfile(Path("/") / _CERTIFICATES, root / _CERTIFICATES)


def mirror() -> list[str]:
    """Return the Debian mirror that this machine uses; none, for debootstrap's own, elsewhere."""
    folder = Path("/etc/apt")
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    for path in files:
        if path.is_file() and (found := mirror_in(path.read_text(errors="replace"))):
            return [found]
    return []


def mirror_in(text: str) -> str | None:
    """Return the first Debian archive in an apt source, of either form (sources.list(5))."""
    pattern = r"^(?:URIs:\s*|deb\s+(?:\[[^]]*]\s+)?)(https?://\S+/debian)/?(?:\s|$)"
    match = re.search(pattern, text, re.MULTILINE)
    return match[1] if match else None
