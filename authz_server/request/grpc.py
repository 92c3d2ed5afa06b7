"""What makes a request a gRPC call."""

import re

# gRPC over HTTP/2, "Content-Type"; `application/grpc-web` is another protocol.
_CONTENT_TYPE = re.compile(rb"application/grpc(?:[+;][^,]*)?", re.IGNORECASE)


def is_grpc_type(content_type: bytes | None) -> bool:
    """Whether the content-type, which is the client's word, says gRPC."""
    return content_type is not None and _CONTENT_TYPE.fullmatch(content_type) is not None
