"""Our own tokens for upstreams: what they say, and that others can verify them."""

import jwt
import pytest
from msgspec.structs import replace

from authz_server.errors import Reason, Refused
from authz_server.identity.settings import UpstreamTokens
from authz_server.identity.signing_keys import Rotation, public_document, rotated
from authz_server.identity.spiffe import parse_spiffe_id
from authz_server.identity.upstream_token import MAX_BYTES, UpstreamTokenSigner
from authz_server.model import Actor, UpstreamToken, User, Workload
from tests.unit.identity.tokens import NOW

ISSUER, WEB = "https://authz.shop.example", "spiffe://shop.example/ns/front/sa/web"
ROTATE_S = 100.0
KEYS = rotated((), NOW, Rotation(ROTATE_S, 100.0))
SIGNER = UpstreamTokenSigner(UpstreamTokens("x-authz-token", ISSUER, 30), KEYS)
WORKLOAD = Workload(parse_spiffe_id(WEB), None)
ANN = User("corp", "ann", scopes=frozenset({"orders:read"}), claims={"email": "ann@shop.example"})
ID = "019ab000-0000-7000-8000-000000000001"


def signed(
    workload: Workload | None = None, user: User | None = None, path: str = "/orders/7", now: float = NOW
) -> UpstreamToken:
    """A token about a request."""
    return SIGNER.sign(ID, "shop/orders", workload, user, "GET", path, now)


def claims(token: UpstreamToken) -> dict[str, object]:
    """What a backend learns whose clock stands still."""
    keys = jwt.PyJWKSet.from_json(public_document(KEYS).decode())
    key = keys[jwt.get_unverified_header(token.value)["kid"]]
    frozen = jwt.PyJWT(options={"verify_exp": False, "verify_iat": False})
    return dict(frozen.decode(token.value, key, ["ES256"], audience="shop/orders", issuer=ISSUER))


ALWAYS = {"iss": ISSUER, "aud": "shop/orders", "iat": int(NOW), "exp": int(NOW) + 30, "jti": ID}
REQUEST = {"method": "GET", "path": "/orders/7"}
USER = {"issuer": "corp", "subject": "ann"}


@pytest.mark.parametrize(
    ("workload", "user", "said"),
    [
        (None, None, {}),
        (WORKLOAD, None, {"sub": WEB, "workload": WEB}),
        (None, ANN, {"sub": "corp/ann", "user": USER}),
        (WORKLOAD, ANN, {"sub": "corp/ann", "workload": WEB, "user": USER}),
        (None, replace(ANN, actor=Actor("batch")), {"sub": "corp/ann", "user": USER, "actor": "batch"}),
    ],
    ids=["nobody", "a workload", "a user", "both", "somebody for a user"],
)
def test_it_says_who_calls_and_about_which_request(
    workload: Workload | None, user: User | None, said: dict[str, object]
) -> None:
    """And nothing more of the user than who it is."""
    assert claims(signed(workload, user)) == ALWAYS | said | REQUEST


def test_its_header_says_what_it_is() -> None:
    """RFC 8725 section 3.11: nobody takes it for an access token."""
    header = jwt.get_unverified_header(signed().value)
    assert header == {"alg": "ES256", "typ": "authz+jwt", "kid": KEYS[0].kid}


def test_every_signature_has_its_full_length() -> None:
    """RFC 7518 section 3.4: two numbers of 32 bytes each, small ones too."""
    for _ in range(600):
        assert len(signed().value.rpartition(".")[2]) == 86


def test_the_next_key_signs_from_its_moment_on() -> None:
    """By the time of the request, whatever the control process does meanwhile."""
    kids = [jwt.get_unverified_header(signed(now=NOW + s).value)["kid"] for s in (0, ROTATE_S - 0.001, ROTATE_S, 1e6)]
    assert kids == [KEYS[0].kid, KEYS[0].kid, KEYS[1].kid, KEYS[1].kid]
    assert jwt.get_unverified_header(signed(now=0).value)["kid"] == KEYS[0].kid


@pytest.mark.parametrize("text", ["ann\r\nx-admin: yes", "ä\u2028", '"}', "\u202e", "a" * 2000])
def test_no_text_breaks_out_of_it(text: str) -> None:
    """A header's value is base64url and dots, whatever a subject or a path holds."""
    token = signed(user=User("corp", text), path=f"/{text}")
    assert set(token.value) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert claims(token)["user"] == {"issuer": "corp", "subject": text}


def test_one_that_no_header_could_hold_is_a_failure() -> None:
    """Then the request is denied: without its token it would be somebody's without a name."""
    with pytest.raises(Refused) as refused:
        signed(path="/" + "a" * MAX_BYTES)
    assert refused.value.reason is Reason.INTERNAL_ERROR


def test_without_a_key_there_is_no_signer() -> None:
    """A snapshot that could sign nothing is not activated."""
    with pytest.raises(ValueError, match="no keys"):
        UpstreamTokenSigner(UpstreamTokens("x-authz-token", ISSUER), ())


def test_a_token_does_not_show_itself() -> None:
    """Whoever has seen it can show it."""
    token = signed()
    assert token.value not in repr(token)
