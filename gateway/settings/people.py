"""Settings of people who come without an LMS: an OpenID provider, a proxy that knows them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings

from gateway.settings.values import CommaList

_LOCALHOST = ("localhost", "127.0.0.1", "::1")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
# Headers that say something else already.
_TAKEN = re.compile(
    r"host|cookie|authorization|accept.*|content-.*|sec-.*|origin|referer|connection|upgrade"
    r"|transfer-encoding|te|forwarded|x-forwarded-(for|host|port|proto)|x-nbgate-.*|x-request-id",
    re.IGNORECASE,
)


class PeopleSettings(BaseSettings):
    """See the module's docstring."""

    oidc_issuer: str = Field(
        default="",
        description="URL of an OpenID provider at which people sign in, exactly as it calls "
        "itself; empty: none. Its redirect URI is `<public_url>/gateway/oidc/callback`.",
    )
    oidc_client_id: str = Field(default="", description="What the provider calls this gateway.")
    oidc_client_secret_file: Path | None = Field(
        default=None,
        description="File with the secret that the provider gave; none: a public client, with PKCE "
        "alone.",
    )
    oidc_name: str = Field(
        default="", description="What people call the provider; empty: its host name."
    )
    oidc_scopes: str = Field(
        default="openid profile email",
        description="Scopes that are asked for, with blanks between; openid is one of them.",
    )
    oidc_subject_claim: str = Field(
        default="sub",
        description="Claim that names a person. Another one than `sub` must be one that the "
        "provider gives to nobody twice and lets nobody choose.",
    )
    oidc_local_people: bool = Field(
        default=False,
        description="The claim names local people, as `--person` does. False: the provider's "
        "people are `oidc/<provider>:<claim>`, whom no link can mean.",
    )
    oidc_administrators: CommaList = Field(
        default=(),
        description="Values of the claim that name administrators, comma-separated.",
    )
    oidc_straight_on: bool = Field(
        default=False,
        description="Send whoever is not signed in straight to the provider, without a page that "
        "has a button. Where people come by no other way.",
    )
    user_header: str = Field(
        default="",
        description="Header in which a proxy in front names the person that it has authenticated, "
        "e.g. X-Remote-User; it counts from `trusted_proxies` alone. Empty: none. Not with "
        "`httpd_direct`, whose cookie counts whomever the header names.",
    )
    user_name_header: str = Field(
        default="", description="Header in which that proxy tells the person's name for display."
    )

    @property
    def user_headers(self) -> tuple[str, ...]:
        """The headers about a person of proxies in front; none, one or two."""
        return tuple(name for name in (self.user_header, self.user_name_header) if name)

    anonymous_limit: int = Field(
        default=50,
        ge=0,
        description="People without a name that may be in a course at once, where it lets anybody "
        "try it, and by links of the editor of an LMS. One more is told to come later (429).",
    )

    anonymous_lifetime: float = Field(
        default=12 * 3600.0,
        ge=600.0,
        description="Seconds that a person without a name stays in a course after their notebook "
        "was last of use, `session_lifetime` in all at most: session, notebook and space go then.",
    )

    plain_ids_per_hour: int = Field(
        default=1000,
        ge=1,
        description="Ids that a course takes anew by plain links in an hour: they can be made up. "
        "One more is told to come later (429); one that has its session, or a notebook of the "
        "course, never is. Each gateway counts its own.",
    )

    @field_validator("oidc_client_secret_file", mode="before")
    @classmethod
    def _secret_file(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("oidc_administrators", mode="before")
    @classmethod
    def _administrators(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(item.strip() for item in value.split(",") if item.strip())
        return value

    @field_validator("oidc_issuer")
    @classmethod
    def _issuer(cls, value: str) -> str:
        parts = urlsplit(value)
        host = parts.hostname or ""
        local = host in _LOCALHOST or host.endswith(".localhost")
        safe = parts.scheme == "https" or (parts.scheme == "http" and local)
        if value and not (safe and host):
            raise ValueError("must be an https:// URL, e.g. https://login.example.org/realms/ours")
        if parts.query or parts.fragment or parts.username or not value.isascii() or " " in value:
            raise ValueError("must have no query, fragment, user name or blanks")
        return value

    @field_validator("oidc_scopes")
    @classmethod
    def _scopes(cls, value: str) -> str:
        if "openid" not in value.split():
            raise ValueError("must have openid among them")
        return " ".join(value.split())

    @field_validator("user_header", "user_name_header")
    @classmethod
    def _header(cls, value: str) -> str:
        if value and (not _HEADER.fullmatch(value) or _TAKEN.fullmatch(value)):
            raise ValueError(f"{value!r} cannot be it; write for example X-Remote-User")
        return value

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if bool(self.oidc_issuer) != bool(self.oidc_client_id):
            missing = "NBGATE_OIDC_CLIENT_ID" if self.oidc_issuer else "NBGATE_OIDC_ISSUER"
            raise ValueError(f"{missing} is not set; set both or none")
        if self.user_header and not getattr(self, "trusted_proxies", ()):
            raise ValueError("user_header needs trusted_proxies: whose word it is")
        if self.user_header and getattr(self, "httpd_direct", False):
            raise ValueError(
                "NBGATE_USER_HEADER and NBGATE_HTTPD_DIRECT exclude each other: httpd admits by a "
                "cookie, whomever the header names; unset one of them"
            )
        if self.user_name_header and not self.user_header:
            raise ValueError("user_name_header needs user_header")
        if self.user_header and self.user_header.lower() == self.user_name_header.lower():
            raise ValueError("user_name_header must be another header than user_header")
        return self
