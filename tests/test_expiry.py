"""When certificates end, as the metrics tell it, against what openssl says."""

from __future__ import annotations

import math
import ssl
import subprocess
from pathlib import Path

import pytest

from gateway.expiry import expiry_of
from gateway.metrics import Metrics
from tests.proxy.certificates import Pair, make_pair

NAME = "nbgate_tls_certificate_expiry_timestamp_seconds"


def told_by_openssl(cert: Path) -> float:
    command = ["openssl", "x509", "-in", str(cert), "-noout", "-enddate"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(ssl.cert_time_to_seconds(told.strip().partition("=")[2]))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pair, Pair]:
    """Two pairs; the second ends behind 2050, which is written in another way."""
    folder = tmp_path_factory.mktemp("pairs")
    return make_pair(folder, "soon"), make_pair(folder, "late", kind="rsa", days=20_000)


def test_end_is_that_of_the_first_certificate_of_the_file(pairs: tuple[Pair, Pair]) -> None:
    texts = [pair.cert.read_text() for pair in pairs]
    for pair, text in zip(pairs, (texts[0] + texts[1], texts[1] + texts[0]), strict=True):
        assert expiry_of(f"a remark\n{text}") == told_by_openssl(pair.cert)


def test_damaged_certificate_is_an_error(pairs: tuple[Pair, Pair]) -> None:
    der = ssl.PEM_cert_to_DER_cert(pairs[0].cert.read_text())
    for end in range(60):
        with pytest.raises(ValueError, match=r"."):
            expiry_of(ssl.DER_cert_to_PEM_cert(der[:end]))
    with pytest.raises(ValueError, match="no certificate"):
        expiry_of("")


def test_metric_follows_the_file(tmp_path: Path, pairs: tuple[Pair, Pair]) -> None:
    live = Pair(tmp_path / "live.pem", tmp_path / "live.key")
    metrics = Metrics()
    assert NAME.encode() not in metrics.render()
    metrics.watch_certificate(live.cert)

    def told() -> float:
        value = metrics.registry.get_sample_value(NAME, {"listener": "public"})
        assert value is not None
        return value

    assert math.isnan(told())
    for pair in pairs:
        pair.put(live.cert, live.key)
        assert told() == told_by_openssl(pair.cert)
