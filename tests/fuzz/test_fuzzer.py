"""A short run of what `make fuzz` does for as long as one likes."""

from pathlib import Path
from random import Random

import pytest

from authz_server.identity.certificate import Leaf, parse_leaf
from authz_server.policy import index
from tests.fuzz import __main__ as command
from tests.fuzz.fuzzer import CORPUS, READERS, REFUSALS, mutated, run_case, target
from tests.fuzz.target import work_bound


@pytest.mark.parametrize("seed", range(6))
def test_no_case_shows_a_defect(seed: int) -> None:
    """Engine and reference agree, and no input breaks anything."""
    assert run_case(seed)[1] == []


def test_a_defect_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules that are in force at the wrong time."""
    monkeypatch.setattr(index.Candidate, "exists", lambda _candidate, _now: True)
    assert any(run_case(seed)[1] for seed in range(5))


def test_work_beyond_the_bound_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that is looked at a hundred times."""
    message = target().messages[0]
    assert target().work(message) < work_bound(message)

    def slowly(text: str) -> Leaf:
        for _ in range(100):
            parse_leaf(text)
        return parse_leaf(text)

    monkeypatch.setattr("authz_server.identity.workload.parse_leaf", slowly)
    assert target().work(message) > work_bound(message)


def test_every_message_to_begin_with_is_allowed() -> None:
    """Each by a rule; a corpus of what is refused at once would try nothing."""
    for message in target().messages:
        outcome = target().send(message)
        assert outcome.allowed_by_a_rule, outcome.record
        assert outcome.code == 0


@pytest.mark.parametrize("name", READERS)
def test_each_reader_reads_its_corpus(name: str) -> None:
    """A corpus of what is refused at the first byte would try nothing."""
    starts = sorted(CORPUS.glob(f"{name}*"))
    assert starts
    for path in starts:
        try:
            READERS[name](path.read_bytes())
        except REFUSALS as error:
            pytest.fail(f"{path.name}: {error}")


def test_the_command_runs_for_its_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its progress, and exit code 0 where nothing was found."""
    findings = tmp_path / "findings.txt"
    assert command.main(["--seconds", "0", "--start", "0", "--findings", str(findings)]) == 0
    assert "0 findings" in capsys.readouterr().out
    assert not findings.exists()


def test_mutations_are_the_same_for_the_same_seed() -> None:
    """A case can be tried again."""
    tried = [mutated(Random(7), b"abc") for _ in range(3)]  # noqa: S311 - the same each time
    assert len(set(tried)) == 1
