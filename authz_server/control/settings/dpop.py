"""The settings of proofs of possession (DPoP)."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from authz_server.control.settings.identity import Algorithm
from authz_server.control.settings.section import Section
from authz_server.documents.quantities import Duration, duration_from


class DpopSettings(Section):
    """Tokens that are bound to a key of the client (`cnf.jkt`), which signs a proof for each request (RFC 9449)."""

    noun: ClassVar[str] = "`dpop`"

    algorithms: list[Algorithm] = Field(default=["ES256"], min_length=1)
    """Signature algorithms that proofs may use."""
    max_age: Annotated[Duration, duration_from("1s", "5m")] = Field(default="60s", validate_default=True)
    """How long a proof can be used after it was made (`iat`)."""
    skew: Annotated[Duration, duration_from("0s", "60s")] = Field(default="5s", validate_default=True)
    """Tolerance for `iat`, both ways; at most 60s."""
    scheme: Literal["https", "http"] = "https"
    """Of the URLs by which clients reach Envoy: what `htu` begins with."""
    replay_entries: Annotated[int, Field(ge=1000, le=10_000_000)] = 200_000
    """How many proofs that were used are remembered, 16 bytes each. Twice as many as come within `max_age` is enough;
    where there is no room, requests are denied."""
