"""The query of a request target as conditions see it."""

from authz_server.request.percent import InvalidEscape, percent_decoded

MAX_PARAMETERS = 1000


class UnreadableQuery(ValueError):
    """A query that has no single reading as names and values, or more of them than anybody needs."""


def parse_query(text: str) -> dict[str, list[str]]:
    """Take a query apart at `&`: each name with its values in their order.

    Names and values are percent-decoded once; `+` stays `+`, `;` separates nothing, a name without `=` has the
    value "". Raises UnreadableQuery on a broken escape, bytes that are not UTF-8, NUL, and over 1,000 parameters.
    """
    if text.count("&") >= MAX_PARAMETERS:
        raise UnreadableQuery(f"the query has more than {MAX_PARAMETERS} parameters")
    if "%00" in text or "\0" in text:
        raise UnreadableQuery("the query has a NUL")
    parameters: dict[str, list[str]] = {}
    try:
        for parameter in text.split("&"):
            if parameter:
                name, _, value = parameter.partition("=")
                parameters.setdefault(percent_decoded(name), []).append(percent_decoded(value))
    except InvalidEscape as error:
        raise UnreadableQuery(f"the query has {error}") from error
    return parameters
