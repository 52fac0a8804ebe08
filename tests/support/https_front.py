"""The real Apache front with a certificate, in front of a real gateway."""

from __future__ import annotations

import contextlib
import grp
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.proxy.certificates import Pair
from tests.support.front import HTTPD
from tests.support.waiting import PATIENCE


@contextlib.contextmanager
def running_https_front(
    folder: Path, routes: Path, gateway: str, port: int, pair: Pair, **environment: str
) -> Iterator[Path]:
    """Run `httpd/serve` with `pair`; yield its log once it listens on `port`.

    Args:
        folder: of httpd's own files; see apache.folder_for_httpd.
        routes: the folder with the maps.
        gateway: host:port.
        port: where it listens.
        pair: what it serves with.
        environment: more variables, see httpd.conf.
    """
    variables = {
        "PATH": os.environ["PATH"],
        "NBGATE_HTTPD_LISTEN": f"127.0.0.1:{port}",
        "NBGATE_HTTPD_RUN": str(folder / "run"),
        "NBGATE_HTTPD_GROUP": grp.getgrgid(os.getgid()).gr_name,
        "NBGATE_ROUTES": str(routes),
        "NBGATE_GATEWAY": gateway,
        "NBGATE_TLS_CERT": str(pair.cert),
        "NBGATE_TLS_KEY": str(pair.key),
    }
    log = folder / "front.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [HTTPD / "serve"], env=variables | environment, stdout=output, stderr=output
        )
    try:
        _until_listening(process, port, log)
        yield log
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError(f"httpd does not serve:\n{log.read_text()}")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
