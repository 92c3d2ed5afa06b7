"""The services of a worker's policies, each indexed once however often policies with it are prepared."""

from collections.abc import Callable, Iterable
from weakref import WeakValueDictionary

from authz_server.policy.conditions import ConditionRuntime
from authz_server.policy.index import PolicyIndex, ServiceIndex, ServiceIndexer
from authz_server.policy.packing import PackedPlan, PackedService, unpack


class Services:
    """Takes over what any policies hold that are there. Holds none itself: what leaves them all is gone."""

    def __init__(self, runtime: ConditionRuntime, identity_headers: Iterable[str]) -> None:
        """Both are the same for all policies: nothing else than the service itself decides what its index is."""
        self._indexer = ServiceIndexer(runtime, identity_headers)
        self._known: WeakValueDictionary[bytes, ServiceIndex] = WeakValueDictionary()

    def policies(self, packed: PackedPlan, step: Callable[[], None]) -> PolicyIndex:
        """Policies made of what is there and what is new; `step` is called in between.

        Raises msgspec.MsgspecError, and RuntimeError where another version made the conditions.
        """
        services = [self._index(service, step) for service in packed.services]
        return PolicyIndex.of(packed.revision, packed.number, services, step)

    def shared_with(self, policies: Iterable[PolicyIndex]) -> list[object]:
        """What others may have in common with these policies."""
        return [self._indexer.fitting, *(service for index in policies for service in index.services)]

    def _index(self, packed: PackedService, step: Callable[[], None]) -> ServiceIndex:
        index = self._known.get(packed.digest)
        if index is None:
            index = self._known[packed.digest] = self._indexer.index(unpack(packed, step), step)
        return index
