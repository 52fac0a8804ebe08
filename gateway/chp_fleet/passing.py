"""What the children are told, in their environment: it has secrets, which `ps` must not show."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from gateway.chp.options import Options, Place, TlsFiles

_NAME = "NBGATE_PROXY_FLEET"


@dataclass(frozen=True, slots=True)
class Passed:
    """What a child is told.

    Attributes:
        options: of the proxy.
        fleet: names the supervisor's run; who knows it may follow control.
        socket: name of the control socket.
    """

    options: Options
    fleet: str
    socket: str

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a child; `base` is this process's."""
        clean = {name: text for name, text in base.items() if not name.startswith("CONFIGPROXY_")}
        return clean | {_NAME: self._dump()}

    def without_token(self) -> Self:
        """Return the same for those who need not call the API."""
        return replace(self, options=replace(self.options, token=""))

    @classmethod
    def take(cls) -> Self:
        """Return what this process was told; its own children are not."""
        told: dict[str, Any] = json.loads(os.environ.pop(_NAME))
        return cls(_options(told["options"]), told["fleet"], told["socket"])

    def _dump(self) -> str:
        told = asdict(self)
        customs = self.options.custom_headers
        told["options"]["custom_headers"] = [
            [part.decode("latin-1") for part in field] for field in customs
        ]
        return json.dumps(told)


def _options(told: dict[str, Any]) -> Options:
    made = dict(told)
    for name in ("public", "api", "metrics"):
        made[name] = None if made[name] is None else Place(**made[name])
    for name in ("tls", "api_tls", "client_tls"):
        made[name] = TlsFiles(**made[name])
    made["custom_headers"] = tuple(
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in made["custom_headers"]
    )
    return Options(**made)
