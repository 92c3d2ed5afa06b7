"""The page about writing policies shows what the commands do."""

from pathlib import Path

from authz_server.policy.files import policy_file
from authz_server.policy.formatting import format_policy
from tests.docs.markdown import ROOT, blocks_of

PAGE = ROOT / "docs" / "policy-writing.md"


def test_the_formatted_file_is_that_of_the_page() -> None:
    """From the one before it."""
    [before] = [block for block in blocks_of(PAGE) if "before" in block.attributes]
    [after] = [block for block in blocks_of(PAGE) if "after" in block.attributes]
    assert format_policy(policy_file(Path(), "orders.yaml", before.text.encode())).decode() == after.text
