"""How a command in a container is ended in time, from inside: with what its image has. Pure.

From outside nobody can: the engine has no call that ends a command, and a gateway in a container
does not see the processes of others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

_NOT_FOUND = 127
# In a session of its own, so that what the command has started ends with it.
_BY_PYTHON = f"""\
import os, signal, subprocess, sys
try:
    child = subprocess.Popen(sys.argv[2:], start_new_session=True)
except OSError:
    sys.exit({_NOT_FOUND})
try:
    code = child.wait(float(sys.argv[1]))
except subprocess.TimeoutExpired:
    os.killpg(child.pid, signal.SIGKILL)
    code = child.wait()
sys.exit(code if code >= 0 else 128 - code)
"""


def ways(command: Sequence[str], seconds: float) -> Iterator[list[str]]:
    """Return commands that run `command`, the next for where the image has not the first's program.

    All end it with SIGKILL after `seconds` (rounded up) but the last, which is the bare command.
    """
    bound = str(math.ceil(seconds))
    yield ["timeout", "-s", "KILL", bound, *command]
    yield ["python3", "-I", "-c", _BY_PYTHON, bound, *command]
    yield list(command)
