"""A data path in a process of its own, so that its memory can be measured.

Usage: python -m tests.proxy.standalone UPSTREAM_PORT FOLDER; prints its port, ends with stdin.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from gateway.proxy.interface import ProxyLimits
from routes.keys import Target
from tests.proxy.harness import rig


async def main(upstream_port: int, folder: Path) -> None:
    """Relay everything to `upstream_port` until stdin ends."""
    async with rig(folder, Target("127.0.0.1", upstream_port), ProxyLimits()) as made:
        sys.stdout.write(f"{made.port}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
