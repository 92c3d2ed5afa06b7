"""What the kinds of sources have in common."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct

from authz_server.bounds import Bound
from authz_server.policy.bundle import MAX_UNPACKED_BYTES, BundleError, open_bundle
from authz_server.policy.files import MAX_TOTAL_BYTES, POLICIES, PolicyFile

MAX_BUNDLE_BYTES = MAX_TOTAL_BYTES
FETCHED = Bound(
    "fetched policies",
    "server",
    entries=POLICIES.entries,
    bytes=2 * MAX_UNPACKED_BYTES + MAX_BUNDLE_BYTES,
    holds="A bundle and what is in it, from its fetch until its files are on disk.",
    full="What is larger is refused, and the policies of before stay.",
)


class Found(Struct, frozen=True):
    """What a source has now."""

    version: str
    """What the source calls it: an ETag, a digest, a commit."""
    files: tuple[PolicyFile, ...]
    key: str | None
    """Id of the key that vouches for them; None where the source has no signatures."""


class Refused(Exception):
    """What the source has cannot be used: `code` is stable, the text is for people."""

    def __init__(self, code: str, message: str, version: str) -> None:
        super().__init__(message)
        self.code = code
        self.version = version


class Source(Protocol):
    """Where policies come from."""

    async def fetch(self, seen: str | None) -> Found | None:
        """What is there; None where it is still the version `seen`. Raises FetchFailed, Refused."""
        ...


async def opened(content: bytes, keys: Sequence[Ed25519PublicKey], version: str) -> Found:
    """What a bundle holds that one of the keys vouches for. Raises Refused."""
    try:
        bundle = await asyncio.to_thread(open_bundle, content, keys)
    except BundleError as error:
        raise Refused(error.code, f"the bundle cannot be taken: {error}", version) from None
    return Found(version, bundle.files, bundle.key)
