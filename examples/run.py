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
_START_DEADLINE = 30.0


def main() -> int:
    """Run until interrupted; return the gateway's exit code."""
    os.environ.setdefault("NBGATE_STATE_DIR", str(_ROOT / ".nbgate"))
    gateway = subprocess.Popen([*_NBGATE, "serve", *sys.argv[1:]])
    signal.signal(signal.SIGTERM, lambda *_: gateway.terminate())
    try:
        if wait_until_up(gateway):
            print_url()
        return gateway.wait()
    except KeyboardInterrupt:
        return gateway.wait()


def wait_until_up(gateway: subprocess.Popen[bytes]) -> bool:
    """Return whether the gateway answers its command line before the deadline."""
    deadline = time.monotonic() + _START_DEADLINE
    while gateway.poll() is None and time.monotonic() < deadline:
        if _nbgate("route", "list", "--json").returncode == 0:
            return True
        time.sleep(0.1)
    return False


def print_url() -> None:
    """Make the demo project if it is new, and print a student's login link."""
    if _nbgate("project", "show", "demo").returncode != 0:
        source = str(_ROOT / "examples" / "demo")
        subprocess.run(
            [*_NBGATE, "project", "add", "demo", "--title", "Demo course", "--source", source],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    link = _nbgate("notebook", "url", "--project", "demo", "--person", "alice", "first-steps.ipynb")
    print(f"\n  Open this in a browser (it works once):\n\n  {link.stdout.strip()}\n", flush=True)
    print("  Another link: nbgate notebook url --project demo --person alice", flush=True)
    print("  Ctrl-C stops the gateway.\n", flush=True)


def _nbgate(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*_NBGATE, *words], capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
