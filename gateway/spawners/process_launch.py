"""Starting the child of the process spawner: its arguments, environment and descriptors.

The secret goes through the environment, never through the arguments, which everybody can read.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from gateway.errors import EngineError
from gateway.spawners import jupyter_child, strange_image
from gateway.spawners.base import ServerSpec

_NEEDED = ("ipykernel", "jupyterlab", "notebook")
_PRIVATE = ("NBGATE_", "JUPYTERHUB_", "JUPYTER_TOKEN", "JUPYTER_CONFIG")
_DISABLED = (
    "@jupyterlab/apputils-extension:announcements",
    "@jupyterlab/fileeditor-extension:language-server",
    "@jupyterlab/lsp-extension",
    "@jupyterlab/notebook-extension:language-server",
)
_DOCUMENTS = "@jupyterlab/docmanager-extension:plugin"
# Without byte code a start takes three times as long.
_SLOWING = ("PYTHONDONTWRITEBYTECODE",)


def check_jupyter() -> None:
    """Make sure that Jupyter is there.

    Raises:
        EngineError: it is not; the text names the remedy.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise EngineError(
            f"the process spawner needs {', '.join(missing)}: `pip install nbgate[jupyter]`"
        )


def spawn_child(spec: ServerSpec, port: int, folder: Path, status: socket.socket) -> int:
    """Start jupyter_child.py and return its process id.

    Args:
        spec: the server.
        port: where it is to listen.
        folder: for its log, configuration and runtime files.
        status: becomes its descriptor 3, and is closed here.
    """
    append = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    log_file = str(folder.with_suffix(".log"))
    with status:
        write_lab_config(spec, folder / "config" / "labconfig")
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", jupyter_child.__file__],
            child_environment(spec, port, folder, os.environ),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, status.fileno(), jupyter_child.STATUS_FD),
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log_file, append, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
        )


def write_lab_config(spec: ServerSpec, folder: Path) -> None:
    """Tell Lab's pages what the server goes without, whose they are, and when they save."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "buildAvailable": False,
        "buildCheck": False,
        "disabledExtensions": dict.fromkeys(_DISABLED, True),
        "nbgateSlug": spec.slug,
    }
    (folder / "page_config.json").write_text(json.dumps(config))
    overrides = {} if spec.autosave is None else {_DOCUMENTS: autosave_settings(spec.autosave)}
    (folder / "default_setting_overrides.json").write_text(json.dumps(overrides))


def autosave_settings(interval: float) -> dict[str, object]:
    """Return Lab's settings for an interval of autosave in seconds; 0 means never."""
    if interval <= 0:
        return {"autosave": False}
    return {"autosave": True, "autosaveInterval": interval}


def extensions_of_pages() -> list[str]:
    """Return the folders of Lab's extensions that are ours: the notebook image's, if it is here."""
    folder = strange_image.image_folder()
    return [] if folder is None else [str(folder / "labextensions")]


def child_environment(
    spec: ServerSpec, port: int, folder: Path, inherited: Mapping[str, str]
) -> dict[str, str]:
    """Return the child's variables: the gateway's, without those that are its own."""
    kept = {
        name: value for name, value in inherited.items() if not name.startswith(_PRIVATE + _SLOWING)
    }
    provider = strange_image.provider_file()
    order = {
        "port": port,
        "provider": "" if provider is None else str(provider),
        "user_name": spec.user_name,
        "base_url": spec.base_url,
        "root_dir": str(spec.space.absolute()),
        "frame_ancestors": list(spec.frame_ancestors),
        "extensions": extensions_of_pages(),
    }
    lab = spec.space.absolute() / ".jupyter" / "lab"
    return {
        **kept,
        **spec.environment,
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(lab / "user-settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(lab / "workspaces"),
        "NBGATE_CHILD_ORDER": json.dumps(order),
        "NBGATE_CHILD_TOKEN": spec.token,
    }


async def read_all(sock: socket.socket, deadline: float) -> bytes:
    """Return what was sent until the other side closed; b"" if `deadline` seconds pass before.

    The socket is closed. A pipe would not do: uvloop closes the number of one twice, and between
    the two it may have become another thread's file.
    """
    reader, writer = await asyncio.open_unix_connection(sock=sock)
    try:
        async with asyncio.timeout(deadline):
            return await reader.read()
    except (TimeoutError, ConnectionError):
        return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
