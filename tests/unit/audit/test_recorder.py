"""What becomes of a decision whose record finds no room depends on its class, and on what it says."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from authz_server.audit.recorder import Recorder
from authz_server.audit.redaction import Redaction
from authz_server.audit.ring import MIN_SIZE, RingConsumer, RingProducer, create_ring
from authz_server.errors import Reason, Refused
from authz_server.model import Decision, RecordClass


class Recording:
    """A recorder with a small ring."""

    def __init__(self, path: Path) -> None:
        create_ring(path, MIN_SIZE)
        self.producer, self.consumer = RingProducer(path), RingConsumer(path)
        self.record = Recorder(self.producer, 0, Redaction([], b"k"))

    def fill(self, *, best_effort: bool) -> None:
        """Leave no room for records of this class."""
        while self.producer.append(bytes(8), best_effort=best_effort):
            continue

    def counted(self) -> tuple[int, int]:
        """How many records were lost, and how many requests denied instead."""
        return self.consumer.read().dropped, self.consumer.refused


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    """With an empty ring."""
    recording = Recording(tmp_path / "0.ring")
    yield recording
    recording.producer.close()
    recording.consumer.close()


def decision(
    reason: Reason, record_class: RecordClass | None = None, *, unenforced: bool = False, rule: str = "r"
) -> Decision:
    """A decision of this class."""
    return Decision(
        id="i",
        time=0.0,
        revision="v",
        reason=reason,
        rule=rule,
        record_class=record_class,
        mode="audit" if unenforced else "enforce",
        would_deny=unenforced,
    )


ALLOWED = decision(Reason.ALLOWED)
PASSES = decision(Reason.NO_RULE_ALLOWS, unenforced=True)
DENIED = decision(Reason.NO_RULE_ALLOWS)


@pytest.mark.parametrize(
    "never_lose", [ALLOWED, PASSES, decision(Reason.ALLOWED, "never_lose")], ids=["default", "unenforced", "said"]
)
def test_without_room_for_its_record_nothing_goes_through_that_must_not_be_lost(
    recording: Recording, never_lose: Decision
) -> None:
    """It is refused, counted as such, and not as lost: no such decision was made."""
    recording.fill(best_effort=False)
    with pytest.raises(Refused) as refused:
        recording.record(never_lose, 1)
    assert refused.value.reason is Reason.AUDIT_UNAVAILABLE
    assert recording.counted() == (0, 1)


@pytest.mark.parametrize(
    "going_on",
    [decision(Reason.ALLOWED, "best_effort"), DENIED, decision(Reason.DENIED_BY_RULE, "never_lose")],
    ids=["best effort", "denied", "denied, never lose"],
)
def test_what_goes_on_without_its_record_is_counted(recording: Recording, going_on: Decision) -> None:
    """A denial stays what it is: there is nothing safer."""
    recording.fill(best_effort=False)
    recording.record(going_on, 1)
    assert recording.counted() == (1, 0)


def test_a_flood_of_denials_takes_no_room_from_what_is_allowed(recording: Recording) -> None:
    """Anybody can cause denials; where policies do not say otherwise, they are of best effort."""
    recording.fill(best_effort=True)
    recording.record(DENIED, 1)
    recording.record(decision(Reason.ALLOWED, "best_effort"), 1)
    assert recording.counted() == (2, 0)
    recording.record(ALLOWED, 1)
    recording.record(decision(Reason.DENIED_BY_RULE, "never_lose"), 1)
    assert len(recording.consumer.read().never_lose) == 2
    assert recording.counted() == (2, 0)
