"""The DPoP proof of a request, and whether it was made for this request (RFC 9449 sections 4.1 and 4.3)."""

import re
from typing import Literal

from authz_server.errors import Reason, Refused
from authz_server.request.headers import Headers, HeaderUnusable
from authz_server.request.host import canonical_host
from authz_server.request.operation import Operation
from authz_server.request.path import canonical_path

HEADER = "dpop"
_DEFAULT_PORTS = {"https": 443, "http": 80}
# RFC 3986 section 3: scheme, authority, path. Query and fragment, which do not count, are cut off before.
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)", re.ASCII)


def shown_proof(headers: Headers) -> str:
    """The proof, which comes in exactly one header. Raises Refused (`proof_invalid`)."""
    try:
        return headers.single(HEADER)
    except HeaderUnusable as error:
        raise _invalid(str(error)) from error


def check_target(method: str, uri: str, operation: Operation, scheme: Literal["https", "http"]) -> None:
    """Refuse a proof that was made for another request than this one: `method` is its `htm`, and `uri` its `htu`.

    The proxy does not say by which scheme it was reached, so `scheme` does. Raises Refused (`proof_invalid`).
    """
    if method != operation.method:
        raise _invalid("its `htm` is not the method of the request")
    match = _URI.match(uri)
    if match is None or match[1].lower() != scheme:
        raise _invalid(f"its `htu` is no `{scheme}` URL")
    try:
        host = canonical_host(match[2].removesuffix(":"))
        # Two texts of one path are the same (RFC 3986 sections 6.2.2 and 6.2.3), and rules do not tell them apart. One
        # that has several readings is the same as its own text alone.
        path_text = match[3] or "/"
        same = path_text == operation.path_text or canonical_path(path_text).path == operation.path
    except Refused as refusal:
        raise _invalid(f"of its `htu`: {refusal.detail}") from refusal
    default = _DEFAULT_PORTS[scheme]
    if (host.name, host.port or default) != (operation.host, operation.port or default):
        raise _invalid("its `htu` has another host or port than the request")
    if not same:
        raise _invalid("its `htu` has another path than the request")


def _invalid(fault: str) -> Refused:
    return Refused(Reason.PROOF_INVALID, f"the DPoP proof is not acceptable: {fault}")
