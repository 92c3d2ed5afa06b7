"""A sample service: it says its name, what was asked, and which identity headers arrived."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

IDENTITY_HEADERS = ("x-user", "x-workload")


def sample_service(name: str, identity_headers: Sequence[str] = IDENTITY_HEADERS) -> ASGIApp:
    """An application that answers every request with what it saw of it."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        seen = {header: request.headers.getlist(header) for header in identity_headers if header in request.headers}
        response = JSONResponse(
            {
                "service": name,
                "method": request.method,
                "path": scope["raw_path"].decode("ascii"),
                "query": request.url.query,
                "identity": seen,
            }
        )
        await response(scope, receive, send)

    return answer
