"""Tokens that are bound to a certificate."""

import base64
import hashlib

import pytest

from authz_server.errors import Reason, Refused
from authz_server.identity.confirmation import certificate_bound_to, check_certificate

DIGEST = hashlib.sha256(b"certificate")
TEXT = base64.urlsafe_b64encode(DIGEST.digest()).rstrip(b"=").decode()


def test_a_certificate_hash_is_read() -> None:
    """RFC 8705 section 3.1."""
    assert certificate_bound_to({"cnf": {"x5t#S256": TEXT}}) == DIGEST.hexdigest()


def test_a_token_without_confirmation_is_anybodys() -> None:
    """The usual bearer token."""
    assert certificate_bound_to({"sub": "zoe"}) is None


@pytest.mark.parametrize(
    "cnf",
    [
        None,
        "x",
        [],
        {},
        {"jkt": TEXT},
        {"jwk": {}},
        {"kid": "a"},
        {"x5t#S256": TEXT, "jkt": TEXT},
        {"x5t#s256": TEXT},
        {"x5t": TEXT},
        {"x5t#S256": None},
        {"x5t#S256": [TEXT]},
        {"x5t#S256": ""},
        {"x5t#S256": TEXT + "="},
        {"x5t#S256": TEXT[:-1]},
        {"x5t#S256": TEXT + "A"},
        {"x5t#S256": TEXT[:-1] + "B"},
        {"x5t#S256": TEXT[:-1] + "\n"},
        {"x5t#S256": "+" + TEXT[1:]},
        {"x5t#S256": DIGEST.hexdigest()},
    ],
)
def test_a_binding_that_nothing_proves_is_refused(cnf: object) -> None:
    """What is not understood is not passed over."""
    with pytest.raises(Refused) as refused:
        certificate_bound_to({"cnf": cnf})
    assert refused.value.reason is Reason.TOKEN_INVALID


@pytest.mark.parametrize("fingerprint", [None, "", DIGEST.hexdigest().upper(), hashlib.sha256(b"other").hexdigest()])
def test_only_the_certificate_of_the_hash_proves_it(fingerprint: str | None) -> None:
    """Another certificate, or none, does not."""
    check_certificate(DIGEST.hexdigest(), DIGEST.hexdigest())
    with pytest.raises(Refused):
        check_certificate(DIGEST.hexdigest(), fingerprint)
