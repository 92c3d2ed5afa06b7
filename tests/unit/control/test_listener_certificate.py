"""What operators are told of the certificate of the Check listener."""

import time
from pathlib import Path

import pytest

from authz_server.control.listener_certificate import ListenerCertificate
from authz_server.dev.ca import create_ca
from authz_server.worker.messages import WorkerTls
from tests.builders import clock_at


@pytest.fixture(name="tls")
def _tls(tmp_path: Path) -> WorkerTls:
    """A good certificate of an hour with its key."""
    svid = create_ca("shop.example").issue("spiffe://shop.example/authz")
    (tmp_path / "server.pem").write_text(svid.certificate_pem)
    (tmp_path / "server.key").write_text(svid.key_pem)
    return WorkerTls(str(tmp_path / "server.pem"), str(tmp_path / "server.key"))


def test_a_good_certificate_is_nothing_to_tell(tls: WorkerTls) -> None:
    """Nor is it where there is no TLS."""
    for settings in (tls, None):
        certificate = ListenerCertificate(settings)
        certificate.look()
        assert (certificate.missing(), certificate.problems()) == ({}, [])


def test_one_that_has_expired_is_missing(tls: WorkerTls) -> None:
    """The server is not ready: its workers do not serve."""
    certificate = ListenerCertificate(tls)
    certificate.look()
    with clock_at(time.time() + 2 * 3600):
        [(told, required)] = certificate.missing().items()
    assert told.startswith("the certificate of the Check listener expired at 20")
    assert required


def test_a_pair_that_does_not_fit_is_told_until_it_is_mended(tls: WorkerTls) -> None:
    """The one before is shown meanwhile."""
    certificate, key = ListenerCertificate(tls), Path(tls.key)
    good = key.read_text()
    certificate.look()
    key.write_text(create_ca("shop.example").issue("spiffe://shop.example/x").key_pem)
    certificate.look()
    files = f"{tls.certificate} and {tls.key}"
    assert certificate.problems() == [
        f"cannot use {files}: the key is not that of the certificate; the certificate of before is shown"
    ]
    assert certificate.missing() == {}
    key.write_text(good[: len(good) // 2])
    certificate.look()
    assert certificate.problems()[0].endswith("not whole, or no PEM; the certificate of before is shown")
    key.write_text(good)
    certificate.look()
    assert certificate.problems() == []
