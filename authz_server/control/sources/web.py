"""Requests for policies over HTTP, within bounds of time, size and place."""

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx2
from msgspec import Struct

from authz_server.control.fetching import FetchFailed, in_words, read_body
from authz_server.control.settings.places import check_url, is_loopback_host
from authz_server.documents.invalid import InvalidValue
from authz_server.documents.source import printable

MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_SECRET_BYTES = 16 * 1024


class Answer(Struct, frozen=True):
    """What came back; `headers` by their names in lower case."""

    host: str
    """Who has answered, with the port."""
    status: int
    headers: Mapping[str, str]
    body: bytes


class Web:
    """Asks HTTP servers, trusting the authorities in a file, or those of the system."""

    def __init__(self, timeout_s: float, ca_file: Path | None) -> None:
        self._timeout_s = timeout_s
        self._ca_file = ca_file

    async def ask(
        self,
        method: Literal["GET", "HEAD"],
        url: str,
        headers: Mapping[str, str],
        *,
        max_bytes: int,
        authorization: str | None = None,
    ) -> Answer:
        """The answer, whose body may have `max_bytes`. Raises FetchFailed.

        A few redirects are followed, none to another scheme; `authorization` is for the host of `url` alone.
        """
        first = here = urlsplit(url)
        try:
            async with asyncio.timeout(self._timeout_s):
                tls = await asyncio.to_thread(self._tls, first.scheme)
                for _ in range(MAX_REDIRECTS + 1):
                    sent = dict(headers) | {"accept-encoding": "identity"}
                    if authorization is not None and _origin(here) == _origin(first):
                        sent["authorization"] = authorization
                    answer = await self._once(method, here, sent, max_bytes, tls)
                    if answer.status not in _REDIRECTS:
                        return answer
                    here = onward(here, answer.headers.get("location", ""), "the answer redirects, and")
                raise FetchFailed(f"over {MAX_REDIRECTS} redirects")
        # A URL's path and query can hold what is secret, its host cannot.
        except FetchFailed as error:
            raise FetchFailed(f"{here.netloc}: {error}") from None
        except (TimeoutError, httpx2.TimeoutException):
            raise FetchFailed(f"{here.netloc}: no whole answer within {self._timeout_s:g} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            raise FetchFailed(f"{here.netloc}: {in_words(error)}") from None

    async def _once(
        self, method: str, url: SplitResult, headers: Mapping[str, str], max_bytes: int, tls: ssl.SSLContext
    ) -> Answer:
        # What an operator says about proxies is for what is outside this machine.
        outside = not is_loopback_host(url.hostname or "")
        async with (
            httpx2.AsyncClient(
                follow_redirects=False, trust_env=outside, verify=tls, timeout=self._timeout_s
            ) as client,
            client.stream(method, url.geturl(), headers=headers) as response,
        ):
            # Of an answer that says no, the words are nobody's.
            body = await read_body(response, max_bytes) if method == "GET" and response.status_code == 200 else b""
            return Answer(url.netloc, response.status_code, dict(response.headers), body)

    def _tls(self, scheme: str) -> ssl.SSLContext:
        if scheme != "https":
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self._ca_file is None:
            return httpx2.create_ssl_context()
        return ssl.create_default_context(cafile=str(self._ca_file))


def read_secret(file: Path) -> str:
    """The secret that is alone in a file. Blocks. Raises FetchFailed."""
    try:
        with file.open("rb") as stream:
            secret = stream.read(_MAX_SECRET_BYTES + 1).strip(b"\r\n").decode("ascii")
    except OSError as error:
        raise FetchFailed(f"{file} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        secret = ""
    if not secret or len(secret) > _MAX_SECRET_BYTES or not secret.isprintable():
        raise FetchFailed(f"{file} holds no secret: one line of ASCII characters")
    return secret


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return (url.scheme, url.hostname, url.port)


def onward(here: SplitResult, location: str, why: str) -> SplitResult:
    """Where a server sends us, if we go there; `why` begins the message. Raises FetchFailed."""
    try:
        there = urlsplit(check_url(urljoin(here.geturl(), location)))
    except (InvalidValue, ValueError):
        raise FetchFailed(f"{why} it leads to what is no URL that may be fetched") from None
    if there.scheme != here.scheme:
        raise FetchFailed(f"{why} it leads from {here.scheme} to {there.scheme}, which is not followed")
    if here.scheme == "https" and is_loopback_host(there.hostname or "") and there.hostname != here.hostname:
        raise FetchFailed(f"{why} it leads to this machine ({printable(there.netloc)}), which is not followed")
    return there
