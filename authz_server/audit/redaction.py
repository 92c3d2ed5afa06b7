"""Keeps secrets out of records: a value marked secret is replaced by its keyed hash.

Equal values have equal hashes, so that a decision can still be explained, and nobody without the key can try values.
"""

import hmac
import json
from collections.abc import Iterable, Mapping
from typing import Any

from authz_server.bounds import KIB, MIB, Bound, Room

# Credentials, whatever the configuration says.
ALWAYS_SECRET = (
    "request.headers[authorization]",
    "request.headers[proxy-authorization]",
    "request.headers[cookie]",
    "request.headers[dpop]",
    "request.query[access_token]",
)
NAMES = Bound(
    "names of inputs",
    "worker",
    entries=10_000,
    bytes=4 * MIB,
    holds="Whether an input of policies can hold what is secret.",
    full="All are forgotten, and found out again.",
    kept_in=("Redaction._concerned",),
)
_ENTRY_BYTES = KIB // 4


class Redaction:
    """Replaces the values of the inputs that are secret.

    Names are those of a decision's `inputs`, such as `user.claims.email` or `request.headers[x-key]`. A name covers
    everything below it, `user.claims[*]` every claim, and a header's name its list of values too.
    """

    def __init__(self, secrets: Iterable[str], key: bytes) -> None:
        """`key` is that of the keyed hash, HMAC-SHA-256. Raises ValueError where it is empty."""
        if not key:
            raise ValueError("the key for hashing secret values is empty")
        self._key = key
        self._secrets = frozenset(_canonical(name) for name in (*ALWAYS_SECRET, *secrets))
        self._below = tuple(f"{name.removesuffix('.*')}." for name in self._secrets)
        self._concerned: dict[str, bool] = {}
        self._room = Room(NAMES)

    def __call__(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The inputs with each secret value as its keyed hash; the same object where there is none."""
        concerned = self._concerned
        for name in inputs:
            known = concerned.get(name)
            if known or (known is None and self._is_concerned(name)):
                return {name: self._redacted(_canonical(name), value) for name, value in inputs.items()}
        return inputs

    def _is_concerned(self, name: str) -> bool:
        """Whether the value of `name` is secret, or could have something secret inside."""
        canonical = _canonical(name)
        inside = f"{canonical.removesuffix('.*')}."
        answer = self._is_secret(canonical) or any(secret.startswith(inside) for secret in self._secrets)
        # The names come from the policies; over many reloads there could be any number of them.
        if self._room.is_full_for(_ENTRY_BYTES + len(name)):
            self._concerned.clear()
        self._concerned[name] = answer
        return answer

    def _is_secret(self, canonical: str) -> bool:
        return canonical in self._secrets or canonical.startswith(self._below)

    def _redacted(self, canonical: str, value: object) -> object:
        if value is None:
            return None
        if self._is_secret(canonical):
            return self._keyed_hash(value)
        if isinstance(value, Mapping):
            outer = canonical.removesuffix(".*")
            return {key: self._redacted(f"{outer}.{key}", inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._redacted(canonical, inner) for inner in value]
        return value

    def _keyed_hash(self, value: object) -> str:
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=repr)
        digest = hmac.digest(self._key, text.encode("utf-8", "backslashreplace"), "sha256")
        return f"keyed-hash:{digest.hex()[:32]}"


def _canonical(name: str) -> str:
    """One spelling: `request.header_values[X-Key]` is `request.headers.x-key`, `user.claims[*]` is `user.claims.*`."""
    dotted = name.replace("[", ".").replace("]", "").replace("request.header_values.", "request.headers.", 1)
    return dotted.lower() if dotted.startswith("request.headers.") else dotted
