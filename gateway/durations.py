"""Durations as people write them (`30m`, `12h`) and as seconds."""

from __future__ import annotations

import math
import re

from gateway.errors import InvalidInput

LONGEST = 10 * 365 * 86400.0

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([smhd]?)")


def parse_duration(text: str) -> float:
    """Return the seconds that `text` (`90`, `30m`, `1h30m`, `2d`) stands for; `0` is 0.

    Raises:
        InvalidInput: it is none, or longer than ten years.
    """
    parts = _PART.findall(text.strip().lower())
    whole = "".join(number + unit for number, unit in parts)
    without_unit = sum(not unit for _, unit in parts)
    if not parts or whole != text.strip().lower() or (without_unit and len(parts) > 1):
        raise InvalidInput(f"{text[:40]!r} is no duration; write for example 30m, 12h or 1h30m")
    seconds = math.fsum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds > LONGEST:
        raise InvalidInput(f"{text[:40]!r} is longer than ten years; 0 means never")
    return seconds


def in_words(seconds: float) -> str:
    """Return seconds as `parse_duration` reads them (`1h30m`), to the second; 0 is `0`."""
    rest, words = round(seconds), ""
    for unit in "dhms":
        count, rest = divmod(rest, int(_UNITS[unit]))
        words += f"{count}{unit}" if count else ""
    return words or "0"
