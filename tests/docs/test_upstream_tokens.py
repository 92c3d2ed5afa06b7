"""The example of a backend that verifies our tokens does so."""

import time

import jwt
import msgspec
import pytest

from authz_server.control.admin import PublishedKeys, admin_app
from authz_server.control.readiness import Policies, Workers, readiness
from authz_server.dev.serving import serving
from authz_server.identity.settings import UpstreamTokens
from authz_server.identity.signing_keys import Rotation, public_document, rotated
from authz_server.identity.spiffe import parse_spiffe_id
from authz_server.identity.upstream_token import UpstreamTokenSigner
from authz_server.model import User, Workload
from tests.docs.markdown import ROOT, blocks_of

BLOCKS = blocks_of(ROOT / "docs/upstream-tokens.md")
KEYS = rotated((), 0.0, Rotation(1e12, 1e12))
SIGNER = UpstreamTokenSigner(UpstreamTokens("x-authz-token", "https://authz.shop.example"), KEYS)
WORKLOAD = Workload(parse_spiffe_id("spiffe://shop.example/ns/front/sa/web"), None)


def token(service: str = "shop/orders", now: float | None = None) -> str:
    """A token like that of the page."""
    identifier = "019ab000-0000-7000-8000-000000000001"
    about = (identifier, service, WORKLOAD, User("corp", "ann"), "GET", "/orders/c7-1")
    return SIGNER.sign(*about, time.time() if now is None else now).value


def test_the_example_verifies_and_the_claims_are_those_of_the_page() -> None:
    """With the keys of the admin address; for another service, too old, or of another kind it takes none."""
    [code] = [block.text for block in BLOCKS if block.language == "python"]
    [shown] = [msgspec.json.decode(block.text) for block in BLOCKS if block.language == "json"]
    published = PublishedKeys(lambda: public_document(KEYS), 300.0)
    app = admin_app(lambda: readiness(Policies(None, 0), Workers(0, 0), {}, [], draining=False), lambda: b"", published)
    with serving(app) as port:
        backend: dict[str, object] = {}
        exec(code.replace("authz.internal:9090", f"127.0.0.1:{port}"), backend)  # noqa: S102 - the page's own example
        caller = backend["caller"]
        assert callable(caller)
        claims = caller(token())
        assert {**claims, "iat": 0, "exp": 0} == {**shown, "iat": 0, "exp": 0}
        wrong = {**claims, "aud": "shop/orders"}
        for bad in (
            token("shop/other"),
            token(now=time.time() - 300),
            jwt.encode(wrong, KEYS[0].private, "ES256", headers={"kid": KEYS[0].kid}),
        ):
            with pytest.raises(jwt.PyJWTError):
                caller(bad)
