"""Signs a link into a course of nbgate. Python 3, standard library; docs/links.md has the form.

    link = signed_link(
        "https://nb.example.org", kid, secret, ["demo", "w1", "first.ipynb", "student7"]
    )

Run as a program it signs what it reads, as JSON, from standard input.
"""

import hashlib
import hmac
import json
import re
import sys
import time
import unicodedata
from collections.abc import Mapping, Sequence
from urllib.parse import quote


def signed_link(
    origin: str,
    kid: str,
    secret: str,
    names: Sequence[str],
    lifetime: int = 600,
    more: Mapping[str, str] | None = None,
    now: int | None = None,
) -> str:
    """Return a link that opens a notebook for a student.

    Args:
        origin: `https://host` of the gateway.
        kid: the key's id.
        secret: the key's secret, as `nbgate link key add` prints it.
        names: course, then folders and name of the notebook, then the student.
        lifetime: seconds.
        more: `name` (what pages call the student), `nonce` (for one use), or anything that
            Jupyter is to get.
        now: seconds since the epoch; None for the clock's.

    Raises:
        ValueError: with such a name another link would have the same signature.
    """
    if len(names) < 2 or not all(map(_is_name, names)):
        raise ValueError("names: a slash, a control character, or nothing")
    if not all(map(_is_parameter, (more or {}).items())):
        raise ValueError("more: a parameter's name, or a control character")
    expires = (int(time.time()) if now is None else now) + lifetime
    segments = ["gateway", "open", *names]
    parameters = {**(more or {}), "kid": kid, "exp": str(expires)}
    lines = ["nbgate-link-1", "/" + "/".join(segments)]
    lines += [f"{name}={parameters[name]}" for name in sorted(parameters)]
    text = "\n".join(lines).encode("utf-8")
    parameters["sig"] = hmac.new(secret.encode("ascii"), text, hashlib.sha256).hexdigest()
    path = "/".join(quote(segment, safe="") for segment in segments)
    query = "&".join(f"{name}={quote(parameters[name], safe='')}" for name in sorted(parameters))
    return f"{origin}/{path}?{query}"


def _is_name(name: str) -> bool:
    return name not in ("", ".", "..") and not set("/\\") & set(name) and _is_plain(name)


def _is_parameter(pair: tuple[str, str]) -> bool:
    name, value = pair
    free = name not in ("kid", "exp", "sig") and re.fullmatch(r"[A-Za-z0-9._~-]{1,64}", name)
    return bool(free) and _is_plain(value)


def _is_plain(text: str) -> bool:
    return not any(unicodedata.category(char) == "Cc" for char in text)


if __name__ == "__main__":
    sys.stdout.write(signed_link(**json.load(sys.stdin)) + "\n")
