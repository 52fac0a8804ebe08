"""Sizes as people write them (`512M`, `2G`) and as bytes."""

from __future__ import annotations

from gateway.errors import InvalidInput

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def parse_bytes(text: str) -> int:
    """Return the bytes that `text` (`512M`, `2G`, `1073741824`) stands for.

    Raises:
        InvalidInput: it is not a positive whole number with an optional K, M, G or T.
    """
    number, unit = text.strip().rstrip("bB"), ""
    if number and number[-1].lower() in _UNITS:
        number, unit = number[:-1], number[-1].lower()
    # Beyond 18 digits nobody means it, and int() refuses thousands of them with another error.
    if not (number.isascii() and number.isdigit() and len(number) <= 18 and int(number)):
        raise InvalidInput(f"{text!r} is not a size; write for example 512M or 2G")
    return int(number) * _UNITS[unit]
