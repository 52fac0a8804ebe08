"""Imports that cost nothing until the module is used."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType


class LoadedWhenUsed:
    """A finder (importlib, "meta path") that makes the first `import` of some modules cheap.

    The module runs when something of it is asked for, or when it is imported a second time.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec with a lazy loader; None for the modules that are not ours."""
        if name not in self._names:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def load_when_used(names: Sequence[str]) -> None:
    """Make the first `import` of `names` cheap from now on."""
    sys.meta_path.insert(0, LoadedWhenUsed(names))
