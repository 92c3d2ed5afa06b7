"""Guesses what somebody meant to write."""

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

MAX_KNOWN = 1000
"""How many known words are compared with one that is not."""
MAX_LISTED = 30

_MAX_QUOTED = 80


def quoted(text: str) -> str:
    """The text in backquotes, shortened if it is long."""
    return f"`{text if len(text) <= _MAX_QUOTED else text[:_MAX_QUOTED] + '…'}`"


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that looks most like `word`, if one does."""
    # The cost grows with the number of known words and with the product of the lengths.
    by_fold = {name[:100].casefold(): name for name in sorted(known)[:MAX_KNOWN]}
    matches = get_close_matches(word[:100].casefold(), sorted(by_fold), n=1)
    return by_fold[matches[0]] if matches else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """A hint that names the closest known word; `otherwise` where none is close."""
    match = closest(word, known)
    return f"did you mean {quoted(match)}?" if match else otherwise


def listing(words: Iterable[str], conjunction: str = "and") -> str:
    """The words in backquotes as a sentence lists them: "`a`, `b` and `c`"."""
    names = [quoted(word) for word in islice(words, MAX_LISTED + 1)]
    if len(names) > MAX_LISTED:
        names[MAX_LISTED:] = ["more"]
    return f" {conjunction} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
