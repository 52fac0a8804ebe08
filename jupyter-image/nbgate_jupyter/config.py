"""Jupyter's configuration from the environment; pure, so that it can be read as one list.

NBGATE_HOP_SECRET (required)  the secret shared with the gateway
NBGATE_BASE_URL               where Jupyter serves; begins and ends with "/"; default "/"
NBGATE_FRAME_ANCESTORS        origins that may frame the notebook, separated by blanks
NBGATE_USER_NAME              the person's name where the gateway does not tell it
NBGATE_ROOT_DIR               the space; default /home/jovyan/work
NBGATE_SLUG, NBGATE_AUTOSAVE  see pages.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbgate_jupyter.contents import WholeFileManager
from nbgate_jupyter.identity import HopIdentityProvider, derive

PORT = 8888


class MissingSecret(Exception):
    """The server would be open to everybody."""

    def __str__(self) -> str:
        return "NBGATE_HOP_SECRET is not set; nbgate sets it when it starts this image"


def configure(environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return Jupyter's configuration for `environment`.

    Raises:
        MissingSecret: there is no hop secret.
    """
    secret = environment.get("NBGATE_HOP_SECRET", "")
    if not secret:
        raise MissingSecret
    return {
        "ServerApp": _server(environment, secret),
        "HopIdentityProvider": {
            "hop_secret": secret,
            "user_name": environment.get("NBGATE_USER_NAME", ""),
            "token": "",
        },
        "LabApp": {
            "extension_manager": "readonly",
            "news_url": None,
            "check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        },
    }


def _server(environment: Mapping[str, str], secret: str) -> dict[str, Any]:
    base_url = environment.get("NBGATE_BASE_URL") or "/"
    policy = framing(base_url, environment)
    return {
        "identity_provider_class": HopIdentityProvider,
        "contents_manager_class": WholeFileManager,
        "ip": "0.0.0.0",  # noqa: S104  the container's own network namespace
        "port": PORT,
        "port_retries": 0,
        "base_url": base_url,
        "root_dir": environment.get("NBGATE_ROOT_DIR") or "/home/jovyan/work",
        "default_url": "/lab",
        "open_browser": False,
        "quit_button": False,
        "allow_remote_access": True,
        "terminals_enabled": True,
        "websocket_compression_options": None,
        "cookie_secret": derive(secret, "cookie secret"),
        "tornado_settings": {"headers": {"Content-Security-Policy": policy}},
        "jpserver_extensions": {
            "jupyterlab": True,
            "notebook": True,
            "jupyter_server_terminals": True,
        },
    }


def framing(base_url: str, environment: Mapping[str, str]) -> str:
    """Return the start of every Content-Security-Policy.

    Jupyter appends the directives of APIs (`default-src`) and of files (`sandbox`) to it, so only
    `frame-ancestors` differs from its own.
    """
    ancestors = environment.get("NBGATE_FRAME_ANCESTORS", "").replace(",", " ").split()
    allowed = " ".join(["'self'", *(origin for origin in ancestors if ";" not in origin)])
    return f"frame-ancestors {allowed}; report-uri {base_url}api/security/csp-report"
