"""The variables of conditions, made from a request; only what the engine cannot misread."""

from collections.abc import Callable
from datetime import UTC, datetime
from math import floor

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from authz_server.model import Certificate, User, Workload
from authz_server.pb.authz.v1 import context_pb2
from authz_server.request.headers import HeaderUnusable
from authz_server.request.operation import Operation

ABSENT = object()
"""What the key of a map reads as where there is none; None is a value of claims."""

MAX_INTEGER = 2**64 - 1
MIN_INTEGER = -(2**63)


class Unusable(Exception):  # noqa: N818
    """A value that conditions cannot have; an expression that uses it cannot be evaluated."""


def request_message(operation: Operation) -> context_pb2.Request:
    """The variable `request`."""
    path = operation.path
    # Decoded, because a condition on the text as sent could be dodged with an escape.
    slash = "/" if path.trailing_slash and path.segments else ""
    text = f"/{'/'.join(path.segments)}{slash}" if path.segments or path.trailing_slash else ""
    return context_pb2.Request(
        method=operation.method,
        host=operation.host,
        path=text,
        protocol=operation.protocol,
        is_grpc=operation.is_grpc,
        id=operation.id,
    )


def workload_message(workload: Workload) -> context_pb2.Workload:
    """The variable `workload`."""
    identity = workload.id
    return context_pb2.Workload(id=identity.text, trust_domain=identity.trust_domain, segments=identity.segments)


def user_message(user: User) -> context_pb2.User:
    """The variable `user`. The lists are sorted, so that no outcome depends on the order of a set."""
    return context_pb2.User(
        issuer=user.issuer,
        subject=user.subject,
        scopes=sorted(user.scopes),
        roles=sorted(user.roles),
        groups=sorted(user.groups),
        expires=_timestamp(user.expires),
    )


def certificate_message(certificate: Certificate) -> context_pb2.Certificate:
    """The variable `certificate`."""
    return context_pb2.Certificate(
        serial=certificate.serial,
        fingerprint=certificate.fingerprint,
        not_before=_timestamp(certificate.not_before),
        not_after=_timestamp(certificate.not_after),
    )


def timestamp_value(seconds: float) -> datetime:
    """The variable `now`."""
    return datetime.fromtimestamp(seconds, UTC)


def header_value(operation: Operation, name: str) -> object:
    """A key of `request.headers`: a text, or ABSENT. Raises Unusable."""
    return _header(operation, name, operation.headers.single)


def header_values(operation: Operation, name: str) -> object:
    """A key of `request.header_values`: a list of texts, or ABSENT. Raises Unusable."""
    return _header(operation, name, operation.headers.values)


def _header(operation: Operation, name: str, read: Callable[[str], object]) -> object:
    if operation.headers.raw(name) is None:
        return ABSENT
    try:
        return checked(read(name))
    except HeaderUnusable as error:
        raise Unusable(str(error)) from error


def checked_text(text: str) -> str:
    """The text itself. Raises Unusable: the engine would cut it at NUL, and cannot take a lone surrogate."""
    if "\0" in text:
        raise Unusable("a text holds NUL")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Unusable("a text holds a lone surrogate") from error
    return text


def checked(value: object) -> object:
    """A value of JSON itself. Raises Unusable where the engine would misread it."""
    if isinstance(value, str):
        checked_text(value)
    elif isinstance(value, int):
        if not MIN_INTEGER <= value <= MAX_INTEGER:
            raise Unusable("an integer has more than 64 bits")
    elif isinstance(value, dict):
        for key, item in value.items():
            checked_text(key)
            checked(item)
    elif isinstance(value, list):
        for item in value:
            checked(item)
    return value


def longest(value: object) -> int:
    """The number of elements of the longest list or map in a variable's value."""
    if isinstance(value, Message):
        fields = [content for _, content in value.ListFields() if not isinstance(content, str | bytes | Message)]
        return max((len(content) for content in fields if hasattr(content, "__len__")), default=0)
    if isinstance(value, dict):
        return max([len(value), *(longest(item) for item in value.values())])
    if isinstance(value, list):
        return max([len(value), *(longest(item) for item in value)])
    return 0


def _timestamp(seconds: float) -> Timestamp:
    whole = floor(seconds)
    return Timestamp(seconds=whole, nanos=int((seconds - whole) * 1_000_000) * 1000)
