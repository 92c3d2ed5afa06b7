"""The share of the callers for whom a candidate decides: always the same ones, whichever process asks."""

from hashlib import blake2b
from typing import Literal

from msgspec import Struct

from authz_server.policy.callers import Caller

By = Literal["workload", "user", "client_ip"]
_PARTS = 1 << 64


class Rollout(Struct, frozen=True):
    """A percentage of the callers, told apart by one of their identities."""

    percent: int
    by: By

    def includes(self, caller: Caller) -> bool:
        """Whether this caller is in the share; never without that identity.

        It depends on the identity alone, so that who is in stays in when the percentage grows.
        """
        identity = _identity(caller, self.by)
        if identity is None:
            return False
        number = int.from_bytes(blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
        return number * 100 < self.percent * _PARTS


def _identity(caller: Caller, by: By) -> str | None:
    if by == "workload":
        return None if caller.workload is None else f"workload {caller.workload.id.text}"
    if by == "user":
        # No issuer's name has a slash.
        return None if caller.user is None else f"user {caller.user.issuer}/{caller.user.subject}"
    return None if caller.ip is None else f"client_ip {caller.ip}"
