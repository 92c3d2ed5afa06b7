"""The reference pages say neither less nor more than the code."""

import re
from datetime import datetime
from typing import Any

import msgspec
from pydantic import BaseModel

from authz_server.audit.record import Record, encode
from authz_server.audit.redaction import Redaction
from authz_server.documents.described import field_descriptions
from authz_server.envoy.response import ResponseWriter
from authz_server.errors import OUTCOMES, Reason
from authz_server.identity.spiffe import parse_spiffe_id
from authz_server.model import Certificate, Decision, User, Workload
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from authz_server.pipeline import decision_id
from authz_server.policy.conditions import ConditionCompiler
from authz_server.policy.conditions.environment import DYNAMIC, MAPS, MESSAGES, SCALARS
from authz_server.policy.conditions.translation import FUNCTIONS
from authz_server.policy.schema import KINDS, Answer, Caller, Operation, Rule, Service, Users
from tests.docs.markdown import ROOT, blocks_of, code_spans, tables_of

REASONS = ROOT / "docs" / "reasons.md"
POLICIES = ROOT / "docs" / "policy-reference.md"
CONDITIONS = ROOT / "docs" / "conditions.md"
RECORDS = ROOT / "docs" / "audit-records.md"


def test_the_reasons_are_those_of_the_code_with_their_codes() -> None:
    """The table has every reason, in the code's order, with the status and gRPC code that go out."""
    [table] = tables_of(REASONS, "reason", "http", "grpc code")
    said = [(code_spans(reason)[0], http.split(",")[0], grpc) for reason, http, grpc, *_ in table.rows]
    assert said == [(reason, str(of.http_status), of.grpc_code.name) for reason, of in OUTCOMES.items()]


def test_reserved_reasons_are_those_that_no_code_gives() -> None:
    """A reason is called reserved as long as nothing gives it."""
    [table] = tables_of(REASONS, "reason", "http", "grpc code", "when")
    reserved = {code_spans(reason)[0] for reason, _, _, when, _ in table.rows if when.startswith("Reserved")}
    sources = [path for path in (ROOT / "authz_server").rglob("*.py") if path.name != "errors.py"]
    given = {name for path in sources for name in re.findall(r"\bReason\.([A-Z_]+)", path.read_text())}
    assert reserved == {reason.value for reason in Reason if reason.name not in given}


def test_the_problem_body_of_the_page_is_the_one_that_goes_out() -> None:
    """The example is what a client gets, but for the id."""
    [block] = [block for block in blocks_of(REASONS) if "answer-to" in block.attributes]
    shown = msgspec.json.decode(block.text)
    decision = Decision(
        id=shown["decision_id"], time=0.0, revision="r", reason=Reason(block.attributes["answer-to"]), detail="exp"
    )
    response = CheckResponse.FromString(ResponseWriter().write(decision))
    assert msgspec.json.decode(response.denied_response.body) == shown


def test_the_headers_of_denials_are_those_that_go_out() -> None:
    """The table of headers names every header that any denial has."""
    [table] = tables_of(REASONS, "header", "value")
    sent = set()
    for reason in Reason:
        if reason is not Reason.ALLOWED:
            decision = Decision(id=decision_id(0.0), time=0.0, revision="r", reason=reason)
            headers = CheckResponse.FromString(ResponseWriter().write(decision)).denied_response.headers
            sent |= {header.header.key for header in headers}
    assert {code_spans(name)[0] for name, _ in table.rows} == sent


def _first_cells(*columns: str, number: int = 0) -> set[str]:
    """The names in the first column of the number-th table of the policy reference with these columns."""
    table = tables_of(POLICIES, *columns)[number]
    return {span.partition(":")[0] for row in table.rows for span in code_spans(row[0])}


def _fields(model: type[BaseModel]) -> set[str]:
    """The names of fields as they are written."""
    return {field.alias or name for name, field in model.model_fields.items()} - {"kind"}


def test_the_fields_of_policies_are_those_of_the_schema() -> None:
    """Each table of the policy reference has every field that the schema has, and no other."""
    assert _first_cells("kind", "what it holds") == set(KINDS)
    assert _first_cells("field", "meaning", number=0) == _fields(Service)
    assert _first_cells("field", "meaning", number=1) == _fields(Rule)
    assert _first_cells("key", "fits a caller") == _fields(Caller)
    assert _first_cells("field of `users`", "fits a user") == _fields(Users)
    assert _first_cells("key", "fits a request") == _fields(Operation)


def test_the_fields_of_answers_are_those_of_the_schema() -> None:
    """The keys of allow rules and of deny rules stand in tables of their own."""
    of_allow = {name for name, text in field_descriptions(Answer).items() if text.startswith("Of allow")}
    assert _first_cells("key", "of an allowed request") == of_allow
    assert _first_cells("key", "of a denied request") == _fields(Answer) - of_allow


def test_the_variables_of_conditions_are_those_of_the_environment() -> None:
    """The table has every field, map and scalar that conditions can read, and nothing else."""
    [table] = tables_of(CONDITIONS, "variable", "type", "there")
    fields = {f"{name}.{field}" for name, message in MESSAGES.items() for field in message.DESCRIPTOR.fields_by_name}
    variables = fields | MAPS.keys() | DYNAMIC.keys() | SCALARS.keys()
    assert {code_spans(variable)[0] for variable, *_ in table.rows} == variables


def test_the_functions_of_conditions_are_those_that_messages_know() -> None:
    """Macros, own functions and library together are the list that errors suggest from."""
    library = CONDITIONS.read_text().partition("## Library")[2].partition("## Bounds")[0]
    own = {"within"}
    assert set(code_spans(library)) - {'"Europe/Zurich"'} | own == set(FUNCTIONS)


def test_the_conditions_of_the_pages_tables_are_well_typed() -> None:
    """Each expression in the tables of functions and guards compiles."""
    compiler = ConditionCompiler()
    [functions] = tables_of(CONDITIONS, "function", "holds")
    [guards] = tables_of(CONDITIONS, "instead of", "write")
    expressions = [cell for row in guards.rows for cell in row] + [cell for cell, _ in functions.rows]
    for expression in expressions:
        compiler.condition(code_spans(expression)[0], frozenset())


def test_the_fields_of_audit_records_are_those_that_are_written() -> None:
    """Example and table have every name of a record, in order."""
    names = list(Record.__struct_fields__)
    [table] = tables_of(RECORDS, "name", "meaning")
    assert [code_spans(name)[0] for name, _ in table.rows] == names
    assert list(_shown_record()) == names


def test_the_example_of_a_record_is_what_its_decision_is_recorded_as() -> None:
    """The example is the record of a decision, byte for byte but for line breaks and spaces."""
    shown = _shown_record()
    identity = parse_spiffe_id(shown["workload"])
    same = shown.keys() & set(Decision.__struct_fields__) - {"time", "reason", "workload", "user"}
    decision = Decision(
        id=shown["decision_id"],
        time=datetime.fromisoformat(shown["time"]).timestamp(),
        reason=Reason(shown["reason"]),
        workload=Workload(identity, Certificate("abc", "00", 0.0, 1.0)),
        user=User(**shown["user"]),
        **{name: shown[name] for name in same},
    )
    redaction = Redaction([], b"key")
    recorded = encode(decision, worker=shown["worker"], latency_us=shown["latency_us"], redaction=redaction)
    assert msgspec.json.decode(recorded) == shown


def _shown_record() -> dict[str, Any]:
    [block] = [block for block in blocks_of(RECORDS) if "record" in block.attributes]
    return msgspec.json.decode(block.text, type=dict[str, Any])
