"""The settings of candidate policies: judged on live traffic, and rolled out to a share of the callers."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from authz_server.control.settings.places import FilePath
from authz_server.control.settings.section import Section
from authz_server.documents.quantities import Duration, duration_from

Percent = Annotated[int, Field(ge=1, le=100)]


class RolloutSettings(Section):
    """Lets the candidate decide for a part of the callers, which is always the same: more of them join when `percent`
    grows, and nobody leaves."""

    noun: ClassVar[str] = "`rollout`"

    percent: Percent
    """How many of the callers."""
    by: Literal["workload", "user", "client_ip"] = "workload"
    """What a caller is here: a SPIFFE ID, an issuer with a subject, or an address. Who has none is never among them."""


class FallBackSettings(Section):
    """When a roll-out falls back by itself: where the candidate denies too much of what the policies in force would
    have allowed."""

    noun: ClassVar[str] = "`fall_back`"

    denials: Annotated[int, Field(ge=0, le=100)] = 1
    """The percentage of the candidate's decisions within `window` that may be such denials, leaving out what both
    policies deny; 100 never falls back."""
    decisions: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Of so many decisions the percentage is taken at least, so that one denial among a few does not count for much."""
    window: Annotated[Duration, duration_from("1s", "1h")] = Field(default="1m", validate_default=True)
    """The time that is looked back on."""


class CandidateSettings(Section):
    """A second directory of policies, asked about live traffic beside those in force, and changing nothing unless it is
    rolled out."""

    noun: ClassVar[str] = "`candidate`"

    directory: FilePath = Field(default="candidate", validate_default=True)
    """The directory of its policy files. Where it has none, or is not there, there is no candidate."""
    sample: Percent = 100
    """The percentage of checks about which it is asked, chosen at random. Where it decides, it is always asked."""
    rollout: RolloutSettings | None = None
    """Without it the candidate decides nothing."""
    fall_back: FallBackSettings = Field(default={}, validate_default=True)
