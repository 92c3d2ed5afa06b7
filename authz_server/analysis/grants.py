"""Grants that are wider than somebody may have meant."""

from authz_server.identity.spiffe import parse_spiffe_pattern
from authz_server.policy.operation_index import templates
from authz_server.policy.patterns import PathTemplate
from authz_server.policy.plan import CallerItem, OperationItem, Rule, Service

_READING = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


def writes(item: OperationItem) -> bool:
    """Whether some operation of an item may change something, as far as its method says."""
    return not item.methods or not _READING.issuperset(item.methods)


def is_open(rule: Rule) -> bool:
    """Whether anyone may write, without a condition."""
    anyone = rule.callers is None
    return anyone and rule.condition is None and any(map(writes, rule.operations or (OperationItem(),)))


def whole_trust_domain(item: CallerItem) -> str | None:
    """The trust domain of which every workload fits an item of `from`, without a user or anything else."""
    if item.users is not None or item.networks or item.any_of:
        return None
    for text in item.workloads:
        pattern = parse_spiffe_pattern(text)
        if pattern.rest and all(segment == "*" for segment in pattern.segments):
            return pattern.trust_domain
    return None


def everything(item: OperationItem, service: Service) -> bool:
    """Whether an item of `to` is about every path of a service without prefix, and may write."""
    bounded = item.connect or item.upgrade is not None or item.grpc is not None or service.path_prefix != "/"
    return not bounded and writes(item) and any(map(_is_every_path, templates(item)))


def _is_every_path(template: PathTemplate | None) -> bool:
    return template is None or (template.rest is not None and not template.segments)
