"""How people come in who have no LMS, put together from the settings."""

from __future__ import annotations

import contextlib
from pathlib import Path
from urllib.parse import urlsplit

from gateway.errors import InvalidInput
from gateway.launch.oidc import Registration
from gateway.launch.provider import Provider
from gateway.launch.subjects import Naming
from gateway.launch.vouching import Vouchers
from gateway.settings import Settings
from gateway.web.people import SignIn

CALLBACK = "/gateway/oidc/callback"


def sign_in_of(settings: Settings, stack: contextlib.AsyncExitStack) -> SignIn | None:
    """Return the provider at which people sign in, or None; `stack` closes it.

    Raises:
        InvalidInput: the file with its secret cannot be used.
    """
    if not settings.oidc_issuer:
        return None
    provider = Provider(
        Registration(
            issuer=settings.oidc_issuer,
            client_id=settings.oidc_client_id,
            client_secret=_secret(settings.oidc_client_secret_file),
            redirect_uri=f"{settings.origin}{CALLBACK}",
            scopes=settings.oidc_scopes,
        )
    )
    stack.push_async_callback(provider.close)
    name = settings.oidc_name or urlsplit(settings.oidc_issuer).hostname or ""
    return SignIn(provider, _naming(settings), name, settings.oidc_straight_on)


def vouchers_of(settings: Settings) -> Vouchers:
    """Return whose word on people counts."""
    provider = _naming(settings) if settings.oidc_issuer else None
    return Vouchers(provider, proxy=bool(settings.user_header))


def _naming(settings: Settings) -> Naming:
    return Naming(
        settings.oidc_issuer,
        settings.oidc_subject_claim,
        settings.oidc_local_people,
        frozenset(settings.oidc_administrators),
    )


def _secret(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        secret = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"NBGATE_OIDC_CLIENT_SECRET_FILE: cannot read {file}: {error}"
        ) from error
    if not secret:
        raise InvalidInput(f"NBGATE_OIDC_CLIENT_SECRET_FILE: {file} is empty")
    return secret
