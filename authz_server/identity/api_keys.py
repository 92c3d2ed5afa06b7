"""Who the user is by an API key: a name that says whose key it is, and a secret of which only a salted hash is kept.

The secret has 256 random bits, so nobody finds it by trying, however fast the hash is: a slow one, as passwords need,
would protect nothing and make every request pay.
"""

import base64
import hmac
import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b, blake2s
from ipaddress import IPv4Network, IPv6Network, ip_network
from secrets import token_bytes

from msgspec import Struct

from authz_server.errors import Reason, Refused
from authz_server.identity.revocations import Revocations
from authz_server.identity.settings import ApiKeySettings
from authz_server.identity.user import TOKEN_HASH_BYTES, VerifiedToken
from authz_server.model import IpAddress, User

PREFIX = "azk"
"""Every key begins with it, so that whoever looks for leaked secrets finds them."""
SECRET_BYTES, SALT_BYTES, HASH_BYTES, ID_CHARACTERS = 32, 16, 32, 12
MAX_SECRETS = 2
"""The one in use, and while a key is rotated the one before."""
ID_PATTERN = f"[a-z0-9]{{{ID_CHARACTERS}}}"

# 32 bytes in base64url: the last character has two bits that no byte needs.
_KEY = re.compile(rf"{PREFIX}_({ID_PATTERN})_([A-Za-z0-9_-]{{42}}[AEIMQUYcgkosw048])", re.ASCII)


class Secret(Struct, frozen=True):
    """One secret of a key."""

    salt: bytes
    hash: bytes
    """BLAKE2b-256 of the secret with this salt."""
    until: float | None = None
    """When it is replaced; seconds since the epoch, None for the one in use."""


class ApiKey(Struct, frozen=True):
    """A key without its secret."""

    id: str
    owner: str
    created: float
    expires: float
    """Seconds since the epoch."""
    secrets: tuple[Secret, ...]
    scopes: frozenset[str] = frozenset()
    networks: tuple[str, ...] = ()
    """Where it may come from; anywhere if there are none."""
    revoked: bool = False


# What a key that is not there is compared with, so that the answer takes as long.
_NO_SECRET = Secret(bytes(SALT_BYTES), token_bytes(HASH_BYTES))


class ApiKeyVerifier:
    """Verifies keys of one generation of the file. `revocations` name them as they name tokens, the id as `kid`."""

    def __init__(
        self, settings: ApiKeySettings, keys: Iterable[ApiKey], hash_key: bytes, revocations: Revocations | None = None
    ) -> None:
        self.header = settings.header
        self._issuer = settings.name
        self._keys = {key.id: key for key in keys}
        self._networks: Mapping[str, list[IPv4Network | IPv6Network]] = {
            key.id: [ip_network(network) for network in key.networks] for key in self._keys.values()
        }
        self._hash_key = hash_key
        self._revocations = revocations

    def verify(self, shown: str, client: IpAddress | None, now: float) -> VerifiedToken:
        """Whose key it is, shown from this address at the time `now` (seconds since the epoch).

        Raises Refused (`token_invalid`, `token_expired`, `token_revoked`).
        """
        match = _KEY.fullmatch(shown)
        if match is None:
            raise _invalid("it does not have the form of one")
        key = self._keys.get(match[1])
        if not _has_secret(key, match[2], now) or key is None:
            raise _invalid("nobody has it")
        if key.revoked:
            raise Refused(Reason.TOKEN_REVOKED, f"the API key {key.id} is revoked")
        if now >= key.expires:
            raise Refused(Reason.TOKEN_EXPIRED, f"the API key {key.id} has expired")
        networks = self._networks[key.id]
        if networks and client is None:
            raise _invalid(f"{key.id} has networks, and the client's address is not known")
        if networks and not any(client in network for network in networks):
            raise _invalid(f"{key.id} may not come from this address")
        user = self._user(key)
        if self._revocations is not None:
            self._revocations.check_user(user, key.id)
        token_hash = blake2s(shown.encode(), key=self._hash_key, digest_size=TOKEN_HASH_BYTES).hexdigest()
        return VerifiedToken(user, token_hash)

    def _user(self, key: ApiKey) -> User:
        claims = {"sub": key.owner, "scope": " ".join(sorted(key.scopes)), "iat": key.created, "key_id": key.id}
        return User(self._issuer, key.owner, scopes=key.scopes, claims=claims, expires=key.expires)


def make_secret(key_id: str) -> tuple[str, Secret]:
    """A fresh key with this id as its owner shows it, and what is kept of it."""
    secret = base64.urlsafe_b64encode(token_bytes(SECRET_BYTES)).rstrip(b"=").decode()
    salt = token_bytes(SALT_BYTES)
    return f"{PREFIX}_{key_id}_{secret}", Secret(salt, _hash(secret, salt))


def _has_secret(key: ApiKey | None, shown: str, now: float) -> bool:
    """Whether it is one of the key's secrets; takes as long for every key, and where there is none."""
    kept = () if key is None else key.secrets[:MAX_SECRETS]
    good = False
    for secret in (*kept, *[_NO_SECRET] * (MAX_SECRETS - len(kept))):
        equal = hmac.compare_digest(_hash(shown, secret.salt), secret.hash)
        good |= equal and (secret.until is None or now < secret.until)
    return good


def _hash(secret: str, salt: bytes) -> bytes:
    return blake2b(secret.encode(), salt=salt, digest_size=HASH_BYTES).digest()


def _invalid(fault: str) -> Refused:
    return Refused(Reason.TOKEN_INVALID, f"the API key is not acceptable: {fault}")
