"""A small OCI registry, for tests."""

import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.unit.control.issuer_server import Answer, answer
from tests.unit.control.sources.bundles import FileServer, bundle_of

REPOSITORY = "policies/shop"
BASIC = "Basic " + b64encode(b"ann:secret").decode()
TOKEN_SCOPE = f"repository:{REPOSITORY}:pull"


def digest_of(content: bytes) -> str:
    """As registries write it."""
    return f"sha256:{sha256(content).hexdigest()}"


class Registry(FileServer):
    """Has one repository with the tag `stable`; `wants` is what has to be shown to read it."""

    def __init__(self) -> None:
        super().__init__()
        self.wants: str | None = None
        self.challenge = ""
        self.tells_digests = True

    @property
    def image(self) -> str:
        """The reference by its tag."""
        return f"{self.host}/{REPOSITORY}:stable"

    def push(self, files: dict[str, str], **manifest: object) -> str:
        """Let the tag be a bundle of these files; returns the digest of its manifest."""
        return self.push_layer(bundle_of(files), **manifest)

    def push_layer(self, content: bytes, **manifest: object) -> str:
        """Let the tag be an image with this layer; `manifest` are other fields of its manifest."""
        layer = {"mediaType": "application/x", "digest": digest_of(content), "size": len(content)}
        document: dict[str, Any] = {"schemaVersion": 2, "config": {}, "layers": [layer], **manifest}
        encoded = json.dumps(document).encode()
        digest = digest_of(encoded)
        told = {"docker_content_digest": digest} if self.tells_digests else {}
        for reference in ("stable", digest):
            self.answers[f"/v2/{REPOSITORY}/manifests/{reference}"] = self._guarded(answer(encoded, 200, **told))
        self.answers[f"/v2/{REPOSITORY}/blobs/{digest_of(content)}"] = self._guarded(answer(content))
        return digest

    def gives_tokens(self, token: str, path: str = "/token", name: str = "token") -> Answer:
        """Answers at this path with a token for the scope of the repository, to whom the password is known."""

        def reply(request: BaseHTTPRequestHandler) -> None:
            query = parse_qs(urlsplit(request.path).query)
            right = query == {"scope": [TOKEN_SCOPE], "service": ["here"]}
            known = request.headers.get("authorization") in (BASIC, None)
            given = json.dumps({name: token, "expires_in": 60}).encode()
            answer(given, 200 if right and known else 403)(request)

        self.answers[path] = reply
        return reply

    def methods(self) -> list[str]:
        """What was asked, shortly: method and kind of thing."""
        kinds = {"manifests": "manifest", "blobs": "blob"}
        return [f"{method} {kinds.get(path.split('/')[-2], path.partition('?')[0])}" for method, path, _ in self.asked]

    def _guarded(self, reply: Answer) -> Answer:
        def guard(request: BaseHTTPRequestHandler) -> None:
            if self.wants is not None and request.headers.get("authorization") != self.wants:
                answer(b"", 401, www_authenticate=self.challenge)(request)
            else:
                reply(request)

        return guard


@contextmanager
def registry_server() -> Iterator[Registry]:
    """A running registry."""
    registry = Registry()
    try:
        yield registry
    finally:
        registry.stop()
