"""What regular expressions conditions may have: RE2's, and cheap, because the engine compiles them on every use."""

import re

MAX_CHARACTERS = 256
MAX_WEIGHT = 256
"""How many atoms a pattern may come to when its counted repetitions are written out: about 0.2 ms."""

_TOKEN = re.compile(
    r"""
      (?P<unicode> \\[pP] )                                      # a Unicode class
    | (?P<quoted> \\Q )
    | (?P<class> \[\^?\]?(?:\[:[^\]]*:\]|\\.|[^\]\\])*\] )
    | (?P<open> \((?:\?(?:P?<\w+>|[a-zA-Z-]*:?))? )
    | (?P<close> \) )
    | (?P<repeat> \{(?P<least>\d+)(?P<comma>,(?P<most>\d+)?)?\} )
    | (?P<operator> [|*+?^$] )
    | (?P<atom> \\.|. )
    """,
    re.VERBOSE | re.DOTALL,
)


def fault(pattern: str) -> str | None:
    """Why a pattern may not be used, or None. Whether it is valid is the engine's to say."""
    if len(pattern) > MAX_CHARACTERS:
        return f"the regular expression is longer than {MAX_CHARACTERS} characters"
    weights = [[0, 0]]  # of each open group: the whole so far, and its last atom
    for token in _TOKEN.finditer(pattern):
        kind = token.lastgroup
        if kind == "unicode" or (kind == "class" and re.search(r"\\[pP]", token[0])):
            return "Unicode classes such as `\\pL` take a millisecond at every request"
        if kind == "quoted":
            return "`\\Q` is not supported in regular expressions"
        if kind == "open":
            weights.append([0, 0])
        elif kind == "close" and len(weights) > 1:
            group, _ = weights.pop()
            _add(weights[-1], group)
        elif token["repeat"]:
            times = int(token["most"] or token["least"])
            whole, last = weights[-1]
            weights[-1] = [whole - last + last * max(times, 1), last * max(times, 1)]
        elif kind in ("atom", "class"):
            _add(weights[-1], 1)
    if sum(whole for whole, _ in weights) > MAX_WEIGHT:
        return f"the counted repetitions of the regular expression come to more than {MAX_WEIGHT}"
    return None


def _add(group: list[int], weight: int) -> None:
    group[0] += weight
    group[1] = weight
