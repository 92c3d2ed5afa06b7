"""Canonical methods."""

import pytest

from authz_server.errors import Reason, Refused
from authz_server.request.method import canonical_method


@pytest.mark.parametrize("text", ["GET", "POST", "CONNECT", "M-SEARCH", "X_1!#$%&'*+.^`|~", "PROPFIND"])
def test_an_upper_case_token_is_a_method(text: str) -> None:
    """METH-01: methods are taken as they are."""
    assert canonical_method(text) == text


@pytest.mark.parametrize(
    "text", ["", "get", "Get", "GET ", " GET", "GET\n", "GE T", "GET,POST", "GET/", "GÉT", "GET\x00", "G:T", "K\u212a"]
)
def test_anything_else_is_refused(text: str) -> None:
    """METH-01: a lower-case method is denied, and so is what is no token."""
    with pytest.raises(Refused) as refused:
        canonical_method(text)
    assert refused.value.reason is Reason.BAD_METHOD
