"""Path templates: whatever is accepted can be fitted by some request."""

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from authz_server.policy.patterns import Capture, PathTemplate, PatternError, parse_path_template
from authz_server.request.path import canonical_path

_VALUES = {"text": "x", "int": "7", "uuid": "123e4567-e89b-12d3-a456-426614174000"}
_CHARACTERS = '/a0-:<>[]()|^$+.* \\%?#;"é\u00a0\u2028\t\x85{}'
_PIECES = st.sampled_from([*_CHARACTERS, "{id}", "{n:int}", "{u:uuid}", "/**", "/{rest...}"])


def fitting_target(template: PathTemplate) -> str:
    """A request target that has what the template asks for, escaped as clients escape it."""
    segments = [
        f"{segment.prefix}{_VALUES[segment.kind]}{segment.suffix}" if isinstance(segment, Capture) else segment.text
        for segment in template.segments
    ]
    if template.rest is not None:
        segments.append("x")
    return (
        "/"
        + "/".join(quote(segment, safe="") for segment in segments)
        + "/" * (template.trailing_slash and bool(segments))
    )


@given(st.lists(_PIECES, max_size=12).map(lambda pieces: "/" + "".join(pieces)) | st.text(max_size=12))
def test_a_template_that_is_accepted_fits_some_request(text: str) -> None:
    """So no deny rule is void because of what its paths are written with."""
    try:
        template = parse_path_template(text)
    except PatternError:
        return
    assert template.match(canonical_path(fitting_target(template)).path) is not None
