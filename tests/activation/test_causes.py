"""The words of the life cycle and of the spawners are recognised."""

from __future__ import annotations

import pytest

from gateway.activation.causes import cause_of, exit_code_of
from gateway.activation.readiness import NotReady
from gateway.errors import EngineUnavailable, InvalidInput, NameTaken, StartFailed
from gateway.spawners import docker_facts, process

DOCKER, PROCESS = docker_facts.reason_of, process.reason_of


@pytest.mark.parametrize(
    ("reason", "cause", "code"),
    [
        (DOCKER({"ExitCode": 3}), "exited", 3),
        (DOCKER({"ExitCode": 137}), "exited", 137),
        (DOCKER({"ExitCode": 137, "OOMKilled": True}), "out-of-memory", None),
        (PROCESS(127), "exited", 127),
        (PROCESS(-9), "exited", 137),
        (PROCESS(-11), "exited", None),
        ("it ended with exit code 1 while it started", "exited", 1),
        ("it ended while it started", "exited", None),
        ("its container was removed while it started", "removed", None),
        ("it was not ready within 60 s", "timeout", None),
        ("what answers at its address does not accept its secret", "impostor", None),
        ("a folder is full", "", None),
    ],
)
def test_reason_has_a_cause(reason: str, cause: str, code: int | None) -> None:
    assert cause_of(StartFailed("book", str(NotReady(reason)))) == cause
    assert exit_code_of(reason) == code


def test_errors_of_the_engine_are_causes_by_their_codes() -> None:
    assert cause_of(EngineUnavailable("unix:///x")) == "engine-unavailable"
    assert cause_of(NameTaken("x")) == "name-taken"
    assert cause_of(InvalidInput("x")) == ""
    assert cause_of(StartFailed("book", "it ended", cause="withdrawn")) == "withdrawn"
