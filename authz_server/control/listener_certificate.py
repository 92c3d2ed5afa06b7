"""What operators are told of the certificate of the Check listener, which the workers read by themselves."""

import asyncio
import time

import structlog

from authz_server.worker.key_pair import KeyPair, UnusableCertificate, read_key_pair
from authz_server.worker.messages import WorkerTls


class ListenerCertificate:
    """Follows the files; without TLS there is nothing to tell."""

    def __init__(self, tls: WorkerTls | None) -> None:
        self._tls = tls
        self._pair: KeyPair | None = None
        self._problem: str | None = None

    def follow(self, tls: WorkerTls | None) -> None:
        """Look at other files from now on."""
        self._tls = tls

    async def run(self, every_s: float) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(every_s)

    def look(self) -> None:
        """Look at the files. Blocks."""
        if self._tls is None:
            return
        try:
            self._pair, problem = read_key_pair(self._tls), None
        except UnusableCertificate as error:
            problem = str(error)
        if problem is not None and problem != self._problem:
            structlog.get_logger().error("certificate_unusable", problem=problem)
        self._problem = problem

    def missing(self) -> dict[str, bool]:
        """That it has expired, after which no worker serves."""
        problem = None if self._pair is None else self._pair.problem(time.time())
        return {} if problem is None else {problem: True}

    def problems(self) -> list[str]:
        """Why the files as they are now are not used."""
        return [] if self._problem is None else [f"{self._problem}; the certificate of before is shown"]
