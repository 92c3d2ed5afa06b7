"""Whether all of a request's body came: a part of it may read otherwise than the whole.

Envoy says that it has cut a body in a header of which it drops the client's copy. It does not say so of a body that
it cuts just where a frame ends, and a body that it keeps back looks like none. So the whole body is one that has the
length which the client announced, or one that is shorter than what the route says that Envoy sends.
"""

from collections.abc import Mapping

from authz_server.model import Request
from authz_server.request.operation import Operation

DEFAULT_MAX_BYTES = 16 * 1024
CUT = "x-envoy-auth-partial-body"
SENT_EXTENSION = "max_request_bytes"
"""The route's `context_extensions` key that says how many bytes of a body the proxy sends: `with_request_body`'s."""


class BodyIncomplete(Exception):
    """Not all of the body came, or nobody can tell. The message holds nothing of the request."""


def whole_body(request: Request, operation: Operation, max_bytes: int) -> bytes:
    """All of the body, `b""` where the client sent none. Raises BodyIncomplete."""
    body, headers = request.body, operation.headers
    if operation.upgrade or operation.is_connect:
        raise BodyIncomplete("what follows an upgrade or CONNECT is no body")
    if headers.raw(CUT) not in (None, b"false"):
        raise BodyIncomplete("the proxy has cut the body")
    if request.body_size > 0 and request.body_size != len(body):
        raise BodyIncomplete("the proxy has counted more bytes of the body than it sends (as bytes: `pack_as_bytes`)")
    length = headers.raw("content-length")
    if length is not None and length != str(len(body)).encode():
        raise BodyIncomplete("the body has another length than the client announced: does the proxy send it?")
    if length is None and len(body) >= _sent(request.extensions):
        message = "without a content-length nobody can tell whether all of the body came: the route must say"
        raise BodyIncomplete(f"{message} how much the proxy sends (`{SENT_EXTENSION}` in `context_extensions`)")
    if len(body) > max_bytes:
        raise BodyIncomplete(f"the body is larger than {max_bytes} bytes (`bodies.max`)")
    return body


def _sent(extensions: Mapping[str, str]) -> int:
    """The bytes of a body that the route says are sent; 0 where it does not say."""
    text = extensions.get(SENT_EXTENSION, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0
