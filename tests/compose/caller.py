"""A caller on this machine: HTTP over mTLS, to Envoy's published port."""

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

LOOPBACK = "127.0.0.1"
TIMEOUT_S = 10


class Answer(Struct, frozen=True):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Any


class _Connection(http.client.HTTPSConnection):
    """Goes to loopback, whatever the host's name is."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=TIMEOUT_S, context=context)
        self._tls = context

    def connect(self) -> None:
        plain = socket.create_connection((LOOPBACK, self.port), self.timeout)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


class Caller(Struct, frozen=True):
    """Who asks: a workload's certificate, a user's token, both or neither."""

    port: int
    identities: Path
    """Directory of `ca.pem`, and of `<workload>.pem` and `<workload>.key`."""
    workload: str | None = None
    token: str | None = None

    def ask(self, host: str, path: str, method: str = "GET") -> Answer:
        """Send one request on a connection of its own; the path goes out as it is written."""
        context = ssl.create_default_context(cafile=self.identities / "ca.pem")
        if self.workload:
            context.load_cert_chain(self.identities / f"{self.workload}.pem", self.identities / f"{self.workload}.key")
        connection = _Connection(host, self.port, context)
        try:
            connection.request(method, path, headers={"authorization": f"Bearer {self.token}"} if self.token else {})
            response = connection.getresponse()
            body = response.read()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, json.loads(body) if body else None)
        finally:
            connection.close()
