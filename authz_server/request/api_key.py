"""The API key of a request."""

from authz_server.errors import Reason, Refused
from authz_server.request.headers import Headers, HeaderUnusable


def shown_key(headers: Headers, name: str) -> str | None:
    """What the header of that name, in lower case, holds; None where there is none.

    Raises Refused (`token_invalid`).
    """
    if not headers.has(name):
        return None
    try:
        return headers.single(name)
    except HeaderUnusable as error:
        raise Refused(Reason.TOKEN_INVALID, str(error)) from error
