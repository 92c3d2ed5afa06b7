"""Fetching over HTTP: answers within bounds, and what can go wrong, for people."""

import os
import ssl
from collections.abc import Iterator
from socket import gaierror

import httpx2


class FetchFailed(Exception):
    """It cannot be had; says from which host and why, and nothing else that the other side sent."""


async def read_body(response: httpx2.Response, max_bytes: int) -> bytes:
    """The body of an answer that was asked for uncompressed. Raises FetchFailed where it is larger, or compressed."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise FetchFailed("the answer is compressed, although it was asked not to be")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > max_bytes:
            raise FetchFailed(f"the answer is larger than {max_bytes:,} bytes")
    return bytes(body)


def in_words(error: BaseException) -> str:
    """Why a request failed, for people; libraries put the reason that says most below others."""
    for cause in _causes(error):
        if isinstance(cause, gaierror):
            return "the name is not found"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its TLS certificate is not trusted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return "no TLS connection can be made"
        if isinstance(cause, OSError) and cause.strerror and cause.errno is not None:
            return (
                "the connection is refused" if isinstance(cause, ConnectionRefusedError) else os.strerror(cause.errno)
            )
    if isinstance(error, httpx2.ProxyError):
        return "the proxy does not connect"
    if isinstance(error, httpx2.ConnectError):
        return "no connection can be made"
    if isinstance(error, httpx2.ReadError | httpx2.RemoteProtocolError):
        return "the connection ended before the whole answer, or what came is not HTTP"
    return "the request failed"


def _causes(error: BaseException) -> Iterator[BaseException]:
    causes = [error]
    while causes:
        cause = causes.pop(0)
        yield cause
        if isinstance(cause, BaseExceptionGroup):
            causes += cause.exceptions
        below = cause.__cause__ or cause.__context__
        if below is not None:
            causes.append(below)
