"""Trust bundles."""

from datetime import timedelta

import pytest

from authz_server.identity.bundle import (
    MAX_BUNDLE_BYTES,
    MAX_CERTIFICATES,
    Bundle,
    InvalidBundle,
    Period,
    parse_bundle,
)
from tests.unit.identity.certificates import CA, START, Authority, key_usage, pem

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
