"""Route files of many plain routes: `python -m bench.datapath.routefile COUNT PORT FILE`."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from routes.apachedb import ApacheDB

_PATHS = 1024


def key(number: int) -> str:
    """Return the key of a route."""
    return f"/r/{number:07}"


def make_route_file(count: int, port: int, folder: Path) -> Path:
    """Return a file of `count` routes to a port, made by a process of its own, that then ends."""
    file = folder / f"routes-{count}.gdbm"
    if not file.exists():
        words = [sys.executable, "-m", "bench.datapath.routefile", str(count), str(port), str(file)]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return file


def paths(count: int) -> list[str]:
    """Return 1,024 paths, spread over all `count` routes, each with a rest."""
    return [f"{key(number * count // _PATHS)}/api/status" for number in range(_PATHS)]


def wrk_script(count: int, host: str) -> str:
    """Return a wrk script that asks for those paths in turn; requests are made beforehand."""
    listed = ",\n".join(
        f'"GET {path} HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n"' for path in paths(count)
    )
    return f"""\
local requests = {{
{listed}
}}
local number = 0
request = function()
  number = number % {_PATHS} + 1
  return requests[number]
end
"""


def main() -> None:
    """Write a file."""
    parser = argparse.ArgumentParser(prog="python -m bench.datapath.routefile")
    parser.add_argument("count", type=int)
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path)
    args = parser.parse_args()
    began = time.perf_counter()
    database = ApacheDB(args.file.with_suffix(".new"))
    target = f"127.0.0.1:{args.port}".encode()
    with database.batch():
        for number in range(args.count):
            database[key(number)] = target
    database.close()
    args.file.with_suffix(".new").rename(args.file)
    print(f"{args.count} routes in {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
