"""How Jupyter is started in an image that is not ours: with our identity provider, if it can be.

In token mode alone Jupyter writes its token, which is the hop secret, into its pages, and calls
people by random names. So the arguments bring the provider's source along; a shell puts it where
Jupyter looks for its configuration. It takes Jupyter Server 2: an older one, or one whose /tmp
cannot be written to, goes on in token mode with the same secret from `JUPYTER_TOKEN`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

_FOLDER = "jupyter-image"
_PROVIDER = Path("nbgate_jupyter", "identity.py")
_CONFIGURATION = """\
import os
import sys

folder = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, folder)
try:
    from nbgate_identity import HopIdentityProvider
except ImportError:
    pass
else:
    c = get_config()
    c.ServerApp.identity_provider_class = HopIdentityProvider
    c.HopIdentityProvider.token = ""
    c.HopIdentityProvider.hop_secret = os.environ.get("JUPYTER_TOKEN", "")
    c.HopIdentityProvider.user_name = os.environ.get("NBGATE_USER_NAME", "")
sys.path.remove(folder)
"""
_SCRIPT = """\
folder=/tmp/nbgate provider=$1 configuration=$2
shift 2
if [ -n "$provider" ] && mkdir -p "$folder" &&
  printf %s "$provider" >"$folder/nbgate_identity.py" &&
  printf %s "$configuration" >"$folder/jupyter_server_config.py"
then
  export JUPYTER_CONFIG_PATH="$folder${JUPYTER_CONFIG_PATH:+:$JUPYTER_CONFIG_PATH}"
fi
exec jupyter lab "$@"
"""


def image_folder() -> Path | None:
    """Return the notebook image's folder; None where the gateway came without it."""
    # In a checkout it is beside the package, in an installed package inside of it.
    package = Path(__file__).resolve().parents[1]
    places = (package.parent / _FOLDER, package / _FOLDER)
    return next((place for place in places if place.is_dir()), None)


def provider_file() -> Path | None:
    """Return the file of our identity provider; None where the gateway came without it."""
    folder = image_folder()
    return None if folder is None else folder / _PROVIDER


@cache
def provider_source() -> str:
    """Return the source of our identity provider; "" where the gateway came without it."""
    file = provider_file()
    return "" if file is None else file.read_text(encoding="utf-8")


def command(arguments: Sequence[str], provider: str) -> list[str]:
    """Return what to run for `jupyter lab` with `arguments`.

    Args:
        arguments: of `jupyter lab`.
        provider: the source of the identity provider; "" for token mode.
    """
    return ["sh", "-c", _SCRIPT, "nbgate", provider, _CONFIGURATION, *arguments]
