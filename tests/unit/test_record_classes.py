"""Whose records are never lost: the rule says it, else the service, else it is what goes through."""

from pathlib import Path

import pytest

from authz_server.pipeline import check
from authz_server.snapshot import Snapshot
from tests.builders import plan_of, request, snapshot_of

OPEN = """\
    kind: service
    name: open
    hosts: [open.example]
    rules:
      - {id: page, effect: allow, from: anyone, to: [{paths: [/page]}]}
      - {id: asset, effect: allow, from: anyone, to: [{paths: [/asset]}], record: best_effort}
      - {id: secret, effect: deny, to: [{paths: [/secret]}], record: never_lose}
      - {id: soon, effect: deny, mode: audit, to: [{paths: [/page]}], record: best_effort}
"""
CHATTY = """\
    kind: service
    name: chatty
    hosts: [chatty.example]
    record: best_effort
    rules:
      - {id: page, effect: allow, from: anyone, to: [{paths: [/page]}]}
      - {id: money, effect: allow, from: anyone, to: [{paths: [/money]}], record: never_lose}
"""
STRICT = """\
    kind: service
    name: strict
    hosts: [strict.example]
    record: never_lose
    mode: audit
    rules: []
"""


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Services of every kind."""
    directory: Path = tmp_path_factory.mktemp("policies")
    return snapshot_of(plan_of(directory, open=OPEN, chatty=CHATTY, strict=STRICT))


@pytest.mark.parametrize(
    ("host", "path", "allowed", "never_lose"),
    [
        ("open.example", "/page", True, True),
        ("open.example", "/asset", True, False),
        ("open.example", "/secret", False, True),
        ("open.example", "/else", False, False),
        ("chatty.example", "/page", True, False),
        ("chatty.example", "/money", True, True),
        ("chatty.example", "/else", False, False),
        ("strict.example", "/else", True, True),
        ("nobody.example", "/", False, False),
    ],
)
def test_the_class_of_a_record(snapshot: Snapshot, host: str, path: str, allowed: bool, never_lose: bool) -> None:
    """A rule in audit, which is not obeyed, has no say: `soon` fits `/page`."""
    decision = check(request(host=host, path=path), snapshot, 1772442000.0)
    assert (decision.allowed, decision.never_lose) == (allowed, never_lose)
