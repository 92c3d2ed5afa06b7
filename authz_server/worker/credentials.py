"""TLS of the Check listener, from files that are replaced while it runs."""

import time

import grpc
import structlog

from authz_server.worker.key_pair import KeyPair, UnusableCertificate, read_key_pair
from authz_server.worker.messages import WorkerTls


class Credentials:
    """Reads the files anew for every connection, and keeps the last good ones where they cannot be used."""

    def __init__(self, tls: WorkerTls) -> None:
        """Raises UnusableCertificate."""
        self._tls = tls
        self._pair = read_key_pair(tls)
        self._told: str | None = None

    def for_server(self) -> grpc.ServerCredentials:
        """What a secure port is opened with; asks for a client certificate where a client CA is configured."""
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._pair),
            self._refreshed,  # type: ignore[arg-type]  # None is "no change", which the stubs do not know
            self._tls.client_ca is not None,
        )

    @property
    def good(self) -> bool:
        """Whether the certificate has not expired, nor what is in its file now."""
        if time.time() >= self._pair.not_after:
            self._take_up()
        return time.time() < self._pair.not_after

    def _refreshed(self) -> grpc.ServerCertificateConfiguration | None:
        return _configuration(self._pair) if self._take_up() else None

    def _take_up(self) -> bool:
        """Use what is in the files now, if that is something else and good; returns whether it is."""
        try:
            pair = read_key_pair(self._tls)
        except UnusableCertificate as error:
            self._tell(str(error))
            return False
        if pair == self._pair:
            return False
        problem = pair.problem(time.time())
        if problem is not None:
            self._tell(problem)
            return False
        self._pair, self._told = pair, None
        return True

    def _tell(self, problem: str) -> None:
        if problem != self._told:
            self._told = problem
            structlog.get_logger().error("certificate_kept", problem=f"{problem}; the one before is shown")


def _configuration(pair: KeyPair) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pair.key, pair.certificate)], pair.client_ca)
