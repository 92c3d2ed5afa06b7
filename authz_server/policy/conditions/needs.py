"""What conditions read, sorted by variable, so that only that is computed for a request."""

from collections.abc import Iterable

from msgspec import Struct

from authz_server.policy.conditions.environment import MAPS, MESSAGES, SCALARS

EVERY_KEY = "*"

Key = tuple[str, str]
"""A variable of `MAPS` and one of its keys, `*` for all of them."""


class Needs(Struct, frozen=True):
    """What the conditions of a service read together; made once for a snapshot."""

    variables: tuple[str, ...]
    """Messages and scalars."""
    maps: tuple[tuple[str, tuple[str, ...] | None], ...]
    """Maps other than `path`, and which of their keys; None is all of them."""

    @classmethod
    def of(cls, reads: Iterable[str]) -> "Needs":
        """The needs of expressions, from their `reads`."""
        variables: set[str] = set()
        maps: dict[str, set[str]] = {}
        for read in reads:
            variable, key = split_read(read)
            if key is None:
                variables.add(variable)
            elif variable != "path":
                maps.setdefault(variable, set()).add(key)
        return cls(
            tuple(sorted(variables)),
            tuple((name, None if EVERY_KEY in keys else tuple(sorted(keys))) for name, keys in sorted(maps.items())),
        )


def map_keys(reads: Iterable[str]) -> frozenset[Key]:
    """The map keys among what an expression reads."""
    pairs = [split_read(read) for read in reads]
    return frozenset((variable, key) for variable, key in pairs if key is not None)


def split_read(read: str) -> tuple[str, str | None]:
    """Variable and key of a name such as `request.headers[x-team]`; None as key where it is no map.

    Of a nested claim, `user.claims.address.city`, it is the outermost: `address`.
    """
    for variable in MAPS:
        if read.startswith(variable):
            rest = read[len(variable) :]
            if rest.startswith("["):
                return variable, rest[1:-1]
            if rest.startswith("."):
                return variable, rest[1:].partition(".")[0]
    variable = read.partition(".")[0]
    if variable not in MESSAGES and variable not in SCALARS:
        raise ValueError(f"no condition can read {read}")
    return variable, None
