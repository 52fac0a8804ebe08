"""The tests' breakpoints themselves: at which step a gateway dies."""

from __future__ import annotations

from tests.faults.breakpoints import ONLY, is_due


def test_dies_at_the_first_step_that_was_not_tried() -> None:
    tried = ["commit 1", "space 1"]
    assert not is_due("commit 1", tried)
    assert is_due("commit 2", tried)


def test_dies_at_the_one_step_that_is_named_whatever_else_comes_before() -> None:
    named = [f"{ONLY}POST /containers/start sent 1"]
    for other in ("commit 200", "POST /containers/create 2", "POST /containers/wait 1"):
        assert not is_due(other, named)
    assert not is_due("POST /containers/start sent 2", named)
    assert is_due("POST /containers/start sent 1", named)
