from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from routes.apachedb import ApacheDB
from tests.support.apache import folder_for_httpd, running_apache

# Several children: each has a cache of its own.
_CONFIGURATION = """
StartServers 3
ServerLimit 3
ThreadsPerChild 8
MaxRequestWorkers 24
MinSpareThreads 8
MaxSpareThreads 24
KeepAlive On
MaxKeepAliveRequests 100
ProxyPreserveHost On
RewriteEngine On
RewriteMap routes "dbm=gdbm:{path}"
RewriteMap lc int:tolower
RewriteCond "${{lc:%{{HTTP_HOST}}}}" "^([a-z0-9][a-z0-9.-]*)$"
RewriteCond "${{routes:%1}}" "^([0-9a-z._-]+:[0-9]+)$"
RewriteRule ^ "http://%1%{{REQUEST_URI}}" [P,L]
RewriteRule ^ - [R=404,L]
"""


@dataclass(frozen=True)
class Front:
    """A running httpd that routes by the file at `path`."""

    port: int
    path: Path


@pytest.fixture
def served_folder() -> Iterator[Path]:
    with folder_for_httpd() as folder:
        yield folder


@pytest.fixture
async def front(served_folder: Path) -> AsyncIterator[Front]:
    path = served_folder / "routes.gdbm"
    ApacheDB(path).close()
    configuration = _CONFIGURATION.format(path=path)
    async with running_apache(served_folder, configuration) as port:
        yield Front(port, path)
