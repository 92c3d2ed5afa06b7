"""Asks an issuer about a token over HTTP (RFC 7662 section 2.1), within bounds of time and size.

The worker's own client: it loads little, keeps its connections, and has a bound for everything that comes.
"""

import asyncio
import base64
import ssl
from pathlib import Path
from urllib.parse import quote_plus, urlencode, urlsplit

import h11

from authz_server.bounds import KIB, Bound
from authz_server.identity.introspection import MAX_ANSWER_BYTES
from authz_server.identity.settings import Introspection

READ_BYTES = 64 * KIB
IDLE = Bound(
    "idle connections to an issuer",
    "worker",
    entries=8,
    bytes=8 * 2 * READ_BYTES,
    holds="Connections that are kept for the next question.",
    full="The connection is closed.",
    kept_in=("IntrospectionClient._idle",),
)
_MAX_SECRET_BYTES = 4096
_DEFAULT_PORTS = {"http": 80, "https": 443}


class AskingFailed(Exception):
    """There is no answer; says why, and nothing that the other side sent."""


class _Connection:
    """One connection, for one question at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.CLIENT)
        self.heard = False
        """Whether anything has come since the last question."""

    @property
    def usable(self) -> bool:
        """Whether it can take another question."""
        return not self._reader.at_eof() and not self._writer.is_closing()

    def close(self) -> None:
        """Close it at once, whatever the other side does."""
        self._writer.transport.abort()

    async def exchange(self, request: h11.Request, body: bytes) -> bytes:
        """Put the question; the body of the answer. Raises AskingFailed, and h11's and the socket's errors."""
        self.heard = False
        question = (request, h11.Data(body), h11.EndOfMessage())
        self._writer.write(b"".join([self._http.send(event) or b"" for event in question]))
        await self._writer.drain()
        answer = bytearray()
        while not isinstance(event := await self._next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                _check_head(event)
            elif isinstance(event, h11.Data):
                answer += event.data
                if len(answer) > MAX_ANSWER_BYTES:
                    raise AskingFailed(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
            elif isinstance(event, h11.ConnectionClosed):
                raise AskingFailed("the connection ended before the answer")
        return bytes(answer)

    def renew(self) -> bool:
        """Make it ready for another question; whether the other side will have one."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            data = await self._reader.read(READ_BYTES)
            self.heard = self.heard or bool(data)
            self._http.receive_data(data)
        return event


class IntrospectionClient:
    """Puts questions to one issuer, any number at once."""

    def __init__(self, settings: Introspection) -> None:
        place = urlsplit(settings.url)
        self._settings = settings
        self._host = place.hostname or ""
        self._port = place.port or _DEFAULT_PORTS[place.scheme]
        self._tls = ssl.create_default_context() if place.scheme == "https" else None
        self._target = (place.path or "/") + (f"?{place.query}" if place.query else "")
        self._authority = place.netloc
        self._idle: list[_Connection] = []

    async def ask(self, token: str) -> bytes:
        """What the issuer answers. Takes as long as it takes. Raises AskingFailed."""
        body = urlencode({"token": token, "token_type_hint": "access_token"}).encode()
        request = self._request(len(body))
        try:
            return await self._ask(request, body)
        except AskingFailed as error:
            raise AskingFailed(f"{self._authority}: {error}") from None
        except (h11.ProtocolError, OSError, EOFError, ValueError) as error:
            raise AskingFailed(f"{self._authority}: {_words(error)}") from None

    def close(self) -> None:
        """Close the connections that are kept."""
        while self._idle:
            self._idle.pop().close()

    async def _ask(self, request: h11.Request, body: bytes) -> bytes:
        while self._idle:
            kept = self._idle.pop()
            try:
                if kept.usable:
                    return await self._exchange(kept, request, body)
                kept.close()
            except (AskingFailed, h11.ProtocolError, OSError):
                # Closed by the other side while nobody asked: nothing was heard, so it has to be put again.
                if kept.heard:
                    raise
        reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls, limit=READ_BYTES)
        return await self._exchange(_Connection(reader, writer), request, body)

    async def _exchange(self, connection: _Connection, request: h11.Request, body: bytes) -> bytes:
        keep = False
        try:
            answer = await connection.exchange(request, body)
            keep = connection.renew() and len(self._idle) < IDLE.entries
        finally:
            if keep:
                self._idle.append(connection)
            else:
                connection.close()
        return answer

    def _request(self, length: int) -> h11.Request:
        headers = {
            "host": self._authority,
            "authorization": f"Basic {self._credentials()}",
            "content-type": "application/x-www-form-urlencoded",
            "content-length": str(length),
            "accept": "application/json",
            # Not compressed: what comes is as large as it looks.
            "accept-encoding": "identity",
        }
        return h11.Request(method="POST", target=self._target, headers=list(headers.items()))

    def _credentials(self) -> str:
        """RFC 6749 section 2.3.1. The secret is read for each question: it may be replaced while we run."""
        path = Path(self._settings.client_secret_file)
        try:
            with path.open("rb") as stream:
                secret = stream.read(_MAX_SECRET_BYTES).decode().rstrip("\r\n")
        except (OSError, UnicodeDecodeError):
            raise AskingFailed(f"{path}: the client's secret cannot be read") from None
        if not secret:
            raise AskingFailed(f"{path}: the client's secret is empty")
        return base64.b64encode(f"{quote_plus(self._settings.client_id)}:{quote_plus(secret)}".encode()).decode()


def _check_head(response: h11.Response) -> None:
    """Refuse what is no answer before its body is read. Redirects are not followed."""
    if response.status_code != 200:
        raise AskingFailed(f"the answer has status {response.status_code}")
    headers = [(name, value.decode("latin-1")) for name, value in response.headers]
    kinds = [value.partition(";")[0].strip().lower() for name, value in headers if name == b"content-type"]
    if kinds != ["application/json"]:
        raise AskingFailed("the answer is not `application/json`")
    if any(name == b"content-encoding" and value.lower() != "identity" for name, value in headers):
        raise AskingFailed("the answer is compressed, although it was asked not to be")


def _words(error: Exception) -> str:
    """Why a question failed, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its TLS certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "no TLS connection can be made"
    if isinstance(error, ConnectionRefusedError):
        return "the connection is refused"
    if isinstance(error, h11.ProtocolError):
        return "what came is not HTTP"
    return "no connection can be made, or it ended before the answer"
