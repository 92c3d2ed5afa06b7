"""Guesses at what was meant."""

import pytest

from authz_server.documents.suggest import closest, did_you_mean, listing


@pytest.mark.parametrize(
    ("word", "expected"),
    [("efect", "effect"), ("form", "from"), ("Effect", "effect"), ("zzz", None), ("", None), ("e" * 1_000_000, None)],
)
def test_the_closest_known_word_is_found(word: str, expected: str | None) -> None:
    """Without regard to case, and nothing where nothing is close, whatever the length."""
    assert closest(word, ["effect", "from", "to"]) == expected


def test_without_a_close_word_the_other_hint_is_given() -> None:
    """A hint that does not guess wildly."""
    assert did_you_mean("zzz", ["effect"], "write `effect`") == "write `effect`"
    assert did_you_mean("efect", ["effect"]) == "did you mean `effect`?"


@pytest.mark.parametrize(
    ("words", "expected"),
    [([], ""), (["a"], "`a`"), (["a", "b"], "`a` and `b`"), (["a", "b", "c"], "`a`, `b` and `c`")],
)
def test_words_are_listed_as_in_a_sentence(words: list[str], expected: str) -> None:
    """With a conjunction before the last."""
    assert listing(words) == expected
