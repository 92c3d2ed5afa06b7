"""References to what an OCI registry has."""

import re
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, WithJsonSchema

from authz_server.control.settings.places import check_url, is_loopback_host
from authz_server.documents.invalid import InvalidValue

_PART = "[a-z0-9]+(?:(?:[.]|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?P<registry>[^/@]+)/(?P<repository>{_PART}(?:/{_PART})*)"
    "(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_MAX_LENGTH = 512


class Image(NamedTuple):
    """The parts of a reference (OCI distribution specification, "Pulling manifests")."""

    registry: str
    """Host, and port if it is said."""
    repository: str
    reference: str
    """A digest, or else a tag."""

    @property
    def url(self) -> str:
        """The registry's, without a path."""
        host = self.registry.rpartition(":")[0] if ":" in self.registry else self.registry
        return f"{'http' if is_loopback_host(host.strip('[]')) else 'https'}://{self.registry}"

    @property
    def pinned(self) -> bool:
        """Whether it names a content, which never changes."""
        return ":" in self.reference


def parse_image(text: str) -> Image:
    """The parts of `registry.example/policies/shop:stable`. Raises InvalidValue."""
    hint = "for example registry.shop.example/policies/shop:stable"
    match = _REFERENCE.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if match is None or not ("." in match["registry"] or ":" in match["registry"] or match["registry"] == "localhost"):
        raise InvalidValue("this is no registry, repository, and tag or digest", hint=hint)
    if match["tag"] is None and match["digest"] is None:
        raise InvalidValue("it does not say which tag, or which digest", hint=hint)
    image = Image(match["registry"], match["repository"], match["digest"] or match["tag"])
    check_url(image.url)
    return image


def _check(text: str) -> str:
    parse_image(text)
    return text


ImageName = Annotated[
    str,
    AfterValidator(_check),
    WithJsonSchema({"type": "string", "examples": ["registry.shop.example/policies/shop:stable"]}),
]
