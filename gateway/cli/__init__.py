"""The `nbgate` command: `serve` runs the gateway, the rest talks to it over its management API.

`main` is the entry point, `parser.py` the tree of commands, one file per noun the commands,
`client.py` the HTTP, `output.py` what is printed. Modules that take long to import (aiohttp,
docker, the application) are imported where a command needs them.
"""

from gateway.cli.main import main

__all__ = ["main"]
