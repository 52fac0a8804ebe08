"""What a notebook's server is made with: the notebook's own values over its project's. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.notebooks.model import Limits, Notebook, Project

FROM_PROJECT = frozenset(["image", "limits", "environment", "labels"])
"""The fields of a project that its notebooks' servers are made with."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What notebook and project say together; None where neither says anything.

    Attributes:
        image: container image.
        limits: memory in bytes and cores.
        environment: variables given to the server.
        labels: given to its container.
    """

    image: str | None
    limits: Limits
    environment: Mapping[str, str]
    labels: Mapping[str, str]


def configuration_of(notebook: Notebook, project: Project) -> Configuration:
    """Return what the notebook's next server is made with."""
    return Configuration(
        image=notebook.container_image or project.image,
        limits=first_limits(notebook.limits, project.limits),
        environment={**project.environment, **notebook.environment},
        labels={**project.labels, **notebook.labels},
    )


def first_limits(*choices: Limits) -> Limits:
    """Return the first value that is not None, for each limit."""
    return Limits(
        memory=next((one.memory for one in choices if one.memory is not None), None),
        cpus=next((one.cpus for one in choices if one.cpus is not None), None),
    )
