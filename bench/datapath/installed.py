"""nbgate as operators install it: a compiled wheel in an environment of its own.

The peers are the distribution's builds, so the distribution's Python runs us where it is new
enough. Environments are kept by the content of the sources.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path.home() / ".cache" / "nbgate" / "bench"

_SYSTEM_PYTHON = "/usr/bin/python3"
_SOURCES = ("gateway", "routes", "pyproject.toml")
_PACKAGES = "import sysconfig; print(sysconfig.get_path('purelib'))"


@functools.cache
def python() -> Path:
    """Return the interpreter of an environment with nbgate installed and `bench` importable.

    To be started with `environment()`, or the tree's own sources would be taken.

    Raises:
        subprocess.CalledProcessError: it cannot be built, e.g. without a C compiler.
    """
    base = _base_python()
    home = CACHE / f"nbgate-{_fingerprint(base)}"
    found = home / "bin" / "python"
    if not (home / "ready").exists():
        shutil.rmtree(home, ignore_errors=True)
        _build(base, home)
        (home / "ready").touch()
    return found


def environment() -> dict[str, str]:
    """Return the variables to start `python()` with, besides our own."""
    return {"PYTHONSAFEPATH": "1"}


def described(*packages: str) -> str:
    """Return what is installed there: names and versions; `python` is the interpreter's."""
    code = (
        "import sys, platform, importlib.metadata as m; "
        "print(*(platform.python_version() if name == 'python' else f'{name} {m.version(name)}' "
        "for name in sys.argv[1:]), sep=', ')"
    )
    return _output([str(python()), "-c", code, *packages])


def _build(base: str, home: Path) -> None:
    print("building nbgate, compiled", file=sys.stderr)
    uv, wheels = str(Path(sys.executable).with_name("uv")), home / "wheels"
    ours = ["--quiet", "--python", str(home / "bin" / "python")]
    _run([uv, "venv", "--quiet", "--python", base, str(home)])
    # From a source distribution, so that nothing compiled comes to lie in the tree.
    compiled = {"HATCH_BUILD_HOOK_ENABLE_MYPYC": "true"}
    _run([uv, "build", *ours, "--out-dir", str(wheels)], **compiled)
    (wheel,) = wheels.glob("*.whl")
    _run([uv, "pip", "install", *ours, str(wheel)])
    packages = _output([str(home / "bin" / "python"), "-c", _PACKAGES])
    (Path(packages) / "bench.pth").write_text(f"{ROOT}\n")  # behind what is installed


def _base_python() -> str:
    """Return the distribution's Python, or else the one that runs us."""
    probe = [_SYSTEM_PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    usable = Path(_SYSTEM_PYTHON).exists() and subprocess.run(probe, check=False).returncode == 0
    return _SYSTEM_PYTHON if usable else sys.executable


def _fingerprint(base: str) -> str:
    digest = hashlib.sha256(_output([base, "-VV"]).encode())
    for name in _SOURCES:
        place = ROOT / name
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def _run(command: list[str], **variables: str) -> None:
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, **variables})


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
