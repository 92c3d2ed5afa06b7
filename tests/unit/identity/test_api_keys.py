"""Users by their API keys: the whole verification."""

from ipaddress import ip_address

import msgspec
import pytest

from authz_server.errors import Reason, Refused
from authz_server.identity.api_keys import MAX_SECRETS, ApiKey, ApiKeyVerifier, Secret, make_secret
from authz_server.identity.revocations import IssuerRevocations, Revocations
from authz_server.identity.settings import ApiKeySettings
from authz_server.model import IpAddress

NOW = 1_772_442_000.0
ID = "k3v9x0q2m7ab"
SETTINGS = ApiKeySettings("api-keys", "x-api-key")
INSIDE, OUTSIDE = ip_address("10.1.2.3"), ip_address("192.0.2.7")


def made(**fields: object) -> tuple[str, ApiKey]:
    """A good key and its text; `fields` replace some."""
    text, secret = make_secret(ID)
    key = ApiKey(ID, "nightly", NOW - 60, NOW + 60, (secret,), frozenset({"orders:read"}))
    return text, msgspec.structs.replace(key, **fields)


def verifier(*keys: ApiKey, revocations: Revocations | None = None) -> ApiKeyVerifier:
    """A verifier of these keys."""
    return ApiKeyVerifier(SETTINGS, keys, b"k" * 32, revocations)


def refusal(made_verifier: ApiKeyVerifier, text: str, client: IpAddress | None = INSIDE, now: float = NOW) -> Reason:
    """Why the key is refused; the details tell nothing of its secret."""
    with pytest.raises(Refused) as refused:
        made_verifier.verify(text, client, now)
    assert not text or text[-20:] not in refused.value.detail
    return refused.value.reason


def test_a_good_key_names_its_owner() -> None:
    """By the configured name, with its scopes, and with what rules and revocations may ask."""
    text, key = made()
    token = verifier(key).verify(text, None, NOW)
    user = token.user
    assert (user.issuer, user.subject, user.scopes, user.expires) == ("api-keys", "nightly", key.scopes, NOW + 60)
    assert user.claims == {"sub": "nightly", "scope": "orders:read", "iat": NOW - 60, "key_id": ID}
    assert not user.bound
    assert len(token.token_hash) == 32
    assert token.token_hash not in text


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1] + ("A" if text[-1] != "A" else "E"),
        lambda text: text.replace(ID, "a" * 12),
        lambda text: text.upper(),
        lambda text: text[:-1],
        lambda text: text + "A",
        lambda text: text + "\n",
        lambda text: f" {text}",
        lambda text: text.replace("azk_", "azk-", 1),
        lambda _text: "",
        lambda _text: "azk_",
        lambda _text: "\N{KELVIN SIGN}" * 60,
        lambda _text: "x" * 100_000,
        # The last character has two bits that stand for nothing.
        lambda text: text[:-1] + chr(ord(text[-1]) + 1) if text[-1] in "AEIMQUYcgkosw048" else text,
    ],
)
def test_what_is_no_key_of_anybody_is_refused(change: object) -> None:
    """One changed character is enough."""
    text, key = made()
    assert callable(change)
    assert refusal(verifier(key), change(text)) is Reason.TOKEN_INVALID


def test_the_secret_of_one_key_is_none_of_another() -> None:
    """Each has a salt and a secret of its own."""
    text, key = made()
    _, secret = make_secret("b" * 12)
    other = ApiKey("b" * 12, "other", NOW, NOW + 60, (secret,))
    assert refusal(verifier(key, other), text.replace(ID, "b" * 12)) is Reason.TOKEN_INVALID
    assert len({make_secret(ID)[1].salt for _ in range(50)}) == 50


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"expires": NOW}, Reason.TOKEN_EXPIRED),
        ({"revoked": True}, Reason.TOKEN_REVOKED),
        ({"networks": ("192.0.2.0/24", "2001:db8::/32")}, Reason.TOKEN_INVALID),
    ],
)
def test_a_good_secret_is_not_enough(fields: dict[str, object], reason: Reason) -> None:
    """The key must be in force, and come from where it may; without the secret nobody learns which it was."""
    text, key = made(**fields)
    assert refusal(verifier(key), text) is reason
    wrong = text[:-10] + "AAAAAAAAAA"
    assert refusal(verifier(key), wrong) is Reason.TOKEN_INVALID


def test_a_key_comes_from_its_networks_alone() -> None:
    """An address that is unknown is in none of them."""
    text, key = made(networks=("192.0.2.0/24", "2001:db8::/32"))
    for good in (OUTSIDE, ip_address("2001:db8::1")):
        assert verifier(key).verify(text, good, NOW).user.subject == "nightly"
    assert refusal(verifier(key), text, None) is Reason.TOKEN_INVALID


def test_while_a_key_is_rotated_both_secrets_are_good() -> None:
    """The one before until its time, the one in use also later."""
    before, old = make_secret(ID)
    after, new = make_secret(ID)
    _, key = made(secrets=(new, msgspec.structs.replace(old, until=NOW + 10)))
    for text in (before, after):
        assert verifier(key).verify(text, None, NOW + 9).user.subject == "nightly"
    assert refusal(verifier(key), before, now=NOW + 10) is Reason.TOKEN_INVALID
    assert verifier(key).verify(after, None, NOW + 10).user.subject == "nightly"


def test_every_answer_takes_as_many_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether there is such a key, with how many secrets, and which of them it was, nobody can measure."""
    compared: list[int] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared[-1] += 1
        return one == other

    monkeypatch.setattr("authz_server.identity.api_keys.hmac.compare_digest", compare)
    text, key = made()
    _, old = make_secret(ID)
    rotated = msgspec.structs.replace(key, secrets=(*key.secrets, msgspec.structs.replace(old, until=NOW + 1)))
    for kept, shown in ((key, text), (rotated, text), (key, make_secret(ID)[0]), (key, make_secret("z" * 12)[0])):
        compared.append(0)
        if kept.id in shown and shown == text:
            verifier(kept).verify(shown, None, NOW)
        else:
            refusal(verifier(kept), shown)
    assert compared == [MAX_SECRETS] * 4


@pytest.mark.parametrize(
    "revoked",
    [
        IssuerRevocations(keys=frozenset({ID})),
        IssuerRevocations(subjects={"nightly": float("inf")}),
        IssuerRevocations(before=NOW),
    ],
)
def test_revocations_name_keys_as_they_name_tokens(revoked: IssuerRevocations) -> None:
    """By the key's id, its owner, and the time at which it was made."""
    text, key = made()
    revocations = Revocations(issuers={"api-keys": revoked})
    assert refusal(verifier(key, revocations=revocations), text) is Reason.TOKEN_REVOKED
    others = Revocations(issuers={"corp": revoked})
    assert verifier(key, revocations=others).verify(text, None, NOW).user.subject == "nightly"


def test_more_secrets_than_two_are_never_looked_at() -> None:
    """The work is bounded, whatever a file says."""
    texts = [make_secret(ID) for _ in range(3)]
    _, key = made(secrets=tuple(Secret(secret.salt, secret.hash) for _, secret in texts))
    assert refusal(verifier(key), texts[2][0]) is Reason.TOKEN_INVALID
