"""The file of revocations: what it says, and what is wrong with it."""

from datetime import UTC, datetime
from math import inf
from pathlib import Path

import pytest

from authz_server.control.revocations import load_revocations, parse_revocations
from authz_server.control.settings import Settings
from authz_server.control.trust import Trust
from authz_server.identity.revocations import IssuerRevocations, Revocations
from authz_server.policy.compiler import KnownNames
from authz_server.telemetry.control_metrics import ControlMetrics

KNOWN = KnownNames(issuers=frozenset({"corp"}), trust_domains=frozenset({"shop.example"}))
EVERYTHING = b"""
issuers:
  corp:
    before: "2026-03-02T10:00:00+01:00"
    tokens: [t1, t2]
    sessions: [s1]
    keys: [k1]
    subjects: [ann]
    subjects_before: {bob: "2026-03-02T10:00:00Z", ann: "2026-03-02T10:00:00Z"}
workloads: ["spiffe://shop.example/ns/front/sa/web"]
certificates: {shop.example: ["0A:BC", "5f"]}
"""


def test_everything_that_can_be_revoked() -> None:
    """Serial numbers as `openssl x509 -serial` prints them, with colons or without."""
    assert parse_revocations(EVERYTHING, KNOWN) == Revocations(
        issuers={
            "corp": IssuerRevocations(
                before=datetime(2026, 3, 2, 9, tzinfo=UTC).timestamp(),
                tokens=frozenset({"t1", "t2"}),
                sessions=frozenset({"s1"}),
                keys=frozenset({"k1"}),
                subjects={"ann": inf, "bob": datetime(2026, 3, 2, 10, tzinfo=UTC).timestamp()},
            )
        },
        workloads=frozenset({"spiffe://shop.example/ns/front/sa/web"}),
        certificates={"shop.example": frozenset({"abc", "5f"})},
    )


@pytest.mark.parametrize(
    ("text", "complaints"),
    [
        ("", ["1:1: the file is empty, which is not the same as revoking nothing"]),
        (" \n", ["1:1: the file is empty, which is not the same as revoking nothing"]),
        ("issuers: {crop: {tokens: [a]}}", ["1:11: no issuer `crop` is configured"]),
        ("issuers: {corp: {token: [a]}}", ["1:18: unknown field `token` in an issuer"]),
        ("issuers: {corp: {tokens: [1]}}", ["1:27: an item of `tokens` must be a text, not `1`"]),
        ("issuers: {corp: {before: 2026}}", ["1:26: `before` must be a text, not `2026`"]),
        ('issuers: {corp: {before: "2026-03-02"}}', ["1:26: the instant `2026-03-02` has no zone"]),
        ("workloads: [spiffe://other.example/a]", ["1:13: no trust domain `other.example` is configured"]),
        ("workloads: [web]", ["1:13: the SPIFFE ID does not begin with `spiffe://`"]),
        (
            'certificates: {shop.exampel: [a]}\nissuers: {crop: {tokens: [""]}}\nworkloads: [spiffe://shop.example]\n',
            ["2:27: an item of `tokens` must not be empty"],
        ),
        (
            "certificates: {shop.exampel: [a]}\nissuers: {crop: {tokens: [a]}}\n",
            ["1:16: no trust domain `shop.exampel` is configured", "2:11: no issuer `crop` is configured"],
        ),
        ("certificates: {shop.example: [xyz]}", ["1:31: `xyz` is no serial number"]),
        ("- a", ["1:3: the file of revocations must be a mapping, not a list"]),
    ],
)
def test_what_is_wrong_has_its_place(text: str, complaints: list[str]) -> None:
    """A name that is written wrong revokes nothing: it is an error."""
    revocations, problems = load_revocations(text.encode(), KNOWN, "r.yaml")
    assert revocations is None
    assert sorted(str(problem).splitlines()[0] for problem in problems) == [f"r.yaml:{one}" for one in complaints]
    with pytest.raises(ValueError, match=r"line \d+, column \d+"):
        parse_revocations(text.encode(), KNOWN)


class Scene:
    """The file that a server reads."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "revocations.yaml"
        domains: dict[str, dict[str, object]] = {"trust_domains": {"shop.example": {}}}
        settings = Settings.model_validate(
            {"revocations": "revocations.yaml", "workloads": domains}, context={"base": directory}
        )
        self.trust = Trust(settings, ControlMetrics(directory / "metrics"), lambda: None)

    def write(self, text: str) -> None:
        """Change the file, and look."""
        self.file.write_text(text)
        self.trust.reread()


def test_nothing_is_decided_before_it_is_known_what_is_revoked(tmp_path: Path) -> None:
    """A file that is missing or bad holds the server back, and readiness says so."""
    scene = Scene(tmp_path)
    scene.trust.reread()
    assert scene.trust.holds_back
    assert scene.trust.missing() == {"it is not known what is revoked": True}
    scene.write("workloads: [web]")
    assert scene.trust.holds_back
    scene.write("issuers: {}")
    assert not scene.trust.holds_back
    assert scene.trust.missing() == {}
    assert scene.trust.revocations() == Revocations()


def test_a_bad_edit_revokes_what_was_revoked(tmp_path: Path) -> None:
    """Also one that leaves the file empty for a moment, and one that removes it."""
    scene = Scene(tmp_path)
    scene.write("workloads: [spiffe://shop.example/a]")
    good = scene.trust.revocations()
    assert good == Revocations(workloads=frozenset({"spiffe://shop.example/a"}))
    for bad in ("", "workloads: [spiffe://shop.example/b", "workloads: [spiffe://other.example/b]"):
        scene.write(bad)
        assert scene.trust.revocations() == good
        assert scene.trust.troubled() == {"revocations"}
        assert len(scene.trust.problems()) == 1
    scene.file.unlink()
    scene.trust.reread()
    assert scene.trust.revocations() == good
    assert not scene.trust.holds_back
    scene.write("issuers: {}")
    assert scene.trust.revocations() == Revocations()
    assert scene.trust.troubled() == set()
