"""What commands print: tables, records and JSON on standard output; hints on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

_EMPTY: tuple[object, ...] = (None, "", {}, [])


def say(text: str) -> None:
    """Print one line that is not data: progress, a hint."""
    print(f"nbgate: {_clean(text)}", file=sys.stderr, flush=True)


def print_line(text: str) -> None:
    """Print one line of data, at once."""
    print(_clean(text), flush=True)


def print_json(value: object) -> None:
    """Print `value` for programs."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print aligned columns under their headers; nothing else, so that awk can read it."""
    lines = [list(headers), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(padded).rstrip())


def print_list(
    found: Sequence[dict[str, Any]],
    headers: Sequence[str],
    row: Callable[[dict[str, Any]], Sequence[object]],
    none: str,
    *,
    as_json: bool,
) -> None:
    """Print what a list has, as a table or for programs.

    Args:
        found: the records, in their order.
        headers: of the table.
        row: makes a record's cells, one for each header.
        none: the hint that is said where a table would have no rows.
        as_json: print the records themselves.
    """
    if as_json:
        print_json(found)
    elif found:
        print_table(headers, map(row, found))
    else:
        say(none)


def print_record(fields: Mapping[str, object]) -> None:
    """Print `name  value` lines; what is empty is left out."""
    shown = {
        name: _cell(value) for name, value in fields.items() if value not in (None, "", {}, [])
    }
    width = max(map(len, shown), default=0)
    for name, text in shown.items():
        print(f"{name.ljust(width)}  {text}")


def _cell(value: object) -> str:
    if value in _EMPTY:
        return "-"
    match value:
        case bool():
            return "yes" if value else "no"
        case dict():
            return " ".join(f"{name}={_clean(str(item))}" for name, item in value.items())
        case list():
            return " ".join(_clean(str(item)) for item in value)
        case _:
            return _clean(str(value))


def _clean(text: str) -> str:
    """Return `text` without what could move the cursor of a terminal: names are people's."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def size(count: int | None) -> str | None:
    """Return bytes as people write them (`2G`); None stays None."""
    if count is None:
        return None
    for unit, factor in (("T", 2**40), ("G", 2**30), ("M", 2**20), ("K", 2**10)):
        if count % factor == 0:
            return f"{count // factor}{unit}"
    return str(count)
