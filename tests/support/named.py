"""Tests by their names: for tables that say which tests show what."""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

Table = Mapping[str, Mapping[str, list[str]]]
"""Lines under headings, each with the tests that show it, as `module: name`."""

_TESTS = Path(__file__).parent.parent


@functools.cache
def names_in(module: str, folder: str = "") -> frozenset[str]:
    """Return the names of the tests of a module, without `test_`.

    Args:
        module: its name without `test_`, with folders below tests/: `proxy/replay`.
        folder: where modules without a folder are; empty for tests/ itself.
    """
    path, _, name = module.rpartition("/")
    tree = ast.parse((_TESTS / (path or folder) / f"test_{name}.py").read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(
        node.name.removeprefix("test_")
        for node in ast.walk(tree)
        if isinstance(node, functions) and node.name.startswith("test_")
    )


def gone(tests: list[str], folder: str = "") -> list[str]:
    """Return those of `module: name` that are not there under their names."""
    named = [(one, *one.split(": ", 1)) for one in tests]
    return [one for one, module, name in named if name not in names_in(module, folder)]


def lines_of(*tables: Table) -> list[Any]:
    """Return the tests of each line as a parameter that is called by the line."""
    return [
        pytest.param(tests, id=f"{part}: {line}")
        for table in tables
        for part, lines in table.items()
        for line, tests in lines.items()
    ]
