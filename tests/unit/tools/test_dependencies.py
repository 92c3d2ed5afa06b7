"""What is said of the locked dependencies."""

import json
import re
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tools.audit_deps import NONE, SOME, UNKNOWN, verdict
from tools.write_sbom import LOCK, VERSION, write_sbom

_LOCKED = re.compile(r"^([a-z0-9.-]+)==([^ ;]+)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@pytest.fixture(name="sbom", scope="module")
def _sbom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sbom") / "sbom.cdx.json"
    write_sbom(path)
    return path


def test_the_bill_of_materials_has_every_locked_dependency_and_hash(sbom: Path) -> None:
    """Neither more nor less than the lock file."""
    components = json.loads(sbom.read_text())["components"]
    lock = LOCK.read_text()
    assert sorted((each["name"], each["version"]) for each in components) == sorted(_LOCKED.findall(lock))
    assert {each["purl"] for each in components} == {f"pkg:pypi/{n}@{v}" for n, v in _LOCKED.findall(lock)}
    hashes = [one["content"] for each in components for ref in each["externalReferences"] for one in ref["hashes"]]
    assert sorted(hashes) == sorted(_HASH.findall(lock))


def test_the_bill_of_materials_is_valid(sbom: Path) -> None:
    """By CycloneDX's own schema, which finds what is wrong."""
    validator = JsonStrictValidator(SchemaVersion.from_version(VERSION))
    assert validator.validate_str(sbom.read_text()) is None
    wrong = {**json.loads(sbom.read_text()), "components": [{"type": "nothing"}]}
    assert validator.validate_str(json.dumps(wrong)) is not None


def test_the_same_lock_gives_the_same_bill(sbom: Path, tmp_path: Path) -> None:
    """So that two builds can be compared."""
    write_sbom(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == sbom.read_bytes()


def _report(*vulnerabilities: dict[str, object]) -> bytes:
    return json.dumps({"dependencies": [{"name": "a", "version": "1", "vulns": vulnerabilities}], "fixes": []}).encode()


def test_no_known_vulnerability_is_good() -> None:
    """And says how many were asked about."""
    assert verdict(_report(), "") == (NONE, ["1 dependencies: none is known to be vulnerable"])


def test_known_vulnerabilities_are_told_with_what_mends_them() -> None:
    """Each in a line."""
    output = _report({"id": "PYSEC-1", "fix_versions": ["2", "3"]}, {"id": "PYSEC-2", "fix_versions": []})
    assert verdict(output, "Found 2 known vulnerabilities in 1 package") == (
        SOME,
        ["a 1: PYSEC-1, fixed in 2, 3", "a 1: PYSEC-2, fixed in no version yet"],
    )


@pytest.mark.parametrize("output", [b"", b"<html>"])
def test_what_could_not_be_asked_is_no_good_news(output: bytes) -> None:
    """Without a network nothing is known, and that is an error of its own."""
    code, [line] = verdict(output, "DEBUG:x\nERROR:connection refused\n")
    assert code == UNKNOWN
    assert line == "nothing is known: the package index could not be asked (ERROR:connection refused)"
