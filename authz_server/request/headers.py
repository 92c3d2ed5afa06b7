"""Headers as one view, whichever way they came: names in lower case, values as bytes until somebody reads them."""

import re
from functools import lru_cache
from typing import NamedTuple

from msgspec import Struct

from authz_server.bounds import KIB, Bound
from authz_server.errors import Reason, Refused

# A token (RFC 9110 section 5.6.2), or one of the pseudo-headers of requests (RFC 9113 section 8.3.1, RFC 8441).
_NAME = r"(?:[!#$%&'*+.^_`|~0-9a-z-]++|:(?:authority|method|path|protocol|scheme))"
_NAMES = re.compile(rf"(?:{_NAME}\n)*+", re.ASCII)
_NAME_IN_ANY_CASE = re.compile(_NAME, re.ASCII | re.IGNORECASE)
_CREDENTIALS = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?: (.*))?", re.DOTALL)
MAX_VALUES = 10_000
"""Of one header, as rules read them."""
_SHORT_NAMES = 1024
NAMES = Bound(
    "names of headers",
    "worker",
    entries=1024,
    bytes=1024 * (_SHORT_NAMES + KIB // 2),
    holds="Whether the names of a request's headers are well formed.",
    full="The ones that were used least recently go.",
    kept_in=("_are_short_names",),
)
_BEARER = b"Bearer "
_OUR_SCHEMES = frozenset({"bearer", "dpop"})
_NOTHING_REPEATED: dict[str, tuple[bytes, ...]] = {}


class HeaderUnusable(LookupError):
    """A header that is absent, is there several times, or is not UTF-8, where one text is needed."""


class Authorization(NamedTuple):
    """The credentials of a scheme that is ours (RFC 9110 section 11.6.2)."""

    scheme: str
    """Lower case: `bearer` or `dpop`."""
    credentials: str


class Headers(Struct, frozen=True):
    """The headers of one request; made by `read`."""

    _first: dict[str, bytes]
    _repeated: dict[str, tuple[bytes, ...]]
    """All values of the names that came more than once."""
    _names: str
    """All names, each with a line feed after it."""

    @classmethod
    def read(cls, pairs: tuple[tuple[str, bytes], ...], joined: bool) -> "Headers":
        """Check and collect headers; `joined` says that they came as a map, repeated ones joined with commas.

        Raises Refused (`malformed_request`).
        """
        first, repeated = dict(pairs), _NOTHING_REPEATED
        names = "\n".join([*first, ""])
        if names.count("\n") != len(first) or not _are_names(names):
            pairs = tuple([(_lower_case(name), value) for name, value in pairs])
            first = dict(pairs)
            names = "\n".join([*first, ""])
        if len(first) == len(pairs):
            values = b"".join(first.values())
        elif joined:
            # A map has no order, so values that met only in lower case cannot be put in order.
            raise _malformed("header names differ by case alone")
        else:
            first, repeated = _collect(pairs)
            values = b"".join([value for _, value in pairs])
        # Three searches by the C library take a tenth of the time of one by a regular expression.
        if b"\n" in values or b"\r" in values or b"\0" in values:
            raise _malformed("a header has a carriage return, line feed or NUL")
        if len(repeated.get("authorization", ())) > 1 or b"," in first.get("authorization", b""):
            raise _malformed("there are two Authorization headers, or one with a comma")
        return cls(first, repeated, names)

    def names(self) -> list[str]:
        """The names of all headers, lower case, in order of arrival, without pseudo-headers."""
        return [name for name in self._first if not name.startswith(":")]

    def names_with_underscore(self) -> list[str]:
        """The names that have an underscore."""
        return [name for name in self._first if "_" in name] if "_" in self._names else []

    def refuse_variants(self, protected: frozenset[str]) -> None:
        """Refuse `x_user` where `x-user` is protected: CGI and its descendants take one for the other.

        Raises Refused (`header_conflict`).
        """
        names = self.names() if "_" in "".join(protected) else self.names_with_underscore()
        if names:
            forms = {name.replace("_", "-") for name in protected}
            if any(name not in protected and name.replace("_", "-") in forms for name in names):
                raise Refused(Reason.HEADER_CONFLICT, "a header is an underscore variant of one that rules set")

    def single(self, name: str) -> str:
        """The value of a header that came once; `name` is lower case. Raises HeaderUnusable."""
        if name in self._repeated:
            raise HeaderUnusable(f"the header `{name}` came several times")
        return _text(name, self._bytes(name))

    def values(self, name: str) -> list[str]:
        """All values of a header, split at commas and trimmed, empty ones kept; `name` is lower case.

        The same list whether the proxy joined repeated headers or not. Raises HeaderUnusable.
        """
        values = self._repeated.get(name) or (self._bytes(name),)
        if sum(value.count(b",") + 1 for value in values) > MAX_VALUES:
            raise HeaderUnusable(f"the header `{name}` has more than {MAX_VALUES} values")
        return [part.strip(" \t") for value in values for part in _text(name, value).split(",")]

    def has(self, name: str) -> bool:
        """Whether the header came; `name` is lower case."""
        return name in self._first

    def raw(self, name: str) -> bytes | None:
        """The undecoded value, pseudo-headers included, several joined with commas; None where there is none."""
        values = self._repeated.get(name)
        return self._first.get(name) if values is None else b",".join(values)

    def all_raw(self, *names: str) -> list[bytes | None]:
        """`raw` of several names."""
        if self._repeated:
            return [self.raw(name) for name in names]
        return list(map(self._first.get, names))

    def authorization(self) -> Authorization | None:
        """The credentials, where the scheme is one of ours; any other scheme is somebody else's business.

        Raises Refused: `malformed_request` without a scheme, `token_invalid` without one token after one space.
        """
        value = self._first.get("authorization")
        if value is None:
            return None
        if value.startswith(_BEARER):
            scheme, credentials = "bearer", value[len(_BEARER) :]
        else:
            match = _CREDENTIALS.fullmatch(value)
            if match is None:
                raise _malformed("the Authorization header does not begin with a scheme and a space")
            scheme = match[1].decode().lower()
            if scheme not in _OUR_SCHEMES:
                return None
            credentials = match[2]
        if not credentials or b" " in credentials or not credentials.isascii():
            raise Refused(Reason.TOKEN_INVALID, "the Authorization header has no token, or more than a token")
        return Authorization(scheme, credentials.decode())

    def _bytes(self, name: str) -> bytes:
        value = None if name.startswith(":") else self._first.get(name)
        if value is None:
            raise HeaderUnusable(f"there is no header `{name}`")
        return value


def _are_names(names: str) -> bool:
    # Clients of one kind send the same names again and again.
    return _are_short_names(names) if len(names) <= _SHORT_NAMES else _NAMES.fullmatch(names) is not None


@lru_cache(maxsize=NAMES.entries)
def _are_short_names(names: str) -> bool:
    return _NAMES.fullmatch(names) is not None


def _lower_case(name: str) -> str:
    # Checked before folding: a few letters outside ASCII have lower-case forms inside it.
    if not _NAME_IN_ANY_CASE.fullmatch(name):
        raise _malformed("a header name is not a token")
    return name.lower()


def _collect(pairs: tuple[tuple[str, bytes], ...]) -> tuple[dict[str, bytes], dict[str, tuple[bytes, ...]]]:
    """The first value of each name, and all values of those that came more than once."""
    values: dict[str, list[bytes]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    first = {name: several[0] for name, several in values.items()}
    return first, {name: tuple(several) for name, several in values.items() if len(several) > 1}


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise HeaderUnusable(f"the header `{name}` is not UTF-8") from error


def _malformed(fault: str) -> Refused:
    return Refused(Reason.MALFORMED_REQUEST, fault)
