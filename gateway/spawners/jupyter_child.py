"""What the process spawner runs: stock Jupyter with our identity provider, without detours.

Run as a file by the interpreter that has Jupyter; it imports nothing of the gateway. Where there is
no provider to be had, Jupyter runs in token mode. What it does
before Jupyter gets control:
  - a session of its own, so that it outlives the gateway and its terminal;
  - it claims the port, and tells so through descriptor 3, before the slow imports begin;
  - it leaves out what makes stock Jupyter's start slow: `rfc3987_syntax` (a grammar built on
    import, of no use to Jupyter) and the run of `node` that importing JupyterLab means where
    there is one.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
from importlib import import_module, util
from typing import Any

STATUS_FD = 3
CLAIMED = b"claimed\n"
PORT_TAKEN = 98  # EADDRINUSE, as exit status


def main() -> None:
    """Read the order from the environment, claim the port, become Jupyter."""
    os.setsid()
    gc.disable()
    order = json.loads(os.environ.pop("NBGATE_CHILD_ORDER"))
    token = os.environ.pop("NBGATE_CHILD_TOKEN")
    claim = claim_port(order["port"])
    os.write(STATUS_FD, CLAIMED)
    os.close(STATUS_FD)
    os.chdir(order["root_dir"])
    become_jupyter(configuration(order, token), order["provider"])
    claim.close()


def claim_port(port: int) -> socket.socket:
    """Bind `port` without listening; exit with PORT_TAKEN when somebody else has it.

    Linux lets Jupyter bind it too, since both set SO_REUSEADDR and this one never listens.
    """
    claim = socket.socket()
    claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        claim.bind(("127.0.0.1", port))
    except OSError as error:
        sys.stderr.write(f"port {port}: {error.strerror}\n")
        sys.exit(PORT_TAKEN)
    return claim


def configuration(order: dict[str, Any], token: str) -> dict[str, dict[str, Any]]:
    """Return Jupyter's configuration."""
    server: dict[str, Any] = {
        "ip": "127.0.0.1",
        "port": order["port"],
        "port_retries": 0,
        "base_url": order["base_url"],
        "root_dir": order["root_dir"],
        "default_url": "/lab",
        "open_browser": False,
        "quit_button": False,
        "allow_remote_access": True,
        "allow_root": True,
        "jpserver_extensions": {
            "jupyterlab": True,
            "notebook": True,
            "jupyter_server_terminals": True,
            "jupyter_lsp": False,
        },
    }
    if order["frame_ancestors"]:
        server["tornado_settings"] = {"headers": {"Content-Security-Policy": framing(order)}}
    return {
        "ServerApp": server,
        "IdentityProvider": {"token": "" if order["provider"] else token},
        "HopIdentityProvider": {"hop_secret": token, "user_name": order["user_name"]},
        "LabApp": {
            "extension_manager": "readonly",
            "news_url": None,
            "check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
            "extra_labextensions_path": order["extensions"],
        },
        "JupyterNotebookApp": {"extra_labextensions_path": order["extensions"]},
    }


def framing(order: dict[str, Any]) -> str:
    """Return the start of every Content-Security-Policy; Jupyter appends the rest of its own."""
    origins = " ".join(["'self'", *order["frame_ancestors"]])
    return f"frame-ancestors {origins}; report-uri {order['base_url']}api/security/csp-report"


def become_jupyter(settings: dict[str, dict[str, Any]], provider: str) -> None:
    """Run the server until it is told to stop.

    Args:
        settings: Jupyter's configuration.
        provider: the file of the identity provider; "" for Jupyter's own.
    """
    blocked: dict[str, Any] = {"rfc3987_syntax": None}
    sys.modules.update(blocked)
    path = os.environ.pop("PATH", "")
    os.environ["PATH"] = os.devnull  # no `node` to be found while JupyterLab is imported
    import_module("jupyterlab.labapp")
    os.environ["PATH"] = path
    server_class = import_module("jupyter_server.serverapp").ServerApp
    if provider:
        settings["ServerApp"]["identity_provider_class"] = provider_class(provider)
    config_class = import_module("traitlets.config").Config
    server = server_class.instance(config=config_class(settings))
    server.initialize([])
    gc.freeze()
    gc.enable()
    server.start()


def provider_class(file: str) -> type:
    """Return our identity provider, which is in no package here."""
    found = util.spec_from_file_location("nbgate_identity", file)
    assert found is not None
    assert found.loader is not None
    module = util.module_from_spec(found)
    found.loader.exec_module(module)
    provider: type = module.HopIdentityProvider
    return provider


if __name__ == "__main__":
    main()
