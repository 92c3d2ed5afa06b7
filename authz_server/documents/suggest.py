"""Guesses what somebody meant to write."""

from collections.abc import Iterable
from difflib import get_close_matches

_MAX_QUOTED = 80


def quoted(text: str) -> str:
    """The text in backquotes, shortened if it is long."""
    return f"`{text if len(text) <= _MAX_QUOTED else text[:_MAX_QUOTED] + '…'}`"


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that looks most like `word`, if one does."""
    by_fold = {name.casefold(): name for name in known}
    # Longer words are compared with nothing: the cost grows with the product of the lengths.
    matches = get_close_matches(word[:100].casefold(), sorted(by_fold), n=1)
    return by_fold[matches[0]] if matches else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """A hint that names the closest known word; `otherwise` where none is close."""
    match = closest(word, known)
    return f"did you mean {quoted(match)}?" if match else otherwise


def listing(words: Iterable[str], conjunction: str = "and") -> str:
    """The words in backquotes as a sentence lists them: "`a`, `b` and `c`"."""
    names = [quoted(word) for word in words]
    return f" {conjunction} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
