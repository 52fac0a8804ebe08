"""Certificates for tests, made by the openssl command when they are needed."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """A self-signed certificate, for 127.0.0.1 and localhost if not told otherwise, and its key."""

    cert: Path
    key: Path

    def put(self, cert: Path, key: Path) -> None:
        """Replace two files by this pair, as a renewal does."""
        for source, goal in ((self.cert, cert), (self.key, key)):
            beside = goal.with_name(f"{goal.name}.new")
            beside.write_bytes(source.read_bytes())
            beside.replace(goal)

    def certificate(self) -> bytes:
        """Return the certificate in DER form, as a TLS peer shows it."""
        return ssl.PEM_cert_to_DER_cert(self.cert.read_text())

    def client(self) -> ssl.SSLContext:
        """Return a client's context that trusts this certificate alone."""
        context = ssl.create_default_context(cafile=str(self.cert))
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context


def make_pair(
    folder: Path,
    name: str,
    *,
    kind: str = "ec",
    passphrase: str = "",
    days: int = 2,
    names: str = "IP:127.0.0.1,DNS:localhost",
) -> Pair:
    """Make a pair with a key of `kind`: `ec` or `rsa`; for `names` as OpenSSL writes them."""
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    option = {"ec": "ec_paramgen_curve:prime256v1", "rsa": "rsa_keygen_bits:2048"}[kind]
    protection = ["-passout", f"pass:{passphrase}"] if passphrase else ["-nodes"]
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", kind, "-pkeyopt", option, *protection,
            "-keyout", str(pair.key), "-out", str(pair.cert), "-days", str(days),
            "-subj", f"/CN={name}",
            "-addext", f"subjectAltName={names}",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return pair
