"""The DPoP proof of a request, and the request that a proof is for."""

from typing import Literal

import pytest

from authz_server.errors import Reason, Refused
from authz_server.request.dpop import check_target, shown_proof
from authz_server.request.headers import Headers
from authz_server.request.operation import canonical_operation
from tests.builders import request


def test_one_header_holds_the_proof() -> None:
    """RFC 9449 section 4.1."""
    assert shown_proof(Headers.read((("dpop", b"a.b.c"),), joined=False)) == "a.b.c"


@pytest.mark.parametrize("values", [[], [b"a.b.c", b"a.b.c"], [b"a", b"b", b"c"], [b"\xff"]])
def test_none_several_and_what_is_no_text_are_refused(values: list[bytes]) -> None:
    """Section 4.3, 1."""
    headers = Headers.read(tuple([("dpop", value) for value in values]), joined=False)
    with pytest.raises(Refused) as refused:
        shown_proof(headers)
    assert refused.value.reason is Reason.PROOF_INVALID


Scheme = Literal["https", "http"]
SAME: list[tuple[str, str, str, Scheme]] = [
    ("https://orders.shop.example/a/b", "orders.shop.example", "/a/b", "https"),
    ("https://orders.shop.example/a/b?x=1#y", "orders.shop.example", "/a/b?z=2", "https"),
    ("https://orders.shop.example/a#?", "orders.shop.example", "/a", "https"),
    ("HTTPS://Orders.Shop.Example/a", "orders.shop.example", "/a", "https"),
    ("https://orders.shop.example./a", "ORDERS.shop.example", "/a", "https"),
    ("https://orders.shop.example:443/a", "orders.shop.example", "/a", "https"),
    ("https://orders.shop.example/a", "orders.shop.example:443", "/a", "https"),
    ("https://orders.shop.example:/a", "orders.shop.example", "/a", "https"),
    ("https://orders.shop.example:8443/a", "orders.shop.example:8443", "/a", "https"),
    ("http://orders.shop.example:80/a", "orders.shop.example", "/a", "http"),
    ("https://orders.shop.example", "orders.shop.example", "/", "https"),
    ("https://orders.shop.example?x", "orders.shop.example", "/", "https"),
    ("https://orders.shop.example/%7ea%c3%a9", "orders.shop.example", "/~a%C3%A9", "https"),
    ("https://orders.shop.example/a/", "orders.shop.example", "/a/", "https"),
    ("https://[2001:DB8:0::1]/a", "[2001:db8::1]", "/a", "https"),
]


@pytest.mark.parametrize(("uri", "host", "target", "scheme"), SAME)
def test_two_texts_of_one_url_are_the_same(uri: str, host: str, target: str, scheme: Scheme) -> None:
    """RFC 3986 sections 6.2.2 and 6.2.3; query and fragment do not count."""
    check_target("GET", uri, canonical_operation(request(path=target, host=host)), scheme)


def test_a_path_with_several_readings_is_the_same_as_its_own_text_alone() -> None:
    """Whichever of them a lenient service's backend takes."""
    for target in ("/a//b", "/a;x/b", "/a/../b", "/a%2Fb", "/a\\b"):
        asked = canonical_operation(request(path=target), lenient=True)
        check_target("GET", f"https://orders.shop.example{target}", asked, "https")
        for other in ("/a/b", "/b", "/a", "/a%2fb", "/a%252Fb", "/a%5Cb"):
            with pytest.raises(Refused):
                check_target("GET", f"https://orders.shop.example{other}", asked, "https")


HERE = "https://orders.shop.example/a"
OTHER: list[tuple[str, str, Scheme]] = [
    ("POST", HERE, "https"),
    ("get", HERE, "https"),
    ("GET ", HERE, "https"),
    ("GET", HERE, "http"),
    ("GET", "http://orders.shop.example/a", "https"),
    ("GET", "http://orders.shop.example:443/a", "https"),
    ("GET", "https://billing.shop.example/a", "https"),
    ("GET", "https://orders.shop.example.evil.example/a", "https"),
    ("GET", "https://orders.shop.example:8443/a", "https"),
    ("GET", "https://orders.shop.example:80/a", "https"),
    ("GET", "https://orders.shop.example@evil.example/a", "https"),
    ("GET", "https://evil@orders.shop.example/a", "https"),
    ("GET", "https://orders.shop.example:0443/a", "https"),
    ("GET", "https://orders.shop.example/", "https"),
    ("GET", "https://orders.shop.example", "https"),
    ("GET", "https://orders.shop.example/a/", "https"),
    ("GET", "https://orders.shop.example/A", "https"),
    ("GET", "https://orders.shop.example/a%2Fb", "https"),
    ("GET", "https://orders.shop.example/x/../a", "https"),
    ("GET", "https://orders.shop.example//a", "https"),
    ("GET", "https://orders.shop.example/a;b", "https"),
    ("GET", "https://orders.shop.example/a\n", "https"),
    ("GET", "https://orders.shop.example\\a", "https"),
    ("GET", " https://orders.shop.example/a", "https"),
    ("GET", "https:///a", "https"),
    ("GET", "https:/orders.shop.example/a", "https"),
    ("GET", "//orders.shop.example/a", "https"),
    ("GET", "/a", "https"),
    ("GET", "", "https"),
]


@pytest.mark.parametrize(("method", "uri", "scheme"), OTHER)
def test_a_proof_for_another_request_is_refused(method: str, uri: str, scheme: Scheme) -> None:
    """Another method, scheme, host, port or path; and what is no URL."""
    with pytest.raises(Refused) as refused:
        check_target(method, uri, canonical_operation(request(path="/a?x=1")), scheme)
    assert refused.value.reason is Reason.PROOF_INVALID
    assert "example" not in refused.value.detail
