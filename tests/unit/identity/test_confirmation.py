"""Tokens that are bound to a certificate."""

import base64
import hashlib

import pytest

from authz_server.errors import Reason, Refused
from authz_server.identity.confirmation import Binding, binding_of, check_binding

DIGEST = hashlib.sha256(b"certificate")
TEXT = base64.urlsafe_b64encode(DIGEST.digest()).rstrip(b"=").decode()


def test_a_certificate_hash_is_read() -> None:
    """RFC 8705 section 3.1."""
    assert binding_of({"cnf": {"x5t#S256": TEXT}}) == Binding(certificate=DIGEST.hexdigest())


def test_a_thumbprint_is_read() -> None:
    """RFC 9449 section 6.1; a token can be bound to both."""
    assert binding_of({"cnf": {"jkt": TEXT}}) == Binding(key=TEXT)
    assert binding_of({"cnf": {"jkt": TEXT, "x5t#S256": TEXT}}) == Binding(DIGEST.hexdigest(), TEXT)


def test_a_token_without_confirmation_is_anybodys() -> None:
    """The usual bearer token."""
    assert binding_of({"sub": "zoe"}) is None


@pytest.mark.parametrize(
    "cnf",
    [
        None,
        "x",
        [],
        {},
        {"jwk": {}},
        {"kid": "a"},
        {"x5t#S256": TEXT, "kid": "a"},
        {"x5t#S256": TEXT, "jkt": TEXT, "kid": "a"},
        {"jkt": TEXT, "jwk": {}},
        {"x5t#S256": TEXT, "jkt": None},
        {"x5t#S256": None, "jkt": TEXT},
        {"jkt": ""},
        {"jkt": TEXT + "="},
        {"jkt": [TEXT]},
        {"JKT": TEXT},
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
        binding_of({"cnf": cnf})
    assert refused.value.reason is Reason.TOKEN_INVALID


@pytest.mark.parametrize("fingerprint", [None, "", DIGEST.hexdigest().upper(), hashlib.sha256(b"other").hexdigest()])
def test_only_the_certificate_of_the_hash_proves_it(fingerprint: str | None) -> None:
    """Another certificate, or none, does not."""
    check_binding(Binding(DIGEST.hexdigest()), DIGEST.hexdigest(), None)
    with pytest.raises(Refused):
        check_binding(Binding(DIGEST.hexdigest()), fingerprint, None)


@pytest.mark.parametrize(
    ("binding", "fingerprint", "key", "good"),
    [
        (None, None, None, True),
        (None, "f", None, True),
        (None, None, "k", False),
        (Binding(key="k"), None, "k", True),
        (Binding(key="k"), "f", "k", True),
        (Binding(key="k"), None, None, False),
        (Binding(key="k"), "f", None, False),
        (Binding(key="k"), None, "other", False),
        (Binding(key="k"), None, "", False),
        (Binding("f"), "f", "k", False),
        (Binding("f", "k"), "f", "k", True),
        (Binding("f", "k"), "f", None, False),
        (Binding("f", "k"), None, "k", False),
        (Binding("f", "k"), "other", "k", False),
        (Binding("f", "k"), "f", "other", False),
    ],
)
def test_everything_that_binds_has_to_be_proved(
    binding: Binding | None, fingerprint: str | None, key: str | None, good: bool
) -> None:
    """Certificate and key where there are both; and a proof is for a token that is bound to its key."""
    if good:
        check_binding(binding, fingerprint, key)
        return
    with pytest.raises(Refused) as refused:
        check_binding(binding, fingerprint, key)
    assert refused.value.reason is Reason.TOKEN_INVALID
