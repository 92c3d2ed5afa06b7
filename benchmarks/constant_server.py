"""The yardstick: grpcio answering Check with bytes that were made beforehand. Prints its port."""

import os
from concurrent.futures import ThreadPoolExecutor

os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc

from authz_server.envoy.service import SERVICE_NAME
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse, OkHttpResponse

THREADS = 4
# Of the kind and length of ours, so that both send the same.
_METADATA = {
    "decision_id": "019c8a8e-6a1b-7c5e-9d53-0b7d1fdd2b57",
    "decision": "allow",
    "reason": "allowed",
    "revision": "sha256:9f86d081884c7d65",
    "rule": "orders/rule-00099",
    "service": "orders",
    "workload": "spiffe://shop.example/ns/team-19/sa/web",
}


def constant_answer() -> bytes:
    """An answer that allows."""
    response = CheckResponse(ok_response=OkHttpResponse())
    response.dynamic_metadata.update(_METADATA)
    return response.SerializeToString()


def main() -> None:
    """Serve on loopback until the process is ended."""
    answer = constant_answer()

    def check(_payload: bytes, _context: grpc.ServicerContext) -> bytes:
        return answer

    server = grpc.server(ThreadPoolExecutor(THREADS), options=[("grpc.so_reuseport", 0)])
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(check)
    server.add_registered_method_handlers(SERVICE_NAME, {"Check": handler})
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
