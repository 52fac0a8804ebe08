"""Start the server: `python -m nbgate_jupyter [arguments of jupyter server]`."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from pathlib import Path

from nbgate_jupyter.lazily import load_when_used

EX_CONFIG = 78  # sysexits.h
# Large packages that a server imports at its start, and uses only with gateways of another kind
# and with lists of extensions.
RARELY_USED = ("requests", "websocket")


def main(arguments: list[str]) -> int:
    """Run Jupyter until it is told to stop; return the exit status."""
    gc.disable()  # a start makes no garbage worth collecting; a twelfth of its time went there
    load_when_used(RARELY_USED)
    # From here on imports are slow: they come after what makes them faster.
    config = import_module("nbgate_jupyter.config")
    if arguments == ["--check"]:
        return check()
    try:
        settings = config.configure(os.environ)
    except config.MissingSecret as error:
        sys.stderr.write(f"{error}\n")
        return EX_CONFIG
    del os.environ["NBGATE_HOP_SECRET"]  # kernels and terminals inherit the environment
    folder = Path(import_module("jupyter_core.paths").jupyter_config_dir(), "labconfig")
    import_module("nbgate_jupyter.pages").tell_pages(os.environ, folder)
    keep_settings_in(Path(settings["ServerApp"]["root_dir"]))
    serve(settings, arguments)
    return 0


def serve(settings: dict[str, object], arguments: list[str]) -> None:
    """Run the server until it is told to stop."""
    server_class = import_module("jupyter_server.serverapp").ServerApp
    config_class = import_module("traitlets.config").Config
    server = server_class.instance(config=config_class(settings))
    server.initialize(arguments)
    gc.freeze()
    gc.enable()
    server.start()


def keep_settings_in(root: Path) -> None:
    """Keep Lab's settings and layouts in the space: the home folder goes with the container."""
    os.environ.setdefault("JUPYTERLAB_SETTINGS_DIR", str(root / ".jupyter/lab/user-settings"))
    os.environ.setdefault("JUPYTERLAB_WORKSPACES_DIR", str(root / ".jupyter/lab/workspaces"))


def check() -> int:
    """Prove, while the image is built, that what was taken out is not needed."""
    import_module("jsonschema").validate({"at": "https://example.org/"}, {"type": "object"})
    import_module("jupyter_events").EventLogger()
    import_module("jupyter_server_terminals")
    lab, notebook = import_module("jupyterlab"), import_module("notebook")
    import_module("jupyterlab.labapp")
    import_module("notebook.app")
    sys.stdout.write(f"jupyterlab {lab.__version__}, notebook {notebook.__version__}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
