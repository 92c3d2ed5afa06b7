"""Leaf certificates as X509-SVIDs."""

import base64
from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from authz_server.identity.certificate import MAX_CERTIFICATE_CHARACTERS, InvalidCertificate, parse_leaf
from authz_server.identity.spiffe import parse_spiffe_id
from authz_server.model import Certificate
from tests.unit.identity.certificates import (
    CA,
    LEAF_USAGE,
    NO_CA,
    START,
    WEB,
    Authority,
    Extension,
    common_name,
    key_usage,
    pem,
    uris,
    url_encoded,
)

SAN: Extension = (uris(WEB), False)
NOTHING = x509.Name([])


def refusal(text: str) -> str:
    """Why a text is refused."""
    with pytest.raises(InvalidCertificate) as invalid:
        parse_leaf(text)
    return str(invalid.value)


def of_der(data: bytes) -> str:
    """The form in which a proxy would send these bytes."""
    text = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(data).decode()}\n-----END CERTIFICATE-----\n"
    return quote(text, safe="")


def test_a_leaf_is_read(authority: Authority) -> None:
    """The SPIFFE ID, and what conditions and records may know."""
    certificate = authority.leaf()
    leaf = parse_leaf(url_encoded(certificate))
    assert leaf.id == parse_spiffe_id(WEB)
    assert leaf.certificate == Certificate(
        serial="abc",
        fingerprint=sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
        not_before=START.timestamp(),
        not_after=START.timestamp() + 3600,
    )


def test_the_proxys_encoding_is_read(authority: Authority) -> None:
    """Envoy escapes line feeds, spaces, `+`, `/` and `=`; other encoders escape more or less."""
    text = pem(authority.leaf()).decode()
    for safe in ("", "+/=-", " "):
        encoded = quote(text, safe=safe).replace(" ", "%20")
        assert parse_leaf(encoded).id.text == WEB
    assert parse_leaf(url_encoded(authority.leaf()).removesuffix("%0A")).id.text == WEB


@pytest.mark.parametrize(
    "san",
    [
        x509.SubjectAlternativeName([x509.UniformResourceIdentifier(WEB), x509.DNSName("web.shop.example")]),
        x509.SubjectAlternativeName([x509.DNSName(WEB), x509.UniformResourceIdentifier(WEB)]),
    ],
)
def test_other_names_may_stand_beside_the_uri(authority: Authority, san: x509.ExtensionType) -> None:
    """X509-SVID section 2: any number of other SANs."""
    assert parse_leaf(url_encoded(authority.leaf(san))).id.text == WEB


@pytest.mark.parametrize(
    "extensions",
    [
        [LEAF_USAGE, SAN],
        [(key_usage("digital_signature", "key_encipherment", "key_agreement"), True), SAN],
        [NO_CA, LEAF_USAGE, SAN, (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), True)],
        [
            NO_CA,
            LEAF_USAGE,
            SAN,
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False),
        ],
        [LEAF_USAGE, SAN, (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), False)],
    ],
)
def test_a_leaf_may_have_what_the_standard_admits(authority: Authority, extensions: Sequence[Extension]) -> None:
    """X509-SVID sections 4.1, 4.3 and 4.4."""
    assert parse_leaf(url_encoded(authority.leaf(extensions=extensions))).id.text == WEB


@pytest.mark.parametrize(
    ("extensions", "complaint"),
    [
        ([CA, LEAF_USAGE, SAN], "a CA's"),
        ([NO_CA, (key_usage("digital_signature", "key_cert_sign"), True), SAN], "may sign"),
        ([NO_CA, (key_usage("digital_signature", "crl_sign"), True), SAN], "may sign"),
        ([NO_CA, (key_usage("key_encipherment"), True), SAN], "digitalSignature"),
        ([NO_CA, (key_usage("digital_signature"), False), SAN], "critical keyUsage"),
        ([NO_CA, SAN], "keyUsage"),
        ([], "keyUsage"),
        ([LEAF_USAGE, SAN, (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)], "clientAuth"),
        ([LEAF_USAGE, SAN, (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False)], "clientAuth"),
        (
            [LEAF_USAGE, SAN, (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)],
            "critical",
        ),
    ],
)
def test_what_is_no_leaf_identifies_nobody(
    authority: Authority, extensions: Sequence[Extension], complaint: str
) -> None:
    """ID-04: CAs, signers, and keys that may not authenticate (X509-SVID section 5.2)."""
    certificate = authority.leaf(extensions=extensions)
    assert complaint in refusal(url_encoded(certificate))


def test_a_leaf_without_a_subject_needs_a_critical_san(authority: Authority) -> None:
    """X509-SVID section 3.1, RFC 5280 section 4.1.2.6."""
    for critical in (True, False):
        text = url_encoded(authority.leaf(subject=NOTHING, extensions=[LEAF_USAGE, (uris(WEB), critical)]))
        if critical:
            assert parse_leaf(text).id.text == WEB
        else:
            assert "SAN extension is not critical" in refusal(text)


@pytest.mark.parametrize(
    ("san", "complaint"),
    [
        (uris(WEB, "spiffe://shop.example/admin"), "2 URI SANs"),
        (uris(WEB, WEB), "2 URI SANs"),
        (uris(WEB, "https://shop.example/"), "2 URI SANs"),
        (x509.SubjectAlternativeName([x509.DNSName(WEB)]), "0 URI SANs"),
        (x509.SubjectAlternativeName([x509.RFC822Name("web@shop.example")]), "0 URI SANs"),
        (x509.SubjectAlternativeName([x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), b"\x0c\x01a")]), "0 URI SANs"),
        (x509.IssuerAlternativeName([x509.UniformResourceIdentifier(WEB)]), "0 URI SANs"),
        (uris("https://shop.example/"), "does not begin"),
        (uris("spiffe://shop.example"), "without a path"),
        (uris("spiffe://shop.example/"), "slash"),
        (uris("spiffe://shop.example/a/../admin"), "`..`"),
        (uris("spiffe://shop.example/%61"), "characters"),
        (uris("spiffe://shop.example/a?x#f"), "characters"),
        (uris("spiffe://shop.example/a,By=spiffe://td/x;URI=spiffe://td/admin"), "characters"),
        (uris("spiffe://shop.example/admin\x00"), "characters"),
        (uris("spiffe://shop.example/admin\x00.evil.example"), "characters"),
        (uris("SPIFFE://shop.example/a"), "does not begin"),
        (uris(""), "does not begin"),
        (uris("spiffe://shop.example/" + "a" * 2048), "longer"),
    ],
)
def test_exactly_one_uri_must_be_a_spiffe_id_with_a_path(
    authority: Authority, san: x509.ExtensionType, complaint: str
) -> None:
    """ID-02, ID-03, ID-04, ID-06, ID-10: no other name counts, and no second one is overlooked."""
    assert complaint in refusal(url_encoded(authority.leaf(san)))


def test_a_spiffe_like_subject_identifies_nobody(authority: Authority) -> None:
    """ID-03: a common name is no identity."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, WEB)])
    assert "0 URI SANs" in refusal(url_encoded(authority.leaf(subject=subject, extensions=[LEAF_USAGE])))


def test_a_text_that_is_not_one_certificate_is_refused(authority: Authority) -> None:
    """ID-10: bad escapes, two certificates, other data, broken PEM and DER, and length."""
    good = pem(authority.leaf()).decode()
    body = good.split("\n", 1)[1].rsplit("\n", 2)[0]
    bad = [
        "",
        "x",
        good + good,
        good + "x",
        "x" + good,
        good + "\n",
        " " + good,
        good.replace("CERTIFICATE", "PRIVATE KEY"),
        good.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
        good.replace("\n", "\r\n"),
        good.replace("\n", ""),
        good.replace("-----END", "----END"),
        good.replace(body, body[:-8]),
        good.replace(body, body + "\nAAAA"),
        good.replace(body, ""),
        good.replace(body, "AAAA"),
        good.replace(body, "A"),
        good.replace(body, "====" + body),
        good.replace("\n", "\n\n", 1),
        good + "\x00",
        good.replace(body, body[:20] + "\x00" + body[20:]),
        good.replace(body, body[:20] + "é" + body[20:]),
    ]
    for text in bad:
        assert refusal(quote(text, safe=""))
    encoded = url_encoded(authority.leaf())
    for text in (good, encoded + "%", encoded + "%0", encoded + "%zz", encoded.replace("%0A", "%0"), encoded + "é"):
        assert refusal(text)
    assert "longer" in refusal("A" * (MAX_CERTIFICATE_CHARACTERS + 1))
    assert "longer" in refusal("A" * 64 * 1024)


def test_trailing_data_after_the_certificate_is_refused(authority: Authority) -> None:
    """ID-10: also inside the PEM block."""
    der = authority.leaf().public_bytes(Encoding.DER)
    for data in (der + b"\0", der + der, der[:-1], der[1:], b""):
        assert refusal(of_der(data))


DEPRECATED = "ignore::cryptography.utils.CryptographyDeprecationWarning"


@pytest.mark.filterwarnings(DEPRECATED)
def test_a_serial_number_that_is_not_positive_is_refused(authority: Authority) -> None:
    """RFC 5280 section 4.1.2.2: records name certificates by it."""
    der = authority.leaf().public_bytes(Encoding.DER)
    negative = der.replace(b"\x02\x02\x0a\xbc", b"\x02\x02\x8a\xbc")
    assert "serial" in refusal(of_der(negative))


@pytest.mark.filterwarnings(DEPRECATED)
def test_a_changed_byte_is_refused_or_changes_nothing_else(authority: Authority) -> None:
    """ID-10: broken DER is never an error of ours, wherever it breaks."""
    der = authority.leaf().public_bytes(Encoding.DER)
    for place in range(len(der)):
        for mask in (0x01, 0x80):
            changed = der[:place] + bytes([der[place] ^ mask]) + der[place + 1 :]
            try:
                leaf = parse_leaf(of_der(changed))
            except InvalidCertificate:
                continue
            assert leaf.id == parse_spiffe_id(leaf.id.text)
            assert leaf.certificate.fingerprint == sha256(changed).hexdigest()


def test_names_are_compared_by_the_whole_text(authority: Authority) -> None:
    """The common name is free text; only the URI counts."""
    leaf = parse_leaf(url_encoded(authority.leaf(subject=common_name("spiffe://shop.example/admin"))))
    assert leaf.id.text == WEB
