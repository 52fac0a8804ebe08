"""Where notebooks live, and which keys, addresses and requests are theirs."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.notebooks.names import RESERVED


@dataclass(frozen=True, slots=True)
class Namespace:
    """Where notebooks live: under a path, or each at a host.

    Attributes:
        base_domain: the domain of host routing; "" for path routing.
        port_suffix: `:port` of the public origin in host routing, or "".
        scheme: of the public origin.
    """

    base_domain: str = ""
    port_suffix: str = ""
    scheme: str = "http"

    def key(self, slug: str) -> str:
        """Return the route key of a notebook."""
        return f"{slug}.{self.base_domain}" if self.base_domain else f"/nb/{slug}"

    def base_url(self, slug: str) -> str:
        """Return the prefix under which its Jupyter serves."""
        return "/" if self.base_domain else f"/nb/{slug}/"

    def url(self, slug: str) -> str:
        """Return where a person finds it: absolute in host routing, else a path; ends with `/`."""
        if self.base_domain:
            return f"{self.scheme}://{slug}.{self.base_domain}{self.port_suffix}/"
        return f"/nb/{slug}/"

    def holds(self, key: str) -> bool:
        """Whether a route key could be a notebook's, now or later."""
        if not self.base_domain:
            return key == "/nb" or key.startswith("/nb/")
        label, _, domain = key.partition(".")
        return domain == self.base_domain and label not in RESERVED

    def slug_of(self, host: bytes, path: bytes) -> str | None:
        """Return the slug that a request for an unknown notebook asks for, or None."""
        if not self.base_domain:
            first, _, rest = path.removeprefix(b"/").partition(b"/")
            slug = rest.partition(b"/")[0] if first == b"nb" else b""
        else:
            name = host.lower().partition(b":")[0]
            suffix = f".{self.base_domain}".encode()
            slug = name.removesuffix(suffix) if name.endswith(suffix) else b""
        return slug.decode("ascii", "replace") or None
