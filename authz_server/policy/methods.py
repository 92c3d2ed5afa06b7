"""The methods that rules name: exactly one each, and none that is only a slip of the finger for another."""

import re

from authz_server.documents.invalid import InvalidValue
from authz_server.documents.suggest import quoted

STANDARD = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
"""RFC 9110 section 9.3 and RFC 5789, without CONNECT, which rules ask for otherwise."""
_NEARLY_STANDARD = frozenset({"TRACK", "BDELETE"})
"""What servers have beside the standard, although it looks like a slip: guardrails deny TRACK next to TRACE."""

# RFC 9110 section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_ALL = frozenset({"*", "**", ".*", "ANY", "ALL"})
_SEVERAL = re.compile(r"[A-Za-z]+(?:(?:\s*[,|/]\s*|\s+)[A-Za-z]+)+", re.ASCII)


def checked_method(text: str) -> str:
    """The method of a rule. Raises InvalidValue for what no request has, or only by a slip of the finger."""
    if text.upper() in _ALL:
        message = f"{quoted(text)} is no method, and would fit no request"
        raise InvalidValue(message, hint="leave `methods` out for every method")
    if _SEVERAL.fullmatch(text):
        names = ", ".join(re.findall(r"[A-Za-z]+", text.upper()))
        raise InvalidValue(f"{quoted(text)} is not one method", hint=f"write `[{names}]`")
    meant = meant_method(text)
    if _TOKEN.fullmatch(text) is None or text != text.upper():
        hint = f"write `{meant or text.upper()}`" if _TOKEN.fullmatch(text) else "for example `GET`"
        raise InvalidValue(f"{quoted(text)} is no method: methods are compared exactly, in upper case", hint=hint)
    if "*" in text or "|" in text:
        message = f"{quoted(text)} is no method: methods are compared exactly, without wildcards"
        raise InvalidValue(message, hint="write each method by its name")
    if text == "CONNECT":
        raise InvalidValue("CONNECT is asked for with a field of its own", hint="write `connect: true`")
    if meant is not None:
        raise InvalidValue(f"unknown method {quoted(text)}", hint=f"did you mean `{meant}`?")
    return text


def meant_method(text: str) -> str | None:
    """The standard method that a text is one slip of the finger away from: a letter more, less, other or swapped."""
    upper = text.upper()
    if upper in STANDARD or upper in _NEARLY_STANDARD:
        return None
    return next((method for method in STANDARD if _is_one_slip(upper, method)), None)


def _is_one_slip(text: str, method: str) -> bool:
    if len(text) == len(method):
        differing = [index for index in range(len(text)) if text[index] != method[index]]
        if len(differing) != 2:
            return len(differing) == 1
        first, second = differing
        return second == first + 1 and (text[first], text[second]) == (method[second], method[first])
    shorter, longer = sorted((text, method), key=len)
    if len(longer) != len(shorter) + 1:
        return False
    return any(longer[:index] + longer[index + 1 :] == shorter for index in range(len(longer)))
