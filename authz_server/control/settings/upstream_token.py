"""The settings of our own identity for upstreams."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, model_validator

from authz_server.control.settings.names import HeaderName
from authz_server.control.settings.places import FilePath
from authz_server.control.settings.section import Section
from authz_server.documents.invalid import InvalidValue
from authz_server.documents.quantities import Duration, duration_from
from authz_server.policy.values import settable_header

_TAKEN = ("authorization", "cookie")


def _whole_seconds(seconds: float) -> float:
    if seconds != int(seconds):
        raise InvalidValue("the times of a token are whole seconds", hint="for example 60s")
    return seconds


class UpstreamTokenSettings(Section):
    """A short-lived JWT for the upstream of each allowed request: who calls, for which service, by which decision. Its
    public keys are on the admin address, at `/jwks.json`."""

    noun: ClassVar[str] = "`upstream_token`"

    issuer: str = Field(min_length=1, examples=["https://authz.shop.example"])
    """The `iss` of the tokens, by which backends know this server."""
    header: HeaderName = "x-authz-token"
    """The header that holds the token; the client's own copy never reaches the upstream."""
    lifetime: Annotated[Duration, duration_from("1s", "10m"), AfterValidator(_whole_seconds)] = Field(
        default="60s", validate_default=True
    )
    """How long a token is good."""
    rotate: Annotated[Duration, duration_from("2s", "90d")] = Field(default="1d", validate_default=True)
    """How long a key signs; the next one is published for so long before."""
    keys_max_age: Annotated[Duration, duration_from("1s", "1d")] = Field(default="5m", validate_default=True)
    """How long backends may keep the public keys (`cache-control`)."""
    key_file: FilePath | None = None
    """A JWK Set of private keys, the same for several servers, in place of keys that this server makes; read again when
    it changes."""

    @property
    def lifetime_s(self) -> int:
        """Whole seconds."""
        return int(self.lifetime)

    @model_validator(mode="after")
    def _header_is_free(self) -> "UpstreamTokenSettings":
        forwarded = self.header.startswith("x-forwarded-")
        if self.header in _TAKEN or forwarded or not settable_header(self.header):
            raise InvalidValue("this header has a meaning of its own", hint="for example x-authz-token", at=("header",))
        return self

    @model_validator(mode="after")
    def _keys_outlive_copies(self) -> "UpstreamTokenSettings":
        if self.key_file is not None and "rotate" in self.model_fields_set:
            raise InvalidValue("whoever writes `key_file` rotates its keys", hint="remove `rotate`", at=("rotate",))
        if self.rotate < self.lifetime + self.keys_max_age:
            raise InvalidValue(
                "`rotate` must be at least `lifetime` and `keys_max_age` together",
                hint="otherwise backends would not know the next key in time",
                at=("rotate",),
            )
        return self
