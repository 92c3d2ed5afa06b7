"""The variables of conditions in words, as editors show them."""

from collections.abc import Iterator

import pytest
from cel_expr_python import cel
from google.protobuf.descriptor import FieldDescriptor

from authz_server.policy.conditions.environment import DYNAMIC, MAPS, MESSAGES, SCALARS, checking_environment
from authz_server.policy.conditions.variables import VARIABLES, Variable, as_markdown
from tests.docs.markdown import ROOT, tables_of

_WORDS = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_INT64: "int",
    FieldDescriptor.TYPE_MESSAGE: "timestamp",
}


def _names() -> Iterator[tuple[str, str]]:
    for variable, message in MESSAGES.items():
        for field in message.DESCRIPTOR.fields:
            kind = _WORDS[field.type]
            yield f"{variable}.{field.name}", f"list of {kind}" if field.is_repeated else kind
    yield from ((name, "map") for name in MAPS)
    yield from ((name, "any") for name in DYNAMIC)
    yield from ((name, "timestamp" if kind is cel.Type.TIMESTAMP else "bool") for name, kind in SCALARS.items())


def test_all_variables_are_there_with_their_types() -> None:
    """As the environment declares them."""
    declared = dict(_names())
    described = {variable.name: variable.type for variable in VARIABLES}
    assert set(described) == set(declared)
    differing = {name: kind for name, kind in described.items() if not kind.startswith(declared[name])}
    assert differing == {}


def test_the_page_has_the_same_variables() -> None:
    """In the same order, with the same types."""
    [table] = tables_of(ROOT / "docs" / "conditions.md", "variable", "type", "there")
    assert [row[0].strip("`") for row in table.rows] == [variable.name for variable in VARIABLES]
    differing = [
        variable.name
        for row, variable in zip(table.rows, VARIABLES, strict=True)
        if not row[1].startswith(variable.type.split()[0])
    ]
    assert differing == []


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_an_example_is_a_condition_with_its_variable(variable: Variable) -> None:
    """It compiles, and is of type bool or, with a claim or body in it, of any."""
    assert variable.name in variable.example
    compiled = checking_environment().compile(variable.example)
    assert compiled.return_type() in (cel.Type.BOOL, cel.Type.DYN)


def test_the_table_has_a_row_for_each() -> None:
    """Bars of the examples do not end a cell."""
    rows = [line for line in as_markdown().splitlines() if line.startswith("| `")]
    assert len(rows) == len(VARIABLES)
