"""A bundle of policies at a URL."""

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from authz_server.control.fetching import FetchFailed
from authz_server.control.sources.source import MAX_BUNDLE_BYTES, Found, Refused, opened
from authz_server.control.sources.web import Web, read_secret

_ETAG_MARKS = ('"', 'W/"')
_MAX_ETAG = 256


class HttpBundle:
    """Asks with the ETag of what it has seen; of a server without ETags it compares the contents."""

    def __init__(self, web: Web, url: str, keys: Sequence[Ed25519PublicKey], token_file: Path | None) -> None:
        self._web = web
        self._url = url
        self._keys = keys
        self._token_file = token_file
        self._refused: str | None = None
        """A version that could not be taken. An ETag proves nothing: the content may have been damaged on its way."""

    async def fetch(self, seen: str | None) -> Found | None:
        """What is there; None where it is still the version `seen`. Raises FetchFailed, Refused."""
        known = None if seen == self._refused else seen
        asked = {"if-none-match": known} if known is not None and known.startswith(_ETAG_MARKS) else {}
        token = None if self._token_file is None else await asyncio.to_thread(read_secret, self._token_file)
        answer = await self._web.ask(
            "GET",
            self._url,
            {"accept": "application/gzip, */*;q=0.1", **asked},
            max_bytes=MAX_BUNDLE_BYTES,
            authorization=None if token is None else f"Bearer {token}",
        )
        if answer.status == 304 and asked:
            return None
        if answer.status != 200:
            raise FetchFailed(f"{answer.host}: the answer has status {answer.status}")
        version = _etag(answer.headers.get("etag", "")) or f"sha256:{sha256(answer.body).hexdigest()}"
        if version == known and not asked:
            return None
        try:
            found = await opened(answer.body, self._keys, version)
        except Refused:
            self._refused = version
            raise
        self._refused = None
        return found


def _etag(text: str) -> str | None:
    """RFC 9110 section 8.8.3; None for what cannot be sent back as it is."""
    usable = text.startswith(_ETAG_MARKS) and text.endswith('"') and text.isascii() and text.isprintable()
    return text if usable and len(text) <= _MAX_ETAG else None
