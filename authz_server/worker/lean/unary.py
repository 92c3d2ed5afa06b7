"""What a unary call must have: one whole message, as it is, not too large; and the answers to calls that have not."""

from authz_server.errors import GrpcCode
from authz_server.worker.lean.answers import PREFIX_BYTES, Answer, status_answer
from authz_server.worker.lean.streams import Stream

TOO_LARGE = status_answer(GrpcCode.RESOURCE_EXHAUSTED, "the message is too large")
NO_ROOM = status_answer(GrpcCode.RESOURCE_EXHAUSTED, "too much is under way")
_NO_MESSAGE = status_answer(GrpcCode.INTERNAL, "a unary call has one whole message")
_COMPRESSED = status_answer(GrpcCode.INTERNAL, "the message is compressed, and `grpc-encoding` does not say so")


def declared_bytes(stream: Stream, payload: bytes) -> int:
    """The length that a message says it has; 0 as long as that is not known, or of no interest."""
    if stream.head.refusal is not None:
        return 0
    begun = (stream.parts or b"") + payload[:PREFIX_BYTES]
    return int.from_bytes(begun[1:PREFIX_BYTES], "big") if len(begun) >= PREFIX_BYTES else 0


def wrong(framed: bytes) -> Answer | None:
    """The answer to a call that has not one whole message as it is."""
    if len(framed) < PREFIX_BYTES or int.from_bytes(framed[1:PREFIX_BYTES], "big") != len(framed) - PREFIX_BYTES:
        return _NO_MESSAGE
    return _COMPRESSED if framed[0] else None
