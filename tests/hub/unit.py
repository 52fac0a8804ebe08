"""The manual's systemd unit, started as systemd would start its command."""

from __future__ import annotations

import configparser
import os
import shlex
import subprocess
from pathlib import Path


def start(unit: str, log: Path) -> subprocess.Popen[bytes]:
    """Start what `ExecStart` says, with the variables of `Environment` (systemd.service(5)).

    Args:
        unit: the text of a unit.
        log: what it prints is added there.
    """
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.read_string(unit.replace("\\\n", " "))
    service = parser["Service"]
    variables = dict(word.split("=", 1) for word in shlex.split(service["Environment"]))
    with log.open("ab") as output:
        return subprocess.Popen(
            shlex.split(service["ExecStart"]),
            env={"PATH": os.environ["PATH"], **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
