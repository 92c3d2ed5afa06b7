"""Certificate and key of the Check listener, read together: never one of before with the other of after a rotation."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from msgspec import Struct

from authz_server.worker.messages import WorkerTls


class UnusableCertificate(Exception):
    """The files of certificate and key cannot be used; says which and why."""


class KeyPair(Struct, frozen=True):
    """What TLS is spoken with."""

    certificate: bytes
    """The chain, PEM."""
    key: bytes
    client_ca: bytes | None
    not_after: float
    """When the certificate expires, in seconds since the epoch."""

    def problem(self, now: float) -> str | None:
        """What to tell of a certificate that has expired."""
        if now < self.not_after:
            return None
        return f"the certificate of the Check listener expired at {datetime.fromtimestamp(self.not_after, UTC):%FT%TZ}"

    def __repr__(self) -> str:
        return f"KeyPair(not_after={self.not_after!r})"


def read_key_pair(tls: WorkerTls) -> KeyPair:
    """Read and check the files. Raises UnusableCertificate."""
    files = f"{tls.certificate} and {tls.key}"
    try:
        chain, key = Path(tls.certificate).read_bytes(), Path(tls.key).read_bytes()
        [leaf, *_] = x509.load_pem_x509_certificates(chain)
        if load_pem_private_key(key, None).public_key() != leaf.public_key():
            raise UnusableCertificate(f"cannot use {files}: the key is not that of the certificate")
        client_ca = None if tls.client_ca is None else _authorities(tls.client_ca)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        # What the libraries say of a key may show some of it; what they say of a file does not.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not whole, or no PEM"
        files += f", or {tls.client_ca}" if tls.client_ca else ""
        raise UnusableCertificate(f"cannot use {files}: {reason}") from None
    return KeyPair(chain, key, client_ca, leaf.not_valid_after_utc.timestamp())


def _authorities(path: str) -> bytes:
    content = Path(path).read_bytes()
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=content.decode("ascii"))
    return content
