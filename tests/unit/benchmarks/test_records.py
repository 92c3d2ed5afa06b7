"""What a benchmark reads of an audit."""

from pathlib import Path

from benchmarks.records import take_shed


def test_calls_that_were_denied_for_having_waited_are_counted(tmp_path: Path) -> None:
    """One record speaks of many of them."""
    audit = tmp_path / "decisions.jsonl"
    lines = ['{"type":"decision","reason":"allowed","calls":1}'] * 3
    audit.write_text("\n".join([*lines, '{"type":"decision","reason":"overloaded","calls":45}\n']))
    assert take_shed(audit, 48) == 45
    assert not audit.exists()
    audit.write_text("\n".join([*lines, ""]))
    assert take_shed(audit, 3) == 0
