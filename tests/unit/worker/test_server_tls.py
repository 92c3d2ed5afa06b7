"""The gRPC server of a worker over TLS: who may call, and certificates that rotate."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2  # type: ignore[import-untyped]
from msgspec import structs
from structlog.testing import capture_logs

from authz_server.dev.ca import DevelopmentCa, create_ca
from authz_server.worker.calls import Call as ServerCall
from authz_server.worker.credentials import Credentials
from authz_server.worker.health import METHOD as HEALTH_CHECK
from authz_server.worker.key_pair import read_key_pair
from authz_server.worker.messages import WorkerTls
from authz_server.worker.server import CannotListen, CheckServer
from tests.builders import clock_at
from tests.unit.control.fleet import PATIENCE_S
from tests.unit.worker.test_server import SETTINGS, Call, client, echo, listening


class Identities:
    """Certificates in files, and clients that have them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = create_ca("shop.example")
        (directory / "ca.pem").write_text(self.ca.bundle_pem)
        self.renew(self.ca)

    @property
    def tls(self) -> WorkerTls:
        """The settings of a server that only Envoy may call."""
        at = self.directory
        return WorkerTls(str(at / "server.pem"), str(at / "server.key"), str(at / "ca.pem"))

    def renew(self, ca: DevelopmentCa, start: datetime | None = None) -> None:
        """Give the server another certificate, of an hour."""
        svid = ca.issue("spiffe://shop.example/authz", dns_names=["authz"], start=start)
        (self.directory / "server.key").write_text(svid.key_pem)
        (self.directory / "server.pem").write_text(svid.certificate_pem)

    def client(self, root: DevelopmentCa, signer: DevelopmentCa | None) -> grpc.ChannelCredentials:
        """A client that trusts `root` and has a certificate of `signer`."""
        if signer is None:
            return grpc.ssl_channel_credentials(root.bundle_pem.encode())
        svid = signer.issue("spiffe://shop.example/envoy")
        return grpc.ssl_channel_credentials(
            root.bundle_pem.encode(), svid.key_pem.encode(), svid.certificate_pem.encode()
        )


@pytest.fixture(name="identities")
def _identities(tmp_path: Path) -> Identities:
    return Identities(tmp_path)


def test_over_tls_the_handshake_asks_for_a_certificate_of_the_client_ca(identities: Identities) -> None:
    """Without one, or with one of another CA, there is no connection."""
    seen: list[list[str]] = []

    def look(payload: bytes, call: ServerCall) -> bytes:
        seen.append(sorted(call.auth_context()))
        return payload

    other = create_ca("shop.example")
    with listening(look, tls=identities.tls) as (_, address):
        with client(address, identities.client(identities.ca, identities.ca)) as call:
            assert call(b"x") == b"x"
        for signer in (None, other):
            with (
                client(address, identities.client(identities.ca, signer)) as call,
                pytest.raises(grpc.RpcError) as refused,
            ):
                call(b"x")
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert len(seen) == 1
    assert "x509_pem_cert" in seen[0]


def test_a_renewed_certificate_is_used_for_new_connections(identities: Identities) -> None:
    """Without a restart; a client that trusts only the new CA can tell."""
    renewed = create_ca("shop.example")
    with listening(tls=identities.tls) as (_, address):
        identities.renew(renewed)
        with client(address, identities.client(renewed, identities.ca)) as call:
            assert call(b"x") == b"x"


def test_a_renewal_that_is_half_done_changes_nothing(identities: Identities) -> None:
    """A key that does not belong to the certificate is not used."""
    with listening(tls=identities.tls) as (_, address):
        (identities.directory / "server.key").write_text(identities.ca.issue("spiffe://shop.example/x").key_pem)
        with client(address, identities.client(identities.ca, identities.ca)) as call:
            assert call(b"x") == b"x"


def test_a_certificate_that_has_expired_is_not_serving_until_it_is_renewed(identities: Identities) -> None:
    """A connection that was made before tells; whoever checks health asks elsewhere, and comes back."""
    made = CheckServer(structs.replace(SETTINGS, tls=identities.tls), echo)
    address = made.start()
    made.set_serving()
    later = time.time() + 2 * 3600
    with client(address, identities.client(identities.ca, identities.ca), HEALTH_CHECK) as health:
        assert status(health) == health_pb2.HealthCheckResponse.SERVING
        with clock_at(later):
            assert status(health) == health_pb2.HealthCheckResponse.NOT_SERVING
            identities.renew(identities.ca, datetime.fromtimestamp(later, UTC))
            assert status(health) == health_pb2.HealthCheckResponse.SERVING
    made.drain(PATIENCE_S)


def status(health: Call) -> int:
    """What a health check is told."""
    return int(health_pb2.HealthCheckResponse.FromString(health(b"")).status)


def test_a_renewed_certificate_that_has_expired_is_not_taken(identities: Identities) -> None:
    """The one before is shown, and that is logged once."""
    credentials = Credentials(identities.tls)
    identities.renew(identities.ca, datetime.now(UTC) - timedelta(hours=2))
    with capture_logs() as logs:
        assert credentials._refreshed() is None
        assert credentials._refreshed() is None
    assert credentials.good
    [line] = [line for line in logs if line["event"] == "certificate_kept"]
    assert "expired at" in line["problem"]


def test_key_and_certificate_are_of_one_reading(identities: Identities, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has been checked is what is used, however often the files are replaced meanwhile."""
    certificate = (identities.directory / "server.pem").read_bytes()
    key = (identities.directory / "server.key").read_bytes()
    read, seen = Path.read_bytes, []

    def read_and_replace(path: Path) -> bytes:
        content = read(path)
        seen.append(path)
        if len(seen) > 1:
            identities.renew(identities.ca)
        return content

    monkeypatch.setattr(Path, "read_bytes", read_and_replace)
    pair = read_key_pair(identities.tls)
    assert (pair.certificate, pair.key) == (certificate, key)


def test_no_handshake_fails_while_certificates_rotate(identities: Identities) -> None:
    """Key and certificate are written one after the other, as careless tools do; no connection gets a mixed pair."""
    stop = threading.Event()
    renewals = 0

    def renew() -> None:
        nonlocal renewals
        while not stop.is_set():
            identities.renew(identities.ca)
            renewals += 1

    with listening(tls=identities.tls) as (_, address), ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(renew)
        try:
            for _ in range(100):
                with client(address, identities.client(identities.ca, identities.ca)) as call:
                    assert call(b"x") == b"x"
        finally:
            stop.set()
        renewing.result()
    assert renewals > 10


@pytest.mark.parametrize("name", ["server.pem", "server.key", "ca.pem"])
@pytest.mark.parametrize("damage", [None, "", "nonsense"])
def test_files_that_cannot_be_used_are_named(identities: Identities, name: str, damage: str | None) -> None:
    """At the start that is an error."""
    path = identities.directory / name
    path.unlink()
    if damage is not None:
        path.write_text(damage)
    made = CheckServer(structs.replace(SETTINGS, tls=identities.tls), echo)
    with pytest.raises(CannotListen, match=f"cannot use .*{name}"):
        made.start()
