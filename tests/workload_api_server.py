"""A Workload API as an agent has it, on a Unix socket."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any

import grpc

from authz_server.pb.spiffe import workload_pb2 as messages

Bundles = Mapping[str, bytes]


class WorkloadApi:
    """What it tells, and to whom: every stream gets each change."""

    def __init__(self) -> None:
        self.certificates: Bundles = {}
        """DER certificates, one after the other, by trust domain."""
        self.keys: Bundles = {}
        """JWK Sets by trust domain."""
        self.refusal: grpc.StatusCode | None = None
        self.unmarked = 0
        """Calls without the metadata that no browser can send."""
        self._streams: list[SimpleQueue[bool]] = []
        self._lock = Lock()

    def tell(self, certificates: Bundles | None = None, keys: Bundles | None = None) -> None:
        """Change what it tells, and tell it."""
        self.certificates = self.certificates if certificates is None else certificates
        self.keys = self.keys if keys is None else keys
        self._wake(True)

    def hang_up(self) -> None:
        """End all streams."""
        self._wake(False)

    @property
    def streams(self) -> int:
        """How many listen."""
        return len(self._streams)

    def _wake(self, goes_on: bool) -> None:
        with self._lock:
            for stream in self._streams:
                stream.put(goes_on)

    def _changes(self, context: grpc.ServicerContext) -> Iterator[None]:
        if ("workload.spiffe.io", "true") not in context.invocation_metadata():
            self.unmarked += 1
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "security header missing from request")
        if self.refusal is not None:
            context.abort(self.refusal, "no identity issued")
        mine: SimpleQueue[bool] = SimpleQueue()
        with self._lock:
            self._streams.append(mine)
        context.add_callback(lambda: mine.put(False))
        try:
            yield
            while mine.get():
                yield
        finally:
            with self._lock:
                self._streams.remove(mine)

    def fetch_x509(self, _request: object, context: grpc.ServicerContext) -> Iterator[Any]:
        """FetchX509Bundles."""
        for _ in self._changes(context):
            yield messages.X509BundlesResponse(bundles=_by_id(self.certificates))

    def fetch_jwt(self, _request: object, context: grpc.ServicerContext) -> Iterator[Any]:
        """FetchJWTBundles."""
        for _ in self._changes(context):
            yield messages.JWTBundlesResponse(bundles=_by_id(self.keys))


def _by_id(bundles: Bundles) -> dict[str, bytes]:
    return {f"spiffe://{domain}": bundle for domain, bundle in bundles.items()}


@contextmanager
def workload_api(socket: Path, api: WorkloadApi | None = None) -> Iterator[WorkloadApi]:
    """Serve it on this socket while the block runs."""
    served = WorkloadApi() if api is None else api
    methods: dict[str, Any] = {
        "FetchX509Bundles": grpc.unary_stream_rpc_method_handler(
            served.fetch_x509, messages.X509BundlesRequest.FromString, messages.X509BundlesResponse.SerializeToString
        ),
        "FetchJWTBundles": grpc.unary_stream_rpc_method_handler(
            served.fetch_jwt, messages.JWTBundlesRequest.FromString, messages.JWTBundlesResponse.SerializeToString
        ),
    }
    with ThreadPoolExecutor(8) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("SpiffeWorkloadAPI", methods)])
        server.add_insecure_port(f"unix:{socket}")
        server.start()
        try:
            yield served
        finally:
            server.stop(None).wait()
            served.hang_up()
