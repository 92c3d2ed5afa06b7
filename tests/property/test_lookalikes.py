"""The short way past what people carry over from other systems gives what the long way gives."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authz_server.policy import lookalikes
from authz_server.policy.lookalikes import lookalike

_PARTS = (
    *"/ab.*+?|()[]{}<>^$\\:- \t\u00a0\u2003",
    *("**", "...", "/:", "{id}", "{id:int}", "{rest...}", "/**", "int:", "${id}", "[id]", "<id>", "[a-z]", "(a|b)"),
)


@given(st.lists(st.sampled_from(_PARTS), max_size=12).map("".join))
@example("/orders/{order_id}/**")
@example("/a/.*/**")
@example("/**name")
@example("/a|/b")
@example("/a/?")
@example("/a.+")
@example("/[0-9]+")
@example("/[a-z]")
@example("/a\\d")
def test_a_template_without_a_suspect_character_has_nothing_of_another_system(text: str) -> None:
    """Whatever is found by looking for everything is found."""
    with pytest.MonkeyPatch.context() as patch:
        found = lookalike(text)
        patch.setattr(lookalikes, "_SUSPECT", re.compile(""))
        assert found == lookalike(text)
