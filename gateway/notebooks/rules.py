"""What may be changed, when, and to what: pure checks and rules of the catalogue's changes.

A Rule is asked while nobody else changes the notebook: it returns the fields that change, or
raises to refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from gateway.errors import Forbidden, InvalidInput, NotebookLocked, ProjectLocked
from gateway.notebooks.ancestors import check_ancestors
from gateway.notebooks.configuration import configuration_of
from gateway.notebooks.model import Lock, Notebook, Project
from gateway.notebooks.names import check_notebook_slug, check_person
from gateway.notebooks.source import Source

Rule = Callable[[Notebook], Mapping[str, Any]]

CONFIGURATION = frozenset(
    ["name", "owner", "container_image", "limits", "environment", "labels", "shared_with"]
)
MOST_SHARED = 100
FACTS = frozenset(
    [
        "state",
        "container_id",
        "port",
        "internal_url",
        "engine_id",
        "engine_status",
        "health",
        "health_reason",
        "started",
        "last_active",
    ]
)


def check_unlocked(notebook: Notebook) -> None:
    """Raise NotebookLocked, with who and why, if the notebook is locked."""
    if notebook.lock is not None:
        raise _locked(notebook, notebook.lock)


def _locked(notebook: Notebook, lock: Lock) -> NotebookLocked:
    return NotebookLocked(notebook.slug, lock.locked_by, lock.reason)


def check_not_under_lock(before: Project, after: Project, notebooks: Iterable[Notebook]) -> None:
    """Return if no locked notebook would be made with something else.

    Args:
        before: the project as it is.
        after: as it is to be.
        notebooks: its notebooks. What one has values of its own for does not concern it.

    Raises:
        ProjectLocked: it has all of those that are in the way.
    """
    locked = [
        _locked(notebook, notebook.lock)
        for notebook in notebooks
        if notebook.lock is not None
        and configuration_of(notebook, before) != configuration_of(notebook, after)
    ]
    if locked:
        raise ProjectLocked(before.name, locked)


def check_unlock(notebook: Notebook, by: str, administrator: bool) -> None:
    """Raise Forbidden unless `by` may take the notebook's lock away."""
    if notebook.lock is None or administrator:
        return
    if by not in (notebook.owner, notebook.lock.locked_by):
        raise Forbidden(
            f"notebook {notebook.slug!r} is locked by {notebook.lock.locked_by}; only they, its "
            f"owner or an administrator may unlock it"
        )


def check_change(notebook: Notebook, changes: Mapping[str, Any]) -> None:
    """Return if the notebook's fields may be changed so.

    What the engine tells (its state, its address) is recorded also while it is locked.

    Raises:
        NotebookLocked: it is locked, and its configuration is to be changed.
        InvalidInput: the new owner cannot have it, or it cannot be shared so.
    """
    if changes.keys() & CONFIGURATION:
        check_unlocked(notebook)
    if "owner" in changes:
        check_person(changes["owner"])
        check_notebook_slug(notebook.slug, notebook.project, changes["owner"])
    if "shared_with" in changes:
        check_shared(changes["shared_with"])


def check_shared(people: Sequence[str]) -> None:
    """Raise InvalidInput if a notebook cannot be shared with these people."""
    if len(people) > MOST_SHARED:
        raise InvalidInput(f"shared_with: a notebook is shared with {MOST_SHARED} people at most")
    for person in people:
        check_person(person)


def check_project(changes: Mapping[str, Any]) -> None:
    """Raise InvalidInput if source, origins that may frame it, or a person cannot be used."""
    Source.parse(changes.get("source"))
    for person in changes.get("staff", ()):
        check_person(person)
    check_ancestors(changes.get("frame_ancestors") or ())


def check_fields(changes: Mapping[str, Any], allowed: frozenset[str], kind: str) -> None:
    """Raise InvalidInput if a field is to be changed that is not in `allowed`."""
    for name in changes.keys() - allowed:
        raise InvalidInput(f"{name}: this field of a {kind} cannot be changed")


def changing(changes: Mapping[str, Any]) -> Rule:
    """Return the rule that changes some fields. It raises what check_change does."""

    def rule(notebook: Notebook) -> Mapping[str, Any]:
        check_change(notebook, changes)
        return changes

    return rule


def locking(by: str, reason: str, now: Callable[[], datetime]) -> Rule:
    """Return the rule that locks; it raises NotebookLocked where somebody else has.

    Raises:
        InvalidInput: no reason is given, or `by` names nobody.
    """
    check_person(by)
    reason = reason.strip()
    if not reason:
        raise InvalidInput("a lock needs a reason: people must see why")

    def rule(notebook: Notebook) -> Mapping[str, Any]:
        if notebook.lock is not None and notebook.lock.locked_by != by:
            check_unlocked(notebook)
        return {"lock": Lock(by, reason, now())}

    return rule


def unlocking(by: str, administrator: bool) -> Rule:
    """Return the rule that unlocks; it raises Forbidden where `by` may not."""

    def rule(notebook: Notebook) -> Mapping[str, Any]:
        check_unlock(notebook, by, administrator)
        return {"lock": None}

    return rule


def sharing(people: Collection[str]) -> Rule:
    """Return the rule that adds people a notebook is shared with. It raises as check_change."""

    def rule(notebook: Notebook) -> Mapping[str, Any]:
        changes = {"shared_with": tuple(dict.fromkeys((*notebook.shared_with, *people)))}
        check_change(notebook, changes)
        return changes

    return rule


def unsharing(people: Collection[str]) -> Rule:
    """Return the rule that takes people away a notebook is shared with; it may be locked."""

    def rule(notebook: Notebook) -> Mapping[str, Any]:
        return {"shared_with": tuple(one for one in notebook.shared_with if one not in people)}

    return rule
