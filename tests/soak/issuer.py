"""Two issuers whose keys are rotated, and which can stall: they take connections and never answer."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from authz_server.dev.issuer import DevelopmentIssuer, create_issuer
from authz_server.dev.serving import serving

ISSUERS = {"corp": "https://login.shop.example/", "partner": "https://login.partner.example/"}
AUDIENCE = "shop"
LIFETIME = timedelta(days=20)
"""Of tokens: longer than any step of the clock."""
PUBLISHED = 3
_LOOK_S = 0.2


class Issuers:
    """Signs with the newest keys, one for both issuers, and publishes them with some older ones."""

    def __init__(self) -> None:
        self.stalled = threading.Event()
        self._keys = [create_issuer()]
        self._tokens: dict[str, tuple[str, str]] = {}
        self._stranger = create_issuer()
        self._served: dict[str, float] = {}
        """By key: when it was last seen that both issuers had been asked since it was there."""
        self._asked: dict[str, set[str]] = {}

    def rotate(self) -> str:
        """Sign with a new key from now on; gives its name."""
        # Published before it signs: the list is replaced, and other threads read it.
        self._keys = [create_issuer(), *self._keys][:PUBLISHED]
        self._tokens = {}
        return self._keys[0].kid

    def token(self, user: Mapping[str, Any], *, bad: bool) -> tuple[str, str]:
        """A user's token and the name of its key; a bad one is signed by somebody else."""
        if bad:
            return self._sign(self._stranger, user), ""
        known, tokens = json.dumps(user), self._tokens
        if known not in tokens:
            key = self._keys[0]
            tokens[known] = (self._sign(key, user), key.kid)
        return tokens[known]

    def served_at(self, kid: str) -> float | None:
        """Since when both issuers have told of a key (monotonic); None where they have not."""
        return self._served.get(kid)

    @contextmanager
    def running(self) -> Iterator[int]:
        """Publish the keys of each issuer at `/<name>/jwks.json` while the block runs; gives the port."""

        async def keys(request: Request) -> Response:
            while self.stalled.is_set():
                if await request.is_disconnected():
                    return Response(status_code=503)
                await asyncio.sleep(_LOOK_S)
            published = self._keys
            for key in published:
                asked = self._asked.setdefault(key.kid, set())
                asked.add(request.path_params["name"])
                if len(asked) == len(ISSUERS):
                    self._served.setdefault(key.kid, time.monotonic())
            return JSONResponse({"keys": [jwk for key in published for jwk in key.jwks()["keys"]]})

        with serving(Starlette(routes=[Route("/{name}/jwks.json", keys)])) as port:
            try:
                yield port
            finally:
                self.stalled.clear()

    def _sign(self, key: DevelopmentIssuer, user: Mapping[str, Any]) -> str:
        claims = {name: value for name, value in user.items() if name != "issuer"}
        return key.token(ISSUERS[user["issuer"]], AUDIENCE, claims, LIFETIME, datetime.now(UTC) - timedelta(minutes=1))
