"""A short run of what `make soak` does for as long as one likes, and that it finds the faults that are planted."""

from pathlib import Path

import pytest

from tests.soak import __main__ as command
from tests.soak.faults.sitecustomize import FAULTS


def soak(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    """Run it; exit code and findings."""
    findings = tmp_path / "findings.txt"
    directory = tmp_path / "run"
    directory.mkdir()
    code = command.main([*arguments, "--findings", str(findings), "--directory", str(directory)])
    return code, findings.read_text() if findings.exists() else ""


def test_nothing_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever happens to the server."""
    code, findings = soak(tmp_path, "--seconds", "20", "--seed", "7", "--transport", "lean", "--rate", "30")
    assert (code, findings) == (0, "")
    assert "findings   0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("fault", "what", "events"),
    [
        ("wrong_allow", "a wrong allow", ()),
        ("skipped_record", "there is no record", ()),
        ("old_revision", "decided by an older revision", ("good_policies",)),
        ("leaked_descriptor", "descriptors of a worker have grown", ()),
    ],
)
def test_a_planted_fault_is_found(tmp_path: Path, fault: str, what: str, events: tuple[str, ...]) -> None:
    """Each in a few seconds."""
    assert fault in FAULTS
    arguments = ("--seconds", "4", "--seed", "5", "--transport", "lean", "--fault", fault, "--only", *events)
    code, findings = soak(tmp_path, *arguments)
    assert code == 1
    assert what in findings
