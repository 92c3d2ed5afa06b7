"""Where a request shows its JWT-SVID."""

import pytest

from authz_server.errors import Reason, Refused
from authz_server.request.headers import Headers
from authz_server.request.jwt_svid import shown_svid

OWN, SHARED = "x-jwt-svid", "authorization"


@pytest.mark.parametrize(
    ("name", "header", "value", "shown"),
    [
        (OWN, OWN, b"a.b.c", "a.b.c"),
        (OWN, OWN, b"", ""),
        (OWN, OWN, b"Bearer a.b.c", "Bearer a.b.c"),
        (OWN, "X-Jwt-Svid", b"a.b.c", "a.b.c"),
        (OWN, "x_jwt_svid", b"a.b.c", None),
        (OWN, SHARED, b"Bearer a.b.c", None),
        (SHARED, SHARED, b"Bearer a.b.c", "a.b.c"),
        (SHARED, SHARED, b"bearer a.b.c", "a.b.c"),
        (SHARED, SHARED, b"Basic YTpi", None),
        (SHARED, OWN, b"a.b.c", None),
    ],
)
def test_a_token_comes_in_its_header(name: str, header: str, value: bytes, shown: str | None) -> None:
    """An empty header is a bad token, and no absent one."""
    assert shown_svid(Headers.read(((header, value),), joined=False), name) == shown


@pytest.mark.parametrize(
    ("name", "values"),
    [(OWN, [b"a", b"b"]), (OWN, [b"a", b"a"]), (OWN, [b"\xff"]), (SHARED, [b"Bearer"]), (SHARED, [b"DPoP a.b.c"])],
)
def test_what_cannot_be_one_token_is_refused(name: str, values: list[bytes]) -> None:
    """Several are no choice."""
    with pytest.raises(Refused) as refused:
        shown_svid(Headers.read(tuple((name, value) for value in values), joined=False), name)
    assert refused.value.reason is Reason.TOKEN_INVALID
