"""OpenID Connect without I/O: what is asked of a provider, and whether its answers are good.

The authorization code flow of OpenID Connect Core 1.0 with PKCE (RFC 7636) and the issuer in the
answer (RFC 9207). The requests are provider.py's, pages and cookies are gateway/web/oidc.py's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from joserfc import jwk, jwt
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from gateway.errors import GatewayError
from gateway.launch import secret

# Public keys alone: with HS256 the provider's public key would do for a signature.
SIGNATURES: Final = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("Ed25519",),
}
LEEWAY: Final = 60.0
"""Seconds that a provider's clock may be wrong."""
LIFETIME: Final = 600.0
"""Seconds that somebody has for signing in at the provider."""

Key = jwk.RSAKey | jwk.ECKey | jwk.OKPKey


class SignInRefused(Exception):
    """The answer of a browser or provider that signs nobody in; the text is for the log."""


@dataclass(eq=False)
class ProviderFailed(GatewayError):
    """The provider's answers are of no use. `reason` is for the log."""

    reason: str
    status = HTTPStatus.BAD_GATEWAY
    code = "provider"

    def __str__(self) -> str:
        return self.reason


class ProviderUnreachable(ProviderFailed):
    """The provider cannot be asked, or says itself that it cannot answer now."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class UnknownKey(Exception):
    """An ID token names a key that the provider has not published, as far as we know."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What the provider and we know each other by.

    Attributes:
        issuer: the provider's URL.
        client_id: ours at the provider.
        client_secret: ours; "" where the provider gave none.
        redirect_uri: where it sends browsers back to.
        scopes: that are asked for, with blanks between.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str
    scopes: str = "openid profile email"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a provider tells of itself (OpenID Connect Discovery 1.0, section 3).

    Attributes:
        authorization, token, keys: its URLs.
        userinfo, end_session: likewise; None for none.
        tells_issuer: whether it sends browsers back with its name (RFC 9207).
        basic: whether it takes the secret in an Authorization header.
    """

    authorization: str
    token: str
    keys: str
    userinfo: str | None
    end_session: str | None
    tells_issuer: bool
    basic: bool


def read_metadata(document: Mapping[str, Any], issuer: str) -> Metadata:
    """Return what a provider's document says.

    Raises:
        ProviderFailed: it is another provider's, or lacks what is needed.
    """
    if document.get("issuer") != issuer:
        raise ProviderFailed(f"the document of {issuer} is of {str(document.get('issuer'))[:200]}")
    methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return Metadata(
        authorization=_url(document, "authorization_endpoint", issuer),
        token=_url(document, "token_endpoint", issuer),
        keys=_url(document, "jwks_uri", issuer),
        userinfo=_url_or_none(document, "userinfo_endpoint", issuer),
        end_session=_url_or_none(document, "end_session_endpoint", issuer),
        tells_issuer=document.get("authorization_response_iss_parameter_supported") is True,
        basic=isinstance(methods, list) and "client_secret_basic" in methods,
    )


def _url_or_none(document: Mapping[str, Any], name: str, issuer: str) -> str | None:
    return _url(document, name, issuer) if document.get(name) else None


def _url(document: Mapping[str, Any], name: str, issuer: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise ProviderFailed(f"the document of {issuer} has no {name}")
    parts = urlsplit(value)
    safe = parts.scheme == "https" or parts.scheme == urlsplit(issuer).scheme == "http"
    if not safe or not parts.netloc or " " in value or parts.fragment:
        raise ProviderFailed(f"the document of {issuer} has a {name} that cannot be used")
    return value


def with_query(url: str, **parameters: str) -> str:
    """Return a URL with more parameters."""
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(parameters)}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to sign in, tied to the browser that began it.

    Attributes:
        browser: a secret that the browser has in a cookie, and nobody else.
        state: that comes back from the provider with the browser.
    """

    browser: str = field(repr=False)
    state: str = field(repr=False)

    @property
    def flow(self) -> str:
        """What tells its cookie from those of other tries."""
        return secret.digest(self.state)[:12]

    @property
    def nonce(self) -> str:
        """What the ID token has to repeat."""
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        """What proves to the provider that a code was asked for here (RFC 7636, 4.1)."""
        return self._derived("verifier")

    def _derived(self, purpose: str) -> str:
        text = f"{purpose}\0{self.state}".encode()
        return _base64url(hmac.digest(self.browser.encode(), text, "sha256"))

    def url(self, metadata: Metadata, registration: Registration) -> str:
        """Return where the browser signs in."""
        return with_query(
            metadata.authorization,
            response_type="code",
            client_id=registration.client_id,
            redirect_uri=registration.redirect_uri,
            scope=registration.scopes,
            state=self.state,
            nonce=self.nonce,
            code_challenge=_base64url(hashlib.sha256(self.verifier.encode()).digest()),
            code_challenge_method="S256",
        )


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def read_keys(document: Mapping[str, Any]) -> list[Key]:
    """Return the public keys of a JWK set (RFC 7517) that can be used for signatures.

    Raises:
        ProviderFailed: it is no such set.
    """
    listed = document.get("keys")
    if not isinstance(listed, list):
        raise ProviderFailed("the provider's keys are no JWK set")
    keys: list[Key] = []
    for one in listed:
        if not isinstance(one, dict) or one.get("kty") not in SIGNATURES or one.get("use") == "enc":
            continue
        try:
            key = jwk.import_key(one)
        except (JoseError, ValueError, TypeError, KeyError):
            continue  # RFC 7517, section 5: what is not understood is passed over
        if isinstance(key, Key):
            keys.append(key)
    return keys


def key_for(header: Mapping[str, Any], keys: Sequence[Key]) -> Key:
    """Return the key that signed an ID token, by its header.

    Raises:
        UnknownKey: there is none; or, where the token names none, not exactly one.
    """
    algorithm, kid = header.get("alg"), header.get("kid")
    fitting = [
        key
        for key in keys
        if algorithm in SIGNATURES[key.key_type] and key.alg in (None, algorithm)
    ]
    named = [key for key in fitting if key.kid == kid] if kid is not None else fitting
    if len(named) != 1:
        raise UnknownKey(f"key {str(kid)[:80]!r} of algorithm {str(algorithm)[:20]!r}")
    return named[0]


def read_id_token(
    token: str, keys: Sequence[Key], registration: Registration, nonce: str, now: float
) -> dict[str, Any]:
    """Return the claims of an ID token (OpenID Connect Core 1.0, section 3.1.3.7).

    Args:
        token: as the provider sent it.
        keys: the provider's.
        registration: ours.
        nonce: of the attempt.
        now: seconds since the epoch.

    Raises:
        SignInRefused: it is not good.
        UnknownKey: its key is not among `keys`.
    """
    allowed = [name for names in SIGNATURES.values() for name in names]
    registry = JWSRegistry(algorithms=allowed, strict_check_header=False)
    try:
        read = jwt.decode(
            token, lambda guest: key_for(guest.headers(), keys), allowed, registry=registry
        )
    except (JoseError, ValueError, TypeError) as error:
        raise SignInRefused(f"ID token: {error}") from error
    _check_claims(read.claims, registration, nonce, now)
    return read.claims


def _check_claims(
    claims: Mapping[str, Any], registration: Registration, nonce: str, now: float
) -> None:
    given = claims.get("aud")
    audience = [given] if isinstance(given, str) else given
    if not isinstance(audience, list) or registration.client_id not in audience:
        raise SignInRefused("ID token: for another client")
    # Who else is meant by it could use it as well; azp says that it was given to us.
    if claims.get("azp", None if audience[1:] else registration.client_id) != (
        registration.client_id
    ):
        raise SignInRefused("ID token: given to another client")
    if claims.get("iss") != registration.issuer:
        raise SignInRefused("ID token: of another issuer")
    shown = claims.get("nonce")
    if not isinstance(shown, str) or not hmac.compare_digest(shown.encode(), nonce.encode()):
        raise SignInRefused("ID token: of another attempt to sign in")
    if not isinstance(claims.get("sub"), str) or not claims["sub"]:
        raise SignInRefused("ID token: names nobody")
    _check_times(claims, now)


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    if _seconds(claims, "exp") <= now - LEEWAY:
        raise SignInRefused("ID token: expired")
    issued = _seconds(claims, "iat")
    if not now - LIFETIME - LEEWAY <= issued <= now + LEEWAY:
        raise SignInRefused("ID token: not issued just now; the clocks may differ")
    if "nbf" in claims and _seconds(claims, "nbf") > now + LEEWAY:
        raise SignInRefused("ID token: not good yet")


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SignInRefused(f"ID token: no {name}")
    return value
