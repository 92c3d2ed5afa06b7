"""A bundle of policies that an OCI registry has: the only layer of an image or artifact."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct

from authz_server.control.fetching import FetchFailed
from authz_server.control.settings.images import Image
from authz_server.control.sources.oci_login import Login
from authz_server.control.sources.source import MAX_BUNDLE_BYTES, Found, Refused, opened
from authz_server.control.sources.web import Answer, Web
from authz_server.documents.source import printable

_MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
_MAX_MANIFEST_BYTES = 1024 * 1024
_WORDS = {401: "the credentials are not taken", 403: "the credentials are not enough", 404: "there is no such image"}


class Layer(Struct, frozen=True):
    """What an image is made of, of which we look at this alone."""

    digest: str
    size: int


class Manifest(Struct, frozen=True):
    """OCI image manifest specification; fields that we have no use for are left alone."""

    layers: list[Layer] = []


class OciBundle:
    """Asks for the digest first. Whatever comes must have the digest that it was asked by."""

    def __init__(self, web: Web, image: Image, keys: Sequence[Ed25519PublicKey], login: Login) -> None:
        self._web = web
        self._image = image
        self._keys = keys
        self._login = login

    async def fetch(self, seen: str | None) -> Found | None:
        """What is there; None where it is still the version `seen`. Raises FetchFailed, Refused."""
        digest = self._image.reference if self._image.pinned else await self._digest()
        if digest is not None and digest == seen:
            return None
        answer = await self._ask("GET", f"manifests/{digest or self._image.reference}", _MANIFESTS, _MAX_MANIFEST_BYTES)
        if digest is not None:
            _check_digest(answer, digest)
        digest = f"sha256:{sha256(answer.body).hexdigest()}"
        if digest == seen:
            return None
        layer = _layer(answer.body, digest)
        answer = await self._ask("GET", f"blobs/{layer.digest}", "*/*", layer.size)
        _check_digest(answer, layer.digest)
        return await opened(answer.body, self._keys, digest)

    async def _digest(self) -> str | None:
        """Of what has the tag now; None where the registry does not say."""
        answer = await self._ask("HEAD", f"manifests/{self._image.reference}", _MANIFESTS, 0)
        digest = answer.headers.get("docker-content-digest", "")
        return digest if _is_digest(digest) else None

    async def _ask(self, method: Literal["GET", "HEAD"], path: str, accept: str, max_bytes: int) -> Answer:
        url, headers = f"{self._image.url}/v2/{self._image.repository}/{path}", {"accept": accept}
        for attempt in range(2):
            authorization = self._login.authorization
            answer = await self._web.ask(method, url, headers, max_bytes=max_bytes, authorization=authorization)
            # Somebody to whom we were redirected may ask for nothing.
            if answer.status != 401 or attempt or answer.host != self._image.registry:
                break
            await self._login.renew(answer.headers.get("www-authenticate", ""))
        if answer.status != 200:
            raise FetchFailed(f"{answer.host}: {_WORDS.get(answer.status, f'the answer has status {answer.status}')}")
        return answer


def _check_digest(answer: Answer, digest: str) -> None:
    if f"sha256:{sha256(answer.body).hexdigest()}" != digest:
        raise FetchFailed(f"{answer.host}: what came has not the digest {digest} that it was asked by")


def _layer(manifest: bytes, version: str) -> Layer:
    try:
        layers = msgspec.json.decode(manifest, type=Manifest).layers
    except msgspec.DecodeError as error:
        raise _unusable(f"its manifest cannot be read: {printable(str(error))}", version) from None
    if len(layers) != 1:
        raise _unusable(f"its manifest has {len(layers)} layers, and a bundle is one", version)
    [layer] = layers
    if not _is_digest(layer.digest):
        raise _unusable("the digest of its layer is none of SHA-256", version)
    if not 0 < layer.size <= MAX_BUNDLE_BYTES:
        raise _unusable(f"its layer has {layer.size:,} bytes, and a bundle at most {MAX_BUNDLE_BYTES:,}", version)
    return layer


def _is_digest(text: str) -> bool:
    algorithm, _, value = text.partition(":")
    return algorithm == "sha256" and len(value) == 64 and not set(value) - set("0123456789abcdef")


def _unusable(message: str, version: str) -> Refused:
    return Refused("oci_unusable_manifest", f"the image is no bundle: {message}", version)
