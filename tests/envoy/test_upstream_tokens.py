"""Our own tokens for upstreams, through a real Envoy, verified as a backend does with the keys at the admin address."""

import json
from collections.abc import Mapping
from typing import Any

import jwt
import pytest

from authz_server.dev.waiting import wait_until
from tests.envoy.clients import Ask, Reply, http1
from tests.envoy.identities import WEB
from tests.envoy.stack import EVENT_TIMEOUT_S, Stack, Variant, admin_get
from tests.envoy.traffic import traffic

HEADER, ISSUER = "x-authz-token", "https://authz.shop.example"
POLICIES = {
    "shop/orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - {id: all, effect: allow, from: anyone, to: [{paths: ["/orders/**"]}]}
          - {id: soon, effect: deny, mode: audit, to: [{paths: [/orders/soon]}]}
          - {id: closed, effect: deny, to: [{paths: [/orders/closed]}]}
    """,
    "legacy.yaml": """
        kind: service
        name: legacy
        hosts: [legacy.shop.example]
        mode: audit
        rules:
          - {id: some, effect: allow, from: anyone, to: [{paths: [/some]}]}
    """,
}
VARIANT = Variant(
    {
        "upstream_token": {"issuer": ISSUER, "lifetime": "2s", "keys_max_age": "1s", "rotate": "3s"},
        "policies": {"directory": "policies", "rescan": "100ms"},
    }
)


def keys(stack: Stack) -> dict[str, Any]:
    """The key set that a backend fetches."""
    status, text = admin_get(stack.directory, "/jwks.json")
    assert status == 200
    return dict(json.loads(text))


def verified(token: str, key_set: Mapping[str, Any], audience: str = "shop/orders") -> dict[str, Any]:
    """What a backend learns; raises what PyJWT raises."""
    key = {key.key_id: key for key in jwt.PyJWKSet.from_dict(dict(key_set)).keys}[
        jwt.get_unverified_header(token)["kid"]
    ]
    # The machine may be slow, and the tokens of this test are very short-lived.
    return dict(jwt.decode(token, key, ["ES256"], audience=audience, issuer=ISSUER, leeway=120))


def ask(stack: Stack, target: str, *headers: tuple[str, str], host: str = "orders.shop.example") -> Reply:
    """The answer to the web front."""
    return http1(stack.identities.caller("web"), stack.port, Ask(target=target, authority=host, headers=headers))


def test_a_backend_can_verify_who_calls(stack: Stack) -> None:
    """Workload, user and decision, for this service and request alone, with public keys alone."""
    reply = ask(stack, "/orders/7?all", ("authorization", f"Bearer {stack.token('ann')}"))
    token = reply.json()["headers"][HEADER]
    assert jwt.get_unverified_header(token)["typ"] == "authz+jwt"
    key_set = keys(stack)
    claims = verified(token, key_set)
    assert (claims["sub"], claims["workload"]) == ("corp/ann", WEB)
    assert claims["user"] == {"issuer": "corp", "subject": "ann"}
    assert (claims["method"], claims["path"]) == ("GET", "/orders/7")
    assert claims["exp"] - claims["iat"] == 2
    assert stack.record(decision_id=claims["jti"])["rule"] == "shop/orders/all"
    with pytest.raises(jwt.InvalidAudienceError):
        verified(token, key_set, "legacy")
    assert not any("d" in key for key in key_set["keys"])


@pytest.mark.parametrize("forged", [[(HEADER, "forged")], [(HEADER, "a"), (HEADER.title(), "b")], [(HEADER, "")]])
def test_the_copy_of_a_client_is_replaced(stack: Stack, forged: list[tuple[str, str]]) -> None:
    """One header with one token arrives: ours."""
    claims = verified(ask(stack, "/orders/7", *forged).json()["headers"][HEADER], keys(stack))
    assert claims["sub"] == WEB


def test_a_request_that_no_rule_allowed_carries_none(stack: Stack) -> None:
    """Denied it arrives nowhere; let through by a service in audit it has neither our token nor the client's."""
    before = len(stack.http.seen())
    assert ask(stack, "/orders/closed", (HEADER, "forged")).status == 403
    assert len(stack.http.seen()) == before
    seen = ask(stack, "/other", (HEADER, "forged"), host="legacy.shop.example")
    assert (seen.status, HEADER in seen.json()["headers"]) == (200, False)
    allowed = ask(stack, "/some", (HEADER, "forged"), host="legacy.shop.example").json()["headers"][HEADER]
    assert verified(allowed, keys(stack), "legacy")["aud"] == "legacy"


def test_a_rule_in_audit_takes_no_token_away(stack: Stack) -> None:
    """A rule has allowed: what would be denied later is a whole request until then."""
    claims = verified(ask(stack, "/orders/soon").json()["headers"][HEADER], keys(stack))
    assert stack.record(decision_id=claims["jti"])["would_deny"] is True


def test_keys_rotate_and_no_token_is_without_its_key(stack: Stack) -> None:
    """Backends that keep the key set for as long as it says have the key of every token that arrives."""
    seen_before, names, kept = len(stack.http.seen()), set[str](), keys(stack)
    with traffic(stack.identities.caller("web"), stack.port, Ask(target="/orders/7")) as running:

        def two_rotations() -> bool:
            # What was fetched before the tokens were signed must do.
            nonlocal kept, seen_before
            seen = stack.http.seen()
            for each in seen[seen_before:]:
                names.add(jwt.get_unverified_header(each.headers[HEADER])["kid"])
                verified(each.headers[HEADER], kept)
            seen_before, kept = len(seen), keys(stack)
            return len(names) >= 3

        wait_until(two_rotations, EVENT_TIMEOUT_S, "two rotations")
    assert not running.failures()
    assert set(running.statuses()) == {200}


def test_secrets_stay_where_they_are(stack: Stack) -> None:
    """The private keys are in one file, for its owner alone; neither keys nor tokens are in logs and records."""
    file = stack.directory / "state" / "upstream-keys.json"
    assert file.stat().st_mode & 0o777 == 0o600
    private = [key["d"] for key in json.loads(file.read_text())["keys"]]
    token = ask(stack, "/orders/7").json()["headers"][HEADER]
    told = stack.log() + json.dumps(stack.records()) + json.dumps(stack.accesses())
    assert not [secret for secret in [*private, token] if secret in told]
