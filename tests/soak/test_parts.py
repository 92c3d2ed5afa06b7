"""What the soak itself is made of."""

import json
from pathlib import Path
from random import Random

import httpx2

from authz_server.policy.compiler import KnownNames
from authz_server.policy.loader import load_policies
from tests.soak.issuer import ISSUERS, Issuers
from tests.soak.records import AuditReader
from tests.soak.revisions import KEPT, Revisions
from tests.soak.site import NAMESPACE, PARTNER
from tests.soak.timeline import Timeline

KNOWN = KnownNames(
    issuers=frozenset(ISSUERS),
    trust_domains=frozenset({"shop.example", PARTNER}),
    metadata=frozenset({NAMESPACE}),
)
USER = {"issuer": "corp", "sub": "ann"}


def test_good_policies_are_good_and_known_by_their_revision(tmp_path: Path) -> None:
    """The server reads them by the link, which is replaced."""
    revisions = Revisions(tmp_path, Random(1))  # noqa: S311 - the same each time
    for number in range(5):
        loaded = load_policies(tmp_path / "policies", KNOWN)
        assert loaded.plan is not None, loaded.problems
        assert revisions.good[loaded.plan.revision].number == number
        revisions.write_good()
    assert len(list((tmp_path / "worlds").iterdir())) == KEPT


def test_broken_policies_are_broken(tmp_path: Path) -> None:
    """All of what is drawn."""
    revisions = Revisions(tmp_path, Random(1))  # noqa: S311
    seen = set()
    for _ in range(30):
        seen.add(revisions.write_broken())
        assert load_policies(tmp_path / "policies", KNOWN).plan is None
    assert len(seen) == 5
    assert len(revisions.good) == 1


def test_the_audit_is_read_while_it_is_written(tmp_path: Path) -> None:
    """Half a line waits for its end; what is cut and written again comes again, and so does a fresh file."""
    path = tmp_path / "decisions.jsonl"
    reader = AuditReader(path)
    assert list(reader.read()) == []
    lines = [json.dumps({"n": number}) + "\n" for number in range(4)]
    path.write_text(lines[0] + lines[1][:3])
    assert list(reader.read()) == [{"n": 0}]
    path.write_text(lines[0] + lines[1])
    assert list(reader.read()) == [{"n": 1}]
    path.write_text(lines[0])
    assert list(reader.read()) == [{"n": 0}]
    path.rename(tmp_path / "decisions-1.jsonl")
    path.write_text(lines[2] + lines[3])
    assert list(reader.read()) == [{"n": 2}, {"n": 3}]


def test_a_key_is_known_when_both_issuers_have_told_of_it() -> None:
    """One of them may be asked later."""
    issuers = Issuers()
    kid = issuers.rotate()
    assert issuers.token(USER, bad=False)[1] == kid
    assert issuers.token(USER, bad=True)[1] == ""
    with issuers.running() as port:
        told = [httpx2.get(f"http://127.0.0.1:{port}/corp/jwks.json", trust_env=False).json()]
        assert issuers.served_at(kid) is None
        told.append(httpx2.get(f"http://127.0.0.1:{port}/partner/jwks.json", trust_env=False).json())
    assert issuers.served_at(kid) is not None
    assert all(kid in {key["kid"] for key in document["keys"]} for document in told)


def test_a_revision_counts_from_when_it_was_seen_to_be_reported() -> None:
    """An older one that is reported later changes nothing."""
    timeline = Timeline()
    assert timeline.newest_reported(100.0) == -1
    timeline.report(3, 1.0)
    timeline.report(2, 2.0)
    timeline.report(4, 3.0)
    assert [timeline.newest_reported(at) for at in (0.5, 1.0, 2.5, 3.0)] == [-1, 3, 3, 4]
