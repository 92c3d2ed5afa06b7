"""What the demo's terminal says about edits."""

import json
from pathlib import Path

import pytest

from authz_server.dev.demo_news import PolicyNews

TIME = "2026-03-02T10:00:00Z"


def written(log: Path, *events: dict[str, object]) -> None:
    """Append events as the server logs them."""
    with log.open("a") as stream:
        stream.writelines(json.dumps({"time": TIME, "level": "info", **event}) + "\n" for event in events)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """An empty log."""
    file = tmp_path / "authz.log"
    file.touch()
    return file


def test_each_event_is_told_once(log: Path) -> None:
    """What is not about policies is not told."""
    news = PolicyNews(log)
    written(
        log, {"event": "policies_loaded"}, {"event": "policies_reloaded", "services": 3, "rules": 9, "revision": "r"}
    )
    [line] = news.lines()
    assert line.endswith("edit taken: 3 services, 9 rules, revision r")
    assert list(news.lines()) == []


def test_a_refused_edit_is_shown_with_its_problems(log: Path) -> None:
    """As they stand in the log, a problem and its source line."""
    written(
        log,
        {"event": "policies_refused", "problems": 1, "revision_kept": "r"},
        {"event": "policy_problem", "problem": "a.yaml:1:1: unknown", "source": "1 | efect: x\n  | ^^^^^"},
    )
    refused, *problem = PolicyNews(log).lines()
    assert refused.endswith("edit refused, problems: 1; revision r goes on deciding")
    assert problem == ["    a.yaml:1:1: unknown", "        1 | efect: x", "          | ^^^^^"]


def test_half_a_line_waits_for_the_rest(log: Path) -> None:
    """The server may be writing it."""
    news = PolicyNews(log)
    line = json.dumps({"event": "policies_mended", "revision": "r", "time": TIME}) + "\n"
    log.write_text(line[:20])
    assert list(news.lines()) == []
    log.write_text(line)
    assert len(list(news.lines())) == 1


def test_what_is_no_event_is_passed_over(log: Path) -> None:
    """Such as a traceback, or a log in another form."""
    log.write_bytes(b'Traceback\n[1]\n"policies_mended"\n\xff\n{"event": ["policies_mended"]}\n{}\n')
    assert list(PolicyNews(log).lines()) == []


def test_a_log_that_is_removed_is_no_news(log: Path) -> None:
    """`make clean` may run beside the demo."""
    log.unlink()
    assert list(PolicyNews(log).lines()) == []


def test_nothing_acts_on_the_terminal(log: Path) -> None:
    """Not even what stands in a policy."""
    written(log, {"event": "policy_problem", "problem": "a\x1b[2Jb", "source": ""})
    assert not any("\x1b" in line for line in PolicyNews(log).lines())
