"""A load generator in a process of its own: `python -m bench.datapath.client KIND OPTIONS`.

OPTIONS is JSON. Kinds that measure something else meanwhile print a line when they are ready, and
go on when they read one. The last line that is printed has the numbers, as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping

from bench.datapath import fixed_rate, publishing, sockets, transfers

Kind = Callable[..., Mapping[str, float]]
_KINDS: Mapping[str, Kind] = {
    "echo": sockets.echo,
    "idle": sockets.idle,
    "download": transfers.download,
    "upload": transfers.upload,
    "rate": fixed_rate.fixed_rate,
    "publish": publishing.publish,
}


def main() -> None:
    """Run one kind."""
    kind, options = sys.argv[1], json.loads(sys.argv[2])
    sys.stdout.write(json.dumps(_KINDS[kind](**options)) + "\n")


if __name__ == "__main__":
    main()
