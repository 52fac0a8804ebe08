from __future__ import annotations

import gc

import pytest

from gateway.collector import long_lived


class Kept:
    """Something that the collector watches."""


def test_what_is_loaded_is_not_walked_afterwards() -> None:
    with long_lived():
        assert not gc.isenabled()
        kept = Kept()
    assert gc.isenabled()
    assert gc.is_tracked(kept)
    assert all(found is not kept for found in gc.get_objects())
    gc.unfreeze()
    assert any(found is kept for found in gc.get_objects())


def test_collector_is_left_as_it_was() -> None:
    gc.disable()
    try:
        with pytest.raises(ValueError, match="no file"), long_lived():
            raise ValueError("no file")
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()
    assert gc.isenabled()
