"""Whether the server can do its work, and what it lacks."""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from authz_server.control.sources.fetcher import SourceState


class Policies(Struct, frozen=True):
    """The policies as they are, and as their files are."""

    revision: str | None
    """What decides; None before the first good policies."""
    problems: int
    """In the files as they are now; with any, the last good policies stay."""
    number: int | None = None
    """Of the revision; None where it has none."""
    first_problem: str | None = None
    """Where the first of them is, and its code."""
    stale_from: str | None = None
    """When the policies began to decide in an earlier run, which has kept them: RFC 3339, UTC. None where the
    policies are those of the directory."""
    source: SourceState | None = None
    """Where they are fetched; None where they are in a directory."""


class Workers(Struct, frozen=True):
    """The worker processes."""

    serving: int
    configured: int


class Readiness(Struct, frozen=True):
    """What `/readyz` says."""

    status: Literal["ready", "degraded", "not_ready"]
    """`degraded` is ready: requests are decided, but something should be mended."""
    missing: tuple[str, ...]
    """What must be there before the server is ready."""
    degraded: tuple[str, ...]
    policies: Policies
    workers: Workers


def readiness(
    policies: Policies,
    workers: Workers,
    lacking: Mapping[str, bool],
    bad_files: Sequence[str],
    *,
    draining: bool,
) -> Readiness:
    """`lacking` says what keys and certificates there are not, and whether they are required; `bad_files` explain."""
    missing = [lack for lack, required in lacking.items() if required]
    degraded = [lack for lack, required in lacking.items() if not required]
    degraded += bad_files
    if draining:
        missing.append("the server is shutting down")
    if policies.revision is None:
        missing.append("no policies have been loaded" + (f": {_problems(policies)}" if policies.problems else ""))
    elif policies.problems:
        degraded.append(f"{_problems(policies)} in the policy files; {_deciding(policies)}")
    if workers.serving == 0:
        # Without policies none can, which has been said.
        if policies.revision is not None:
            missing.append("no worker serves")
    elif workers.serving < workers.configured:
        degraded.append(f"{workers.serving} of {workers.configured} workers serve")
    status: Literal["ready", "degraded", "not_ready"] = "ready"
    if missing or degraded:
        status = "not_ready" if missing else "degraded"
    return Readiness(status, tuple(missing), tuple(degraded), policies, workers)


def _problems(policies: Policies) -> str:
    first = "" if policies.first_problem is None else f" ({policies.first_problem})"
    return f"{policies.problems} problem{'' if policies.problems == 1 else 's'}{first}"


def _deciding(policies: Policies) -> str:
    if policies.stale_from is None:
        return "the last good policies decide"
    return f"stale policies decide, kept by an earlier run, in which they began to decide at {policies.stale_from}"
