"""Names for captures, from the segments in front of them: `/orders/{order_id}`."""

import re
from collections.abc import Collection, Sequence

_WORD = re.compile(r"[a-z]+", re.ASCII)
_SAYS_NOTHING = re.compile(r"v\d.*|api|apis|rest|public|internal", re.ASCII)
_PLURALS = (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"))
_NO_PLURAL = ("ss", "us", "is", "news")


def names_something(segment: str) -> bool:
    """Whether a literal segment says what stands below it, as `orders` does and `api` and `v1` do not."""
    return _SAYS_NOTHING.fullmatch(segment.lower()) is None


def singular(noun: str) -> str:
    """The singular of an English noun, as far as its end shows it."""
    if noun.endswith(_NO_PLURAL):
        return noun
    for plural, end in _PLURALS:
        if noun.endswith(plural) and len(noun) > len(plural) + 1:
            return noun.removesuffix(plural) + end
    return noun.removesuffix("s") if len(noun) > 2 else noun


def capture_name(before: Sequence[str], what: str, used: Sequence[str]) -> str:
    """A name that is not yet used in the template, for a `what` (`id`, `name` or `date`) behind these segments.

    `before` are the literal segments in front of it, as they are written.
    """
    words = _WORD.findall(before[-1].lower()) if before and names_something(before[-1]) else []
    noun = "_".join([*words[:-1], singular(words[-1])])[:40] if words else ""
    name = f"{noun}_{what}" if noun and what != "date" else what
    return unused(name, used, "_")


def unused(name: str, used: Collection[str], separator: str = "-") -> str:
    """The name, with a number behind it where it is used."""
    candidate, number = name, 2
    while candidate in used:
        candidate, number = f"{name}{separator}{number}", number + 1
    return candidate
