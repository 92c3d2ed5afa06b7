"""Trust bundles."""

import base64
import json
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from authz_server.identity.bundle import (
    MAX_BUNDLE_BYTES,
    MAX_CERTIFICATES,
    Bundle,
    InvalidBundle,
    Period,
    parse_bundle,
    parse_spiffe_bundle,
)
from tests.unit.identity.certificates import CA, START, Authority, key_usage, pem
from tests.unit.identity.tokens import SigningKey

DAY = 86400.0


def test_the_periods_of_the_issuing_cas_are_told(authority: Authority, other_authority: Authority) -> None:
    """Issuers are known by their signature; a CA of the same name is another one."""
    next_one = authority.certificate(start=START + timedelta(hours=12))
    bundle = parse_bundle(pem(other_authority.certificate(), authority.certificate(), next_one))
    begin = START.timestamp()
    assert bundle.issuers_of(authority.leaf()) == (
        Period(begin, begin + DAY),
        Period(begin + DAY / 2, begin + 1.5 * DAY),
    )
    assert parse_bundle(pem(other_authority.certificate())).issuers_of(authority.leaf()) == ()


def test_an_empty_bundle_issues_nothing(authority: Authority) -> None:
    """ID-12: an empty text is a bundle without CAs."""
    for text in (b"", b"\n \n"):
        assert parse_bundle(text) == Bundle()
    assert Bundle().issuers_of(authority.leaf()) == ()


def test_comments_may_stand_between_certificates(authority: Authority) -> None:
    """As tools write them; and lines may end as on other systems."""
    text = b"# shop\n" + pem(authority.certificate()) + b"\nsubject=CN=x\n" + pem(authority.certificate())
    assert len(parse_bundle(text).authorities) == 2
    assert len(parse_bundle(text.replace(b"\n", b"\r\n")).authorities) == 2


def test_a_leaf_of_another_issuer_name_is_not_issued(authority: Authority) -> None:
    """RFC 5280 section 6.1.3: names must chain as well."""
    renamed = Authority("other CA", authority.key, authority.leaf_key)
    assert parse_bundle(pem(renamed.certificate())).issuers_of(authority.leaf()) == ()


def test_both_ends_of_a_period_are_included() -> None:
    """RFC 5280 section 4.1.2.5; no skew is granted."""
    period = Period(10.0, 20.0)
    assert [period.includes(now) for now in (9.9, 10.0, 20.0, 20.1)] == [False, True, True, False]


def test_a_text_that_is_no_bundle_is_refused(authority: Authority) -> None:
    """One bad certificate makes the bundle bad, so that nothing is lost in silence."""
    good = pem(authority.certificate())
    bad = [
        b"garbage",
        good[:-30],
        good + good[:100],
        good.replace(b"CERTIFICATE", b"PRIVATE KEY") + good,
        good.replace(b"MII", b"MIJ", 1),
        good + b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        good + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        good * (MAX_CERTIFICATES + 1),
        good + b"\n" * MAX_BUNDLE_BYTES,
    ]
    for text in bad:
        with pytest.raises(InvalidBundle):
            parse_bundle(text)


def test_a_certificate_that_is_no_ca_is_refused(authority: Authority) -> None:
    """X509-SVID sections 3.2 and 4.3: cA and keyCertSign."""
    leaf = authority.leaf()
    no_usage = authority.certificate(extensions=[CA])
    no_signing = authority.certificate(extensions=[CA, (key_usage("digital_signature"), True)])
    no_ca = authority.certificate(extensions=[(key_usage("key_cert_sign"), True)])
    for certificate in (leaf, no_usage, no_signing, no_ca):
        with pytest.raises(InvalidBundle, match="certificate 2 "):
            parse_bundle(pem(authority.certificate(), certificate))


def x509_entry(certificate: x509.Certificate, **members: object) -> dict[str, object]:
    """A certificate as a SPIFFE bundle has it."""
    der = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
    return {"use": "x509-svid", "kty": "EC", "crv": "P-256", "x5c": [der], **members}


def jwt_entry(key: SigningKey, **members: object) -> dict[str, object]:
    """A key of JWT-SVIDs as a SPIFFE bundle has it."""
    return {**key.jwk(), "use": "jwt-svid", **members}


def document(*entries: object, **members: object) -> bytes:
    """A SPIFFE bundle."""
    return json.dumps({"keys": entries, **members}).encode()


def test_a_spiffe_bundle_has_authorities_and_keys(authority: Authority, es256: SigningKey) -> None:
    """Section 4 of the standard; what is for another use, or for none, is ignored."""
    entries = [x509_entry(authority.certificate()), jwt_entry(es256), jwt_entry(es256, use="wit-svid"), es256.jwk()]
    entries.append({name: value for name, value in jwt_entry(es256).items() if name != "use"})
    text = document(*entries, spiffe_sequence=7, spiffe_refresh_hint=600)
    bundle = parse_bundle(b"\n " + text)
    assert parse_spiffe_bundle(text) == bundle
    assert len(bundle.issuers_of(authority.leaf())) == 1
    assert [key.kid for key in bundle.keys.keys] == [es256.kid]
    assert bundle.refresh_hint_s == 600.0
    assert bundle.usable
    assert bundle.warnings == ()


def test_a_spiffe_bundle_can_be_empty() -> None:
    """ID-12."""
    assert parse_spiffe_bundle(document()) == Bundle()
    assert not Bundle().usable


def test_a_key_that_cannot_be_used_is_left_out_with_a_warning(es256: SigningKey) -> None:
    """As in the keys of an issuer; the certificates stay."""
    bundle = parse_spiffe_bundle(document(jwt_entry(es256, d="AAAA"), jwt_entry(es256)))
    assert len(bundle.keys.keys) == 1
    assert bundle.warnings == ("key 1 is left out: it is private or symmetric, and no longer a secret",)


@pytest.mark.parametrize("hint", [0, -1, True, "600", 1.5, 10**12, None, [600]])
def test_a_hint_that_is_no_number_of_seconds_counts_as_absent(hint: object) -> None:
    """It is a hint: the bundle is good."""
    assert parse_spiffe_bundle(document(spiffe_refresh_hint=hint)).refresh_hint_s is None


def test_what_is_no_spiffe_bundle_is_refused(authority: Authority) -> None:
    """One bad certificate makes the bundle bad, as in PEM; an endpoint never sends PEM."""
    certificate = authority.certificate()
    good = x509_entry(certificate)
    [der] = parse_x5c(good)
    bad: list[bytes] = [
        b"",
        b"{}",
        b"[]",
        b"<html>",
        pem(certificate),
        document(good)[:-1],
        b'{"keys": [], "keys": []}',
        b'{"keys": {}}',
        document("text"),
        document(*[{}] * 201),
        document() + b" " * MAX_BUNDLE_BYTES,
        document(good, x509_entry(authority.leaf())),
        *[document(good, {**good, "x5c": x5c}) for x5c in (None, [], [der, der], der, [7], ["AAAA"], ["%%"], [""])],
        document({name: value for name, value in good.items() if name != "x5c"}),
    ]
    for text in bad:
        with pytest.raises(InvalidBundle):
            parse_spiffe_bundle(text)


def parse_x5c(entry: dict[str, object]) -> list[object]:
    """The certificates of an entry."""
    chain = entry["x5c"]
    assert isinstance(chain, list)
    return chain
