"""`nbgate image …`: asks the container engine directly, no gateway needs to run."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from gateway.cli.connection import load
from gateway.cli.failures import Exit, UsageError
from gateway.cli.output import say
from gateway.cli.parser import Parser, command, commands_of

_FOLDER = "jupyter-image"


def add_to(noun: Parser) -> None:
    """Add the commands."""
    build = command(
        commands_of(noun),
        "build",
        "build the notebook image on the container engine, showing its progress",
        "nbgate image build\n"
        "  nbgate image build --base-image registry.example.org/python:3.12 --tag lab:2",
        _build,
    )
    build.add_argument("--tag", metavar="T", help="its name; default: the setting `image`")
    build.add_argument(
        "--base-image", metavar="B", help="what it is built on; default: the Dockerfile's own"
    )
    build.add_argument(
        "--context",
        metavar="DIR",
        type=Path,
        help=f"the folder with the Dockerfile; default: {_FOLDER}, here or beside the program",
    )
    build.add_argument(
        "--docker-host", metavar="URL", help="the engine; default: as for `nbgate serve`"
    )


def _build(args: argparse.Namespace) -> int:
    settings = load(
        {"docker_host": args.docker_host, "image": args.tag},
        {"docker_host": "--docker-host", "image": "--tag"},
    )
    context = _context(args.context)
    asyncio.run(_build_on(settings.docker_host, context, settings.image, args.base_image))
    print(settings.image)
    return Exit.OK


def _context(given: Path | None) -> Path:
    """Return the folder to build. Raises UsageError."""
    # In a checkout the folder is beside the package, in an installed package inside of it.
    package = Path(__file__).resolve().parents[1]
    defaults = [Path(_FOLDER), package.parent / _FOLDER, package / _FOLDER]
    folders = [given] if given is not None else defaults
    for folder in folders:
        if (folder / "Dockerfile").is_file():
            return folder.resolve()
    raise UsageError(f"there is no Dockerfile in {folders[0]}; name its folder with --context")


async def _build_on(docker_host: str, context: Path, tag: str, base_image: str | None) -> None:
    from gateway.spawners.engine import Engine  # takes long to import
    from gateway.spawners.images import build_image

    engine = Engine(docker_host)
    try:
        say(f"building {tag} from {context} on {engine.address}")
        await build_image(engine, context, tag, base_image, _show)
    finally:
        await engine.close()


def _show(line: str) -> None:
    print(line.rstrip(), file=sys.stderr, flush=True)
