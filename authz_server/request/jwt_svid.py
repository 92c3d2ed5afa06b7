"""The JWT-SVID of a request (JWT-SVID standard section 5.2)."""

from authz_server.errors import Reason, Refused
from authz_server.request.headers import Headers, HeaderUnusable

AUTHORIZATION = "authorization"


def shown_svid(headers: Headers, name: str) -> str | None:
    """What the header of that name, in lower case, holds; None where there is none.

    In `authorization` it has the scheme `Bearer`, and a scheme that is not ours is somebody else's business; in any
    other header it stands alone. Raises Refused (`token_invalid`, `malformed_request`).
    """
    if not headers.has(name):
        return None
    if name != AUTHORIZATION:
        try:
            return headers.single(name)
        except HeaderUnusable as error:
            raise Refused(Reason.TOKEN_INVALID, str(error)) from error
    authorization = headers.authorization()
    if authorization is None:
        return None
    if authorization.scheme != "bearer":
        raise Refused(Reason.TOKEN_INVALID, "a JWT-SVID comes with the scheme `Bearer`")
    return authorization.credentials
