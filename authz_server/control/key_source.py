"""Fetches the keys of an issuer over HTTP, within bounds of time and size."""

import asyncio
from typing import Protocol
from urllib.parse import urlsplit

import httpx2

from authz_server.bounds import Bound
from authz_server.control.fetching import FetchFailed, in_words, read_body
from authz_server.control.settings.places import check_url, is_loopback_host
from authz_server.documents.invalid import InvalidValue
from authz_server.identity.keys import MAX_DOCUMENT_BYTES
from authz_server.identity.strict_json import read_object

FETCH_S = 10.0
"""The longest that one document may take, however it trickles in."""
DOCUMENTS = Bound(
    "fetched keys",
    "issuer",
    entries=3,
    bytes=3 * MAX_DOCUMENT_BYTES,
    holds="A key set or bundle, the one that takes its place, and a discovery document, in the control process.",
    full="What is larger is refused, and the keys of before stay.",
)
_DISCOVERY_PATH = "/.well-known/openid-configuration"


class KeySource(Protocol):
    """Where an issuer's keys come from."""

    async def fetch(self) -> bytes:
        """The JWKS document as it was sent. Raises FetchFailed."""
        ...


class UrlSource:
    """A JWKS at a known URL."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def fetch(self) -> bytes:
        """The JWKS document as it was sent. Raises FetchFailed."""
        return await _get(self._url)


class DiscoverySource:
    """A JWKS that the issuer's own metadata name (OpenID Connect Discovery 1.0 section 4)."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer

    async def fetch(self) -> bytes:
        """The JWKS document as it was sent. Raises FetchFailed."""
        try:
            metadata = read_object(await _get(self._issuer.rstrip("/") + _DISCOVERY_PATH))
        except ValueError as error:
            raise FetchFailed(f"the discovery document is {error}") from None
        # Section 4.3: another issuer's document must not speak for this one.
        if metadata.get("issuer") != self._issuer:
            raise FetchFailed("the discovery document names another issuer")
        location = metadata.get("jwks_uri")
        if not isinstance(location, str):
            raise FetchFailed("the discovery document has no `jwks_uri`")
        try:
            check_url(location)
        except InvalidValue as error:
            raise FetchFailed(f"the `jwks_uri` of the discovery document cannot be used: {error}") from None
        return await _get(location)


async def _get(url: str) -> bytes:
    place = urlsplit(url)
    # What an operator says about proxies is for what is outside this machine.
    outside = not is_loopback_host(place.hostname or "")
    try:
        async with (
            asyncio.timeout(FETCH_S),
            # `SSL_CERT_FILE` names a private CA wherever the place is.
            httpx2.AsyncClient(
                follow_redirects=False, trust_env=outside, verify=httpx2.create_ssl_context(), timeout=FETCH_S
            ) as client,
            # Not compressed: what comes is as large as it looks.
            client.stream(
                "GET", url, headers={"accept": "application/json", "accept-encoding": "identity"}
            ) as response,
        ):
            if response.status_code != 200:
                raise FetchFailed(f"the answer has status {response.status_code}; redirects are not followed")
            return await read_body(response, MAX_DOCUMENT_BYTES)
    # A URL's path and query can hold what is secret, its host cannot.
    except FetchFailed as error:
        raise FetchFailed(f"{place.netloc}: {error}") from None
    except (TimeoutError, httpx2.TimeoutException):
        raise FetchFailed(f"{place.netloc}: no whole answer within {FETCH_S:g} s") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
        raise FetchFailed(f"{place.netloc}: {in_words(error)}") from None
