"""What Lab's pages are told beside the server's own configuration; files, for Lab reads no other.

NBGATE_SLUG      the notebook's slug, by which an open page asks the gateway about it
NBGATE_AUTOSAVE  seconds between two saves of an open document; 0: never; without: Lab's own
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DOCUMENTS = "@jupyterlab/docmanager-extension:plugin"


def tell_pages(environment: Mapping[str, str], folder: Path) -> None:
    """Write Lab's configuration for `environment`; a folder that cannot be written costs only it.

    Args:
        environment: see the module's docstring.
        folder: `labconfig` in one of Jupyter's configuration folders. A person's own settings,
            which are in the space, are stronger.
    """
    files = {
        "page_config.json": page_config(environment),
        "default_setting_overrides.json": settings(environment),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content))
    except OSError as error:
        sys.stderr.write(f"pages are not told what the project sets: {error}\n")


def page_config(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what is added to the configuration in each page."""
    slug = environment.get("NBGATE_SLUG", "")
    return {"nbgateSlug": slug} if slug else {}


def settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the defaults of Lab's settings; what is no number is as if it was not there."""
    try:
        interval = float(environment.get("NBGATE_AUTOSAVE", ""))
    except ValueError:
        return {}
    return {DOCUMENTS: autosave(interval)}


def autosave(interval: float) -> dict[str, Any]:
    """Return the settings of Lab's documents for an interval in seconds; 0 means never."""
    if not interval > 0:
        return {"autosave": False}
    return {"autosave": True, "autosaveInterval": interval}
