"""What the record shows of what the rules read."""

import msgspec
import pytest
from google.protobuf.struct_pb2 import Struct

from authz_server.policy.conditions import Evaluation
from authz_server.policy.inputs import inputs_of, read_inputs
from tests.expressions import ANN, evaluation, request, with_claims


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user.scopes", ["orders:read", "orders:write"]),
        ("user.roles", ["buyer"]),
        ("user.expires", "2026-03-02T09:05:00Z"),
        ("user.claims.customer", "c7"),
        ("user.claims.address.city", "Bern"),
        ("user.claims.address", {"city": "Bern"}),
        ("user.claims[customer]", "c7"),
        ("user.claims.nothing", None),
        ("user.claims[*]", ANN.claims),
        ("request.headers[x-team]", "blue"),
        ("request.headers[x-twice]", ["1", "2"]),
        ("request.header_values[x-tags]", "a, b"),
        ("request.query[page]", ["2", "3"]),
        ("request.protocol", "HTTP/2"),
        ("request.is_grpc", False),
        ("destination.port", 8443),
        ("certificate.serial", "0a"),
        ("has_user", True),
        ("has_workload", True),
    ],
)
def test_values_are_as_json_has_them(name: str, value: object) -> None:
    """Names are those under which expressions read."""
    assert read_inputs(evaluation(), inputs_of([name])).found == {name: value}


@pytest.mark.parametrize(
    "name",
    [
        "user.claims.acr",
        "user.claims.address.street",
        "user.claims.customer.city",
        "user.claims[a.b]",
        "request.headers[x-none]",
        "request.headers[x-latin]",
        "request.query[size]",
        "grpc.service",
    ],
)
def test_what_is_absent_or_unreadable_is_left_out(name: str) -> None:
    """Null is a value that a claim can have; absence is not."""
    assert read_inputs(evaluation(), inputs_of([name])).found == {}


def test_metadata_is_recorded_by_name_and_never_whole() -> None:
    """What else a filter has written stays out."""
    written = Struct()
    written.update({"sub": "ann", "in": {"city": "Bern"}})
    asked = request(metadata={"a.b": written})
    known = Evaluation(evaluation().operation, None, None, 0.0, asked)
    names = ["metadata[a.b].sub", "metadata[a.b].in.city", "metadata[a.b]", "metadata[*]", "metadata[a.b].none.x"]
    assert read_inputs(known, inputs_of(names)).found == {"metadata[a.b].sub": "ann", "metadata[a.b].in.city": "Bern"}
    assert read_inputs(evaluation(), inputs_of(names)).found == {}
    written.update({"nul": "\0"})
    assert read_inputs(known, inputs_of(names)).found == {}


def test_without_a_user_nothing_of_a_user_is_there() -> None:
    """Readers of absent callers find nothing."""
    nobody = evaluation(request(target="/a?x=%zz"), workload=None, user=None)
    names = ["user.scopes", "user.claims.customer", "user.claims[*]", "certificate.serial", "request.query[x]"]
    assert read_inputs(nobody, inputs_of([*names, "has_user"])).found == {"has_user": False}


@pytest.mark.parametrize(
    "name",
    [
        "request.method",
        "request.path",
        "workload.id",
        "user.subject",
        "client.ip",
        "now",
        "path.order_id",
        "path[*]",
        "client.within[10.0.0.0/8]",
        "workload.within[spiffe://td/**]",
        "request.headers[*]",
        "request.query[*]",
    ],
)
def test_what_the_record_says_anyhow_and_what_nobody_named_is_left_out(name: str) -> None:
    """LOG-02: headers and parameters are recorded one by one, by name."""
    assert inputs_of([name]) == ()


def test_a_dotted_claim_is_looked_up_by_its_whole_name_first() -> None:
    """As rules look it up."""
    asked = evaluation(user=with_claims(**{"a.b": "whole", "a": {"b": "path"}}))
    assert read_inputs(asked, inputs_of(["user.claims.a.b"])).found == {"user.claims.a.b": "whole"}


def test_long_values_are_cut_and_say_so() -> None:
    """LOG-03: 256 characters of a text, 32 elements of a list, 32 entries of a map."""
    claims = {
        "text": "x" * 300,
        "list": list(range(40)),
        "map": {f"k{number:02}": number for number in range(40)},
        "deep": {"list": ["y" * 257]},
    }
    read = read_inputs(evaluation(user=with_claims(**claims)), inputs_of([f"user.claims.{name}" for name in claims]))
    found = read.found
    assert found["user.claims.text"] == "x" * 256 + "[+44 characters]"
    assert found["user.claims.list"] == [*range(32), "[+8 elements]"]
    assert found["user.claims.map"] == {f"k{number:02}": number for number in range(32)} | {"cut": "[+8 entries]"}
    assert found["user.claims.deep"] == {"list": ["y" * 256 + "[+1 characters]"]}
    assert msgspec.json.encode(found)


def test_at_most_32_names_are_read() -> None:
    """The record is bounded whatever the policies read."""
    assert len(inputs_of([f"user.claims.c{number}" for number in range(40)])) == 32
