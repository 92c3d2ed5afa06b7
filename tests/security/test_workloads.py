"""Attacks with certificates and the names of workloads."""

import string
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from authz_server.errors import Reason
from authz_server.identity.settings import ForwardedCallers
from tests.security.server import Ask, Server, assert_denied
from tests.unit.identity.certificates import (
    CA,
    CA_USAGE,
    LEAF_USAGE,
    NO_CA,
    WEB,
    Extension,
    common_name,
    key_usage,
    pem,
    uris,
    url_encoded,
)

REFUSED = Reason.WORKLOAD_REFUSED
EDGE = "spiffe://shop.example/edge"


def test_id_01_without_a_certificate_there_is_no_workload(server: Server) -> None:
    """Whatever headers claim; a principal alone is refused where certificates are required."""
    headers = [("x-forwarded-client-cert", f"URI={WEB}"), ("x-workload", WEB), ("x-spiffe-id", WEB)]
    assert_denied(server.ask(Ask(path="/list", headers=headers)), Reason.NO_RULE_ALLOWS)
    assert_denied(server.ask(Ask(path="/list", principal=WEB)), REFUSED)
    assert server.ask(server.as_web()).allowed


@pytest.mark.parametrize(
    "names",
    [
        uris(WEB, WEB),
        uris(WEB, "spiffe://shop.example/admin"),
        uris(WEB, "https://shop.example/"),
        uris(),
    ],
)
def test_id_02_a_leaf_has_exactly_one_uri(server: Server, names: x509.SubjectAlternativeName) -> None:
    """X509-SVID section 2."""
    assert_denied(server.ask(server.as_web(url_encoded(server.leaf(names)))), REFUSED)


@pytest.mark.parametrize(
    "name",
    [
        x509.DNSName("shop.example"),
        x509.RFC822Name("web@shop.example"),
        x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), b"\x0c\x01a"),
        x509.DirectoryName(common_name(WEB)),
    ],
)
def test_id_03_no_other_name_counts(server: Server, name: x509.GeneralName) -> None:
    """Whatever looks like a SPIFFE ID elsewhere: DNS names, mail addresses, other names, the subject."""
    extensions = [NO_CA, LEAF_USAGE, (x509.SubjectAlternativeName([name]), True)]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, WEB)])
    leaf = server.leaf(extensions=extensions, subject=subject)
    assert_denied(server.ask(server.as_web(url_encoded(leaf))), REFUSED)


@pytest.mark.parametrize(
    "extensions",
    [
        [CA, LEAF_USAGE, (uris(WEB), False)],
        [CA, CA_USAGE, (uris(WEB), False)],
        [NO_CA, (key_usage("digital_signature", "key_cert_sign"), True), (uris(WEB), False)],
        [NO_CA, (key_usage("digital_signature", "crl_sign"), True), (uris(WEB), False)],
        [NO_CA, (key_usage("key_encipherment"), True), (uris(WEB), False)],
        [NO_CA, (uris(WEB), False)],
    ],
)
def test_id_04_a_caller_is_a_leaf(server: Server, extensions: list[Extension]) -> None:
    """X509-SVID section 5.2: no CA, no signer of certificates or CRLs, and digitalSignature."""
    assert_denied(server.ask(server.as_web(url_encoded(server.leaf(extensions=extensions)))), REFUSED)


def test_id_04_a_whole_trust_domain_is_no_caller(server: Server) -> None:
    """A SPIFFE ID without a path is that of the domain itself."""
    for name in ("spiffe://shop.example", "spiffe://shop.example/"):
        assert_denied(server.ask(server.as_web(url_encoded(server.leaf(name)), principal=name)), REFUSED)


def test_id_05_principal_and_certificate_agree(server: Server) -> None:
    """A disagreement is refused, and is a security event in the record."""
    for principal in ("", "spiffe://shop.example/admin", WEB.upper(), WEB + "/"):
        outcome = server.ask(server.as_web(principal=principal))
        assert_denied(outcome, REFUSED)
        assert "disagree" in outcome.record["detail"]


WRONG_IDS = [
    *("spiffe://Shop.example/a", "SPIFFE://shop.example/a", "spiffe:/shop.example/a", "spiffe://shop.example//a"),
    *(
        "spiffe://shop.example/a/",
        "spiffe://shop.example/./a",
        "spiffe://shop.example/../a",
        "spiffe://shop.example/a?b",
    ),
    *(
        "spiffe://shop.example/a#b",
        "spiffe://u@shop.example/a",
        "spiffe://shop.example:80/a",
        "spiffe://shop.example/%61",
    ),
    *("spiffe:///a", "spiffe://shop.example/a\n", "http://shop.example/a", "spiffe://shop.example/" + "a" * 2048),
    *(f"spiffe://{'a' * 256}/a", " spiffe://shop.example/a"),
]


@pytest.mark.parametrize("name", WRONG_IDS)
def test_id_06_the_grammar_of_spiffe_ids_knows_no_tolerance(server: Server, name: str) -> None:
    """SPIFFE-ID section 2: nothing is folded, normalised or decoded."""
    assert_denied(server.ask(server.as_web(url_encoded(server.leaf(name)), principal=name)), REFUSED)


def test_id_06_each_character_in_both_places(server: Server) -> None:
    """All that a certificate's URI can hold: letters, digits, dot, dash and underscore in a path, and nothing more."""
    good = set(string.ascii_letters + string.digits + ".-_")
    for character in map(chr, range(128)):
        name = f"spiffe://shop.example/a{character}b"
        outcome = server.ask(server.as_web(url_encoded(server.leaf(name)), principal=name, path="/public/a"))
        assert outcome.allowed is (character in good | {"/"}), repr(character)
        name = f"spiffe://shop.exampl{character}e/a"
        assert not server.ask(server.as_web(url_encoded(server.leaf(name)), principal=name, path="/public/a")).allowed


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        *(("spiffe://shop.example/ns/a/sa/b", True), ("spiffe://shop.example/ns/ab/sa/b", False)),
        *(("spiffe://shop.example/ns/a", False), ("spiffe://shop.example/ns/a.b/sa/b", False)),
        *(("spiffe://shop.example/x/ns/a/sa/b", False), ("spiffe://shop.example/ns/A/sa/b", False)),
        *(("spiffe://shopxexample/ns/a/sa/b", False), ("spiffe://shop.example-evil/ns/a/sa/b", False)),
        *(("spiffe://shop.example.evil/ns/a/sa/b", False), ("spiffe://evil.shop.example/ns/a/sa/b", False)),
    ],
)
def test_id_07_patterns_fit_by_whole_segments(server: Server, name: str, allowed: bool) -> None:
    """CVE-2026-39350 of Istio, where a dot was any character, and prefixes that end inside a name."""
    ask = server.as_web(url_encoded(server.leaf(name)), principal=name, path="/a")
    assert server.ask(ask).allowed is allowed


def test_id_08_a_ca_speaks_for_its_own_trust_domain(server: Server) -> None:
    """A federated partner's CA cannot name our workloads, nor ours theirs."""
    forged = server.leaf(authority=server.partner_ca)
    assert_denied(server.ask(server.as_web(url_encoded(forged))), REFUSED)
    partner = "spiffe://partner.example/a"
    theirs = server.leaf(partner, authority=server.partner_ca)
    assert server.ask(server.as_web(url_encoded(theirs), principal=partner, path="/public/a")).allowed
    ours = server.leaf(partner)
    assert_denied(server.ask(server.as_web(url_encoded(ours), principal=partner, path="/public/a")), REFUSED)


H = "ab" * 32
GOOD_ELEMENT = f"By={EDGE};Hash={H};URI=spiffe://partner.example/a"


@pytest.fixture(name="behind", scope="module")
def _behind(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server that takes the edge's word about callers behind it."""
    server = Server(tmp_path_factory.mktemp("behind"))
    server.load(forwarded=ForwardedCallers((EDGE,), appended=False))
    return server


@pytest.mark.parametrize(
    "element",
    [
        *("URI=", "URI", f"By={EDGE};Hash={H};URI=", f"By={EDGE};Hash={H};URI={WEB};URI={WEB}", f'{GOOD_ELEMENT}"'),
        *(f"By={EDGE};Hash={H};Other=x;URI={WEB}", f'By={EDGE};Hash={H};Subject="a;URI={WEB}', f"{GOOD_ELEMENT};"),
        *(f"By={EDGE};Hash={H[:-1]};URI={WEB}", f"By={EDGE};Hash={H};DNS=" + "a" * 17_000 + f";URI={WEB}", ",", ";"),
    ],
)
def test_id_09_a_forwarded_certificate_header_has_one_form(behind: Server, element: str) -> None:
    """Duplicate or unknown keys, empty names, quotes that do not close, and more than 16 KiB are refused."""
    edge = url_encoded(behind.leaf(EDGE))
    headers = [("x-forwarded-client-cert", element)]
    asked = Ask(path="/list", certificate=edge, principal=EDGE, headers=headers)
    assert_denied(behind.ask(asked), REFUSED)


def test_id_09_only_a_named_hop_is_believed(behind: Server, server: Server) -> None:
    """Another caller's header is not read, nor anybody's where no hop is configured."""
    headers = [("x-forwarded-client-cert", f"By={EDGE};Hash={H};URI={WEB}")]
    other = "spiffe://shop.example/ns/a/sa/b"
    for where, name in ((behind, other), (server, EDGE), (server, other)):
        ask = Ask(path="/list", certificate=url_encoded(where.leaf(name)), principal=name, headers=headers)
        assert_denied(where.ask(ask), Reason.NO_RULE_ALLOWS)


def test_id_10_what_is_not_one_certificate_is_refused(server: Server) -> None:
    """Bad escapes, two certificates, trailing data, length, broken DER, other blocks, a NUL in the name."""
    good = url_encoded(server.leaf())
    der = server.leaf().public_bytes(Encoding.DER)
    nul = server.leaf(uris(WEB + "\x00.evil"))
    wrong = [
        *(good[:-1], good + "%0", good + "%zz", good * 2, good + "x", good + " " * 20, "x", "%00", "a" * 65_536),
        *(
            good.replace("CERTIFICATE", "PUBLIC%20KEY"),
            quote(der[:-1]),
            quote(pem(server.leaf()).decode().replace("M", "N", 1)),
        ),
        url_encoded(nul),
    ]
    for certificate in wrong:
        assert_denied(server.ask(server.as_web(certificate)), REFUSED)
    assert server.ask(server.as_web(good)).allowed


@pytest.mark.parametrize(("begin", "end"), [(-10, -1), (1, 10)])
def test_id_11_a_leaf_is_good_in_its_time(server: Server, begin: int, end: int) -> None:
    """Also on a connection that was made when it was."""
    start = datetime.now(UTC) + timedelta(minutes=begin)
    leaf = server.leaf(start=start, lifetime=timedelta(minutes=end - begin))
    assert_denied(server.ask(server.as_web(url_encoded(leaf))), REFUSED)


def test_id_12_an_empty_bundle_refuses_the_whole_domain(tmp_path: Path) -> None:
    """Also those who were verified before; other domains are not concerned."""
    server = Server(tmp_path)
    ours, partner = server.as_web(), "spiffe://partner.example/a"
    leaf = url_encoded(server.leaf(partner, authority=server.partner_ca))
    theirs = server.as_web(leaf, principal=partner, path="/public/a")
    assert server.ask(ours).allowed
    server.load(bundles={"shop.example": b""}, generation=2)
    assert_denied(server.ask(ours), REFUSED)
    assert server.ask(theirs).allowed
