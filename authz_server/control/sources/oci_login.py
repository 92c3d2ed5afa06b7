"""What a registry wants to be shown: a token for one repository, or a password."""

import asyncio
import re
from base64 import b64encode
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Struct

from authz_server.control.fetching import FetchFailed
from authz_server.control.settings.images import Image
from authz_server.control.sources.web import Web, onward, read_secret
from authz_server.documents.source import printable

_PARAMETER = re.compile(r'([a-z_]+)="([^"]*)"', re.IGNORECASE)
_MAX_TOKEN_BYTES = 64 * 1024


class _Token(Struct, frozen=True):
    """Both names are in use, for the same."""

    token: str | None = None
    access_token: str | None = None


class Login:
    """Follows a registry's challenge. The password goes to the registry, and to the host that the operator names."""

    def __init__(
        self, web: Web, image: Image, username: str | None, password_file: Path | None, token_host: str | None
    ) -> None:
        self.authorization: str | None = None
        """What to show; None before the registry has asked for something."""
        self._web = web
        self._image = image
        self._username = username
        self._password_file = password_file
        self._token_host = token_host

    async def renew(self, challenge: str) -> None:
        """Get what the registry asks for (RFC 9110 section 11.6.1, RFC 6750 section 3). Raises FetchFailed."""
        self.authorization = None
        scheme = challenge.partition(" ")[0].lower()
        if scheme == "bearer":
            self.authorization = await self._bearer(dict(_PARAMETER.findall(challenge)))
        elif scheme == "basic" and self._password_file is not None:
            self.authorization = await self._basic()
        else:
            raise FetchFailed(f"{self._image.registry}: it asks for credentials, and there are none that it takes")

    async def _basic(self) -> str | None:
        if self._username is None or self._password_file is None:
            return None
        password = await asyncio.to_thread(read_secret, self._password_file)
        return f"Basic {b64encode(f'{self._username}:{password}'.encode()).decode()}"

    async def _bearer(self, asked: dict[str, str]) -> str:
        registry = self._image.registry
        realm = onward(urlsplit(self._image.url), asked.get("realm", ""), f"{registry}: it asks for a token, and")
        if realm.query:
            raise FetchFailed(f"{registry}: it asks for a token at a URL with a query")
        if self._password_file is not None and realm.netloc not in (registry, self._token_host):
            host = printable(realm.netloc)
            message = f"it sends us to {host} for a token; write `token_host: {host}` if that may have the password"
            raise FetchFailed(f"{registry}: {message}")
        # What is asked for is ours to say, and for this repository alone.
        query = {"scope": f"repository:{self._image.repository}:pull"}
        query |= {"service": asked["service"]} if "service" in asked else {}
        answer = await self._web.ask(
            "GET",
            f"{realm.geturl()}?{urlencode(query)}",
            {"accept": "application/json"},
            max_bytes=_MAX_TOKEN_BYTES,
            authorization=await self._basic(),
        )
        if answer.status != 200:
            raise FetchFailed(f"{answer.host}: no token is given, the answer has status {answer.status}")
        try:
            given = msgspec.json.decode(answer.body, type=_Token)
        except msgspec.DecodeError:
            given = _Token()
        token = given.token or given.access_token or ""
        if not token or not token.isascii() or not token.isprintable():
            raise FetchFailed(f"{answer.host}: no token is given, or none that could be shown")
        return f"Bearer {token}"
