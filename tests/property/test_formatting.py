"""Formatted policies mean what they meant, keep every comment, and formatting them again changes nothing."""

import re
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from authz_server.documents.load import parse
from authz_server.documents.problem import Problem
from authz_server.policy.files import PolicyFile
from authz_server.policy.formatting import Unformattable, format_policy
from tests.reference.worlds import World

NUMBERED = re.compile(r"#c[0-9]+\b")


def file(text: str | bytes) -> PolicyFile:
    """A policy file of a content."""
    content = text.encode() if isinstance(text, str) else text
    return PolicyFile("a.yaml", "a.yaml", (), content, "")


def problems_of(content: bytes) -> Sequence[Problem]:
    """Why the content is not formatted."""
    try:
        format_policy(file(content))
    except Unformattable as error:
        return error.problems
    return []


def shuffled(value: Any, chance: Random) -> Any:
    """The same with the fields of all mappings in another order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key], chance) for key in chance.sample(list(value), len(value))}
    return [shuffled(item, chance) for item in value] if isinstance(value, list) else value


def with_comments(text: str, chance: Random) -> str:
    """The text with comments and empty lines anywhere: above lines, at any column, and behind what is on a line."""
    lines: list[str] = []
    for line in text.splitlines():
        while chance.random() < 0.3:
            lines.append(chance.choice(["", " " * chance.randint(0, 10) + f"#c{len(lines)}"]))
        lines.append(line + (f"  #c{len(lines)}" if chance.random() < 0.2 else ""))
    return chance.choice(["\n", "\r\n"]).join(lines)


def written(document: dict[str, Any], chance: Random) -> str:
    """A document as one of many authors might write it."""
    text = yaml.safe_dump(
        shuffled(document, chance),
        default_flow_style=chance.choice([True, False, None]),
        default_style=chance.choice([None, None, None, "'", '"']) if "anonymous" not in str(document) else None,
        indent=chance.choice([2, 3, 4]),
        width=chance.choice([20, 60, 1000]),
        sort_keys=False,
    )
    return with_comments(text, chance)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_formatting_is_done_once_and_changes_no_meaning(seed: int) -> None:
    """For policies of all sorts, written in all sorts of ways, with comments anywhere."""
    chance = Random(seed)  # noqa: S311 - the same for the same seed
    for document in World(seed).documents.values():
        text = written(document, chance)
        parsed, problems = parse(text, "a.yaml")
        # A comment in the middle of a text that goes on ends it, and quoted numbers are none.
        if problems or parsed is None or parsed.value != document:
            continue
        once = format_policy(file(text))
        assert format_policy(file(once)) == once
        again, _ = parse(once, "a.yaml")
        assert again is not None
        assert again.value == document
        assert Counter(NUMBERED.findall(once.decode())) == Counter(NUMBERED.findall(text))


WORDS = st.sampled_from(
    ["a", "b: c", " #", "'", '"', "\\", "{", "}", "[", ",", "no", "1.10", "-", "?", "é", "  ", "\n"]
)


@settings(max_examples=200, deadline=None)
@given(words=st.lists(WORDS, min_size=1, max_size=6), style=st.sampled_from([None, "'", '"', "|", ">"]))
def test_any_text_stays_the_same(words: list[str], style: str | None) -> None:
    """Whatever it holds and however it was written."""
    text = "".join(words)
    document = {"kind": "guardrails", "rules": [{"id": "a", "effect": "deny", "description": text}]}
    content = yaml.safe_dump(document, default_style=style, allow_unicode=True)
    parsed, problems = parse(content, "a.yaml")
    if problems or parsed is None:
        return
    once = format_policy(file(content))
    assert yaml.safe_load(once)["rules"][0]["description"] == text
    assert format_policy(file(once)) == once


@settings(max_examples=150, deadline=None)
@given(content=st.binary() | st.text().map(str.encode))
def test_any_content_is_formatted_or_refused(content: bytes) -> None:
    """What is refused has problems that say why."""
    assert problems_of(content) or format_policy(file(content))


@pytest.mark.parametrize("seed", range(5))
def test_most_of_what_is_written_is_formatted(seed: int) -> None:
    """So that the property is about something."""
    chance = Random(seed)  # noqa: S311 - the same for the same seed
    texts = [(document, written(document, chance)) for each in range(10) for document in World(each).documents.values()]
    good = [text for document, text in texts if parse(text, "a")[0] is not None and not parse(text, "a")[1]]
    assert len(good) > len(texts) / 2
