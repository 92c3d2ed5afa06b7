"""Two clocks: the time of day, in UTC, for what is dated; the monotonic one for ages. Steps and zones move nothing."""

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import authz_server
from authz_server.dev.waiting import wait_until
from authz_server.errors import GrpcCode
from tests.unit.control.server_process import PATIENCE_S, Served

ROOT = Path(authz_server.__file__).parent
NOT_THE_SERVER = ("cli", "dev")
TIME_OF_DAY = {
    "audit/collector.py": "the date of a gap",
    "audit/delivery.py": "the date of a gap",
    "audit/writer.py": "names of files",
    "control/api_key_file.py": "expiry of keys that `authz keys` writes",
    "control/candidate.py": "when a candidate was kept, for people",
    "control/candidate_flips.py": "since when a candidate is judged, for people",
    "control/fall_back.py": "when a roll-out fell back, for people",
    "control/keeping.py": "since when policies decide, for people",
    "control/listener_certificate.py": "the end of certificates",
    "control/policies.py": "since when policies decide, for people",
    "control/promotion.py": "when what it replaces was kept, for people",
    "control/reloader.py": "since when policies decide, for people",
    "control/rollback.py": "since when policies decide, for people",
    "control/upstream_keys.py": "from when keys sign, which is published",
    "control/usage.py": "since when is counted what policies are used, for people",
    "control/sources/fetcher.py": "since when policies are there or cannot be fetched, for people",
    "envoy/service.py": "the moment of a decision, which tokens, certificates and rules are compared with",
    "testing/gate.py": "the moment at which cases without one of their own are decided",
    "worker/credentials.py": "the end of certificates",
    "worker/grpcio_server.py": "deadlines of gRPC, which are times of day",
    "worker/introspection.py": "the moment of an answer, which the token's `exp` is compared with",
    "worker/peers.py": "the end of certificates",
    "worker/replays.py": "the times of proofs",
}
"""Who looks at it, and for what; whoever needs an age must not be here."""


def calls(path: Path) -> Iterator[tuple[str, ast.Attribute, ast.Call | None]]:
    """Every mention of a member of `time` and `datetime`, with the call, if it is one."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}", node, called.get(id(node))


SOURCES = [path for path in sorted(ROOT.rglob("*.py")) if "pb" not in path.parts]


def test_only_what_is_dated_looks_at_the_time_of_day() -> None:
    """Ages, timeouts and pauses are of the monotonic clock, which nobody sets."""
    names = {"time.time", "time.time_ns", "time.gmtime", "datetime.now", "time.clock_gettime"}
    found = {str(path.relative_to(ROOT)) for path in SOURCES for name, _, _ in calls(path) if name in names}
    assert {name for name in found if name.split("/")[0] not in NOT_THE_SERVER} == TIME_OF_DAY.keys()


def test_no_test_sets_the_clock_of_all_threads() -> None:
    """Servers of other tests live in the same process: an event loop sleeps until the time that it is told."""
    tests = Path(__file__).parent.parent
    found = [
        str(path) for path in tests.rglob("*.py") if re.search(r"setattr\(time,", path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_depends_on_the_zone_of_the_machine(path: Path) -> None:
    """Every date has a zone of its own; what fits the local one is not used."""
    local = {"time.localtime", "time.ctime", "time.asctime", "time.mktime", "time.tzset", "datetime.today"}
    local |= {"datetime.utcnow", "datetime.utcfromtimestamp", "date.today", "date.fromtimestamp"}
    zoned = {"datetime.now": 1, "datetime.fromtimestamp": 2, "time.strftime": 2}
    for name, node, call in calls(path):
        assert name not in local, node.lineno
        if name in zoned:
            assert call is not None, node.lineno
            assert len(call.args) + len(call.keywords) >= zoned[name], node.lineno


POLICY = """
kind: service
name: orders
hosts: [orders.shop.example]
rules:
  - id: at-this-time
    effect: allow
    from: anyone
    to: [{{methods: [GET]}}]
    valid: {{from: "{begins}", until: "{ends}"}}
    schedule: {{hours: "{hours}", zone: Etc/UTC}}
    when: now.getHours() in [{hour}, {next_hour}]
  - id: at-this-time-of-the-machine
    effect: allow
    from: anyone
    to: [{{methods: [PUT]}}]
    when: now.getMinutes() in [{odd_minutes}]
"""


def test_a_server_in_an_odd_zone_goes_by_utc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules, records and logs, with the machine 11 hours and 37 minutes ahead."""
    monkeypatch.setenv("TZ", "ODD-11:37")
    now = datetime.now(UTC)
    margin = timedelta(minutes=10)
    begins, ends = now - margin, now + margin
    odd_minutes = [(now.minute + 37 + late) % 60 for late in range(10)]
    text = POLICY.format(
        begins=begins.isoformat(timespec="seconds"),
        ends=ends.isoformat(timespec="seconds"),
        hours=f"{begins:%H:%M}-{ends:%H:%M}",
        hour=now.hour,
        next_hour=ends.hour,
        odd_minutes=", ".join(map(str, odd_minutes)),
    )
    served = Served(tmp_path)
    served.prepare()
    served.policies.write_text(text)
    with served.running():
        assert served.code("GET") == {GrpcCode.OK}
        assert served.code("PUT") == {GrpcCode.PERMISSION_DENIED}
        wait_until(lambda: len(served.decisions()) == 4, PATIENCE_S, "the records")
        written = [record["time"] for record in served.decisions()]
        logged = [line["time"] for line in served.events("policies_loaded")]
    for text in (*written, *logged):
        assert text.endswith("Z")
        assert now - margin < datetime.fromisoformat(text) < ends
