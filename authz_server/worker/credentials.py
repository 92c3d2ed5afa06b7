"""TLS of the Check listener, from files that are replaced while it runs."""

import ssl
from pathlib import Path

import grpc
from msgspec import Struct

from authz_server.worker.messages import WorkerTls


class UnusableCertificate(Exception):
    """The files of certificate and key cannot be used; says which and why."""


class _Files(Struct, frozen=True):
    certificate: bytes
    key: bytes
    client_ca: bytes | None


class Credentials:
    """Reads the files anew for every connection, and keeps the last good ones where they cannot be used."""

    def __init__(self, tls: WorkerTls) -> None:
        """Raises UnusableCertificate."""
        self._tls = tls
        self._files = _read(tls)

    def for_server(self) -> grpc.ServerCredentials:
        """What a secure port is opened with; asks for a client certificate where a client CA is configured."""
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._files),
            self._refreshed,  # type: ignore[arg-type]  # None is "no change", which the stubs do not know
            self._tls.client_ca is not None,
        )

    def _refreshed(self) -> grpc.ServerCertificateConfiguration | None:
        try:
            files = _read(self._tls)
        except UnusableCertificate:
            return None
        if files == self._files:
            return None
        self._files = files
        return _configuration(files)


def _read(tls: WorkerTls) -> _Files:
    try:
        # Also shows that the key belongs to the certificate, which a rotation in two steps does not give at once.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key, password="")
        client_ca = None if tls.client_ca is None else _authorities(tls.client_ca)
        return _Files(Path(tls.certificate).read_bytes(), Path(tls.key).read_bytes(), client_ca)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or error
        files = f"{tls.certificate} and {tls.key}" + (f", or {tls.client_ca}" if tls.client_ca else "")
        raise UnusableCertificate(f"cannot use {files}: {reason}") from None


def _authorities(path: str) -> bytes:
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    return Path(path).read_bytes()


def _configuration(files: _Files) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(files.key, files.certificate)], files.client_ca)
