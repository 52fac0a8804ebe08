"""Serve the demo course: start the gateway, make a student's notebook, print the URL to open.

Run it with `make run`. Everything it keeps is in `.nbgate/` beside it; delete that folder to
begin anew.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_NBGATE = (sys.executable, "-m", "gateway")
_START_DEADLINE = 60.0


class Failed(Exception):
    """The demo could not be set up; the text is one line."""


def main() -> int:
    """Run until interrupted; return the gateway's exit code."""
    os.environ.setdefault("NBGATE_STATE_DIR", str(_ROOT / ".nbgate"))
    gateway = subprocess.Popen([*_NBGATE, "serve"])
    signal.signal(signal.SIGTERM, lambda *_: gateway.terminate())
    try:
        wait_until_up(gateway)
        show(demo_link())
        return gateway.wait()
    except KeyboardInterrupt:
        return gateway.wait()
    except Failed as error:
        print(error, file=sys.stderr)
        gateway.terminate()
        return gateway.wait() or 1


def wait_until_up(gateway: subprocess.Popen[bytes]) -> None:
    """Return when the gateway answers its command line. Raises Failed."""
    deadline = time.monotonic() + _START_DEADLINE
    while nbgate("project", "list").returncode != 0:
        if gateway.poll() is not None:
            raise Failed("the gateway ended; what it said is above")
        if time.monotonic() > deadline:
            raise Failed(f"the gateway did not answer within {_START_DEADLINE:g} s")
        time.sleep(0.1)


def demo_link() -> str:
    """Make the demo project if it is new; return a student's login link. Raises Failed."""
    if nbgate("project", "show", "demo").returncode != 0:
        source = str(_ROOT / "examples" / "demo")
        must("project", "add", "demo", "--title", "Demo course", "--source", source)
    return must("notebook", "url", "--project", "demo", "--person", "alice", "first-steps.ipynb")


def show(link: str) -> None:
    """Tell the person what to do."""
    print(f"\n  Open this in a browser (it works once):\n\n  {link}\n", flush=True)
    again = f"{sys.executable} -m gateway notebook url --project demo --person alice"
    print(f"  Another link: NBGATE_STATE_DIR={os.environ['NBGATE_STATE_DIR']} {again}")
    print("  Ctrl-C stops the gateway.\n", flush=True)


def must(*words: str) -> str:
    """Run one command that has to succeed; return what it prints. Raises Failed."""
    result = nbgate(*words)
    if result.returncode != 0:
        raise Failed(result.stderr.strip())
    return result.stdout.strip()


def nbgate(*words: str) -> subprocess.CompletedProcess[str]:
    """Run one `nbgate` command against the gateway."""
    return subprocess.run([*_NBGATE, *words], capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
