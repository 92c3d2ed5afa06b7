"""The example of the page on revocation is a good file."""

from authz_server.control.revocations import load_revocations
from authz_server.policy.compiler import KnownNames
from tests.docs.markdown import ROOT, blocks_of

KNOWN = KnownNames(issuers=frozenset({"corp"}), trust_domains=frozenset({"shop.example"}))


def test_the_example_revokes_something_of_every_kind() -> None:
    """No field is left out, and none is wrong."""
    (example,) = [
        block for block in blocks_of(ROOT / "docs/revocation.md") if block.text.startswith("# revocations.yaml")
    ]
    revocations, problems = load_revocations(example.text.encode(), KNOWN, "revocations.yaml")
    assert problems == []
    assert revocations is not None
    corp = revocations.issuers["corp"]
    assert all([corp.tokens, corp.sessions, corp.keys, corp.subjects["ann"], corp.subjects["mallory"], corp.before > 0])
    assert revocations.workloads
    assert revocations.certificates["shop.example"] == {"5f3a09c1"}
