"""Start the server: `python -m nbgate_jupyter [arguments of jupyter server]`."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

from nbgate_jupyter.config import MissingSecret, configure

EX_CONFIG = 78  # sysexits.h


def main(arguments: list[str]) -> int:
    """Run Jupyter until it is told to stop; return the exit status."""
    gc.disable()  # a start makes no garbage worth collecting; a twelfth of it went there
    from jupyter_server.serverapp import ServerApp
    from traitlets.config import Config

    if arguments == ["--check"]:
        return check()
    try:
        config = Config(configure(os.environ))
    except MissingSecret as error:
        sys.stderr.write(f"{error}\n")
        return EX_CONFIG
    del os.environ["NBGATE_HOP_SECRET"]  # kernels and terminals inherit the environment
    keep_settings_in(Path(config.ServerApp.root_dir))
    server = ServerApp.instance(config=config)
    server.initialize(arguments)
    gc.freeze()
    gc.enable()
    server.start()
    return 0


def keep_settings_in(root: Path) -> None:
    """Keep Lab's settings and layouts in the space: the home folder does not outlive a container."""
    os.environ.setdefault("JUPYTERLAB_SETTINGS_DIR", str(root / ".jupyter/lab/user-settings"))
    os.environ.setdefault("JUPYTERLAB_WORKSPACES_DIR", str(root / ".jupyter/lab/workspaces"))


def check() -> int:
    """Prove, while the image is built, that what was taken out is not needed."""
    import jsonschema
    import jupyterlab.labapp
    import notebook.app
    from jupyter_events import EventLogger

    jsonschema.validate({"at": "https://example.org/"}, {"type": "object"})
    EventLogger()
    sys.stdout.write(f"jupyterlab {jupyterlab.__version__}, notebook {notebook.__version__}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
