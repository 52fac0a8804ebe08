"""Start the server: `python -m nbgate_jupyter [arguments of jupyter server]`."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from nbgate_jupyter.config import MissingSecret, configure

EX_CONFIG = 78  # sysexits.h
# Large packages that a server imports at its start and uses only for gateways of another kind and
# for lists of extensions: each is loaded when it is first used.
RARELY_USED = ("requests", "websocket")


def main(arguments: list[str]) -> int:
    """Run Jupyter until it is told to stop; return the exit status."""
    gc.disable()  # a start makes no garbage worth collecting; a twelfth of it went there
    load_when_used(RARELY_USED)
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


def load_when_used(names: Iterable[str]) -> None:
    """Make `import name` cheap: the module runs when something of it is asked for."""
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            continue
        spec.loader = importlib.util.LazyLoader(spec.loader)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)


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
