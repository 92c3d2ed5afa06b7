"""One decision, one JSON line with every name, whatever a request holds."""

import json
from typing import Any

import pytest

from authz_server.audit.record import MAX_TEXT, encode, encode_gap
from authz_server.audit.redaction import Redaction
from authz_server.errors import Reason
from authz_server.model import Actor, Compared, Decision, SpiffeId, User, Workload
from authz_server.pipeline import shed

NAMES = [
    *("time", "type", "decision_id", "revision", "decision", "reason", "rule", "service", "mode", "would_deny"),
    *("workload", "user", "token_hash", "method", "host", "path", "client_ip", "request_id", "trace_id"),
    *("latency_us", "worker", "inputs", "detail", "via", "workload_by", "actor", "audited", "stale", "dropped"),
    *("calls", "absent", "traits", "policies", "compared", "items"),
]
BASE = Decision(id="0190a5b1-1111-7abc-8abc-0123456789ab", time=1772442000.25, revision="r1", reason=Reason.NO_SERVICE)
REDACTION = Redaction(["user.claims.email"], b"k" * 32)
HOSTILE = 'a\r\n{"decision":"allow"}\x00\x1b[31m\x7f\x9b31m\u202eevil\u2066\u2028\u2029\u200f\ufeff"\\\u00e9\U0001f600'


def decision(**fields: Any) -> Decision:  # any field
    """A decision with some fields of its own."""
    return Decision(**{name: getattr(BASE, name) for name in BASE.__struct_fields__} | fields)


def line(made: Decision) -> bytes:
    """Its record."""
    return encode(made, worker=3, latency_us=120, redaction=REDACTION)


def parsed(made: Decision) -> dict[str, Any]:
    """Its record, read back."""
    read: dict[str, Any] = json.loads(line(made))
    return read


def test_a_record_says_everything_about_a_decision() -> None:
    """Each name has the value that the decision has, and the names are those of the documentation, in order."""
    made = decision(
        reason=Reason.ALLOWED,
        detail="d",
        rule="shop/orders/read",
        service="shop/orders",
        workload=Workload(SpiffeId("spiffe://td/a", "td", ("a",)), None, "spiffe://td/edge"),
        user=User("corp", "ann", claims={"email": "ann@example.com"}, actor=Actor("spiffe://td/gateway")),
        token_hash="abc",
        method="GET",
        host="shop.example",
        path="/orders",
        client_ip="10.1.2.3",
        request_id="q1",
        trace_id="t1",
        audited=("shop/orders/soon",),
        stale=True,
        inputs={"user.scopes": ["read"], "user.claims.level": 9007199254740993},
        absent=("user.claims.team",),
        traits={"port": 8443},
        policies="candidate",
        compared=Compared("r0", False, Reason.DENIED_BY_RULE, "shop/orders/no", False),
        items=(1, None),
    )
    record = parsed(made)
    assert list(record) == NAMES
    assert record == {
        "time": "2026-03-02T09:00:00.250000Z",
        "type": "decision",
        "decision_id": BASE.id,
        "revision": "r1",
        "decision": "allow",
        "reason": "allowed",
        "rule": "shop/orders/read",
        "service": "shop/orders",
        "mode": "enforce",
        "would_deny": False,
        "workload": "spiffe://td/a",
        "user": {"issuer": "corp", "subject": "ann"},
        "token_hash": "abc",
        "method": "GET",
        "host": "shop.example",
        "path": "/orders",
        "client_ip": "10.1.2.3",
        "request_id": "q1",
        "trace_id": "t1",
        "latency_us": 120,
        "worker": 3,
        "inputs": {"user.scopes": ["read"], "user.claims.level": 9007199254740993},
        "detail": "d",
        "via": "spiffe://td/edge",
        "workload_by": "name",
        "actor": "spiffe://td/gateway",
        "audited": ["shop/orders/soon"],
        "stale": True,
        "dropped": None,
        "calls": 1,
        "absent": ["user.claims.team"],
        "traits": {"port": 8443},
        "policies": "candidate",
        "compared": {
            "revision": "r0",
            "decision": "deny",
            "reason": "denied_by_rule",
            "rule": "shop/orders/no",
            "would_deny": False,
        },
        "items": [1, None],
    }


def test_nothing_is_null_and_never_absent() -> None:
    """A decision about next to nothing has every name as well."""
    record = parsed(BASE)
    assert list(record) == NAMES
    assert record["decision"] == "deny"
    assert {name: value for name, value in record.items() if value is not None} == {
        "time": "2026-03-02T09:00:00.250000Z",
        "type": "decision",
        "decision_id": BASE.id,
        "revision": "r1",
        "decision": "deny",
        "reason": "no_service",
        "mode": "enforce",
        "would_deny": False,
        "latency_us": 120,
        "worker": 3,
        "inputs": {},
        "calls": 1,
    }


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (1772442000.0, "2026-03-02T09:00:00.000000Z"),
        (1772442000.000001, "2026-03-02T09:00:00.000001Z"),
        (1772442000.9999999, "2026-03-02T09:00:01.000000Z"),
    ],
)
def test_times_have_six_decimals(time: float, text: str) -> None:
    """RFC 3339 in UTC with microseconds, also where they are zero."""
    assert parsed(decision(time=time))["time"] == text


@pytest.mark.parametrize("name", ["method", "host", "path", "client_ip", "request_id", "trace_id", "detail"])
def test_log_01_hostile_text_stays_one_line_and_comes_back(name: str) -> None:
    """CR, LF, ANSI, bidirectional marks and quotes neither end the line nor act on a terminal, and nothing is lost."""
    encoded = line(decision(**{name: HOSTILE}))
    assert len(encoded.decode().splitlines()) == 1
    assert not set(encoded.decode()) & set("\r\n\x00\x1b\x9b\u202e\u2066\u200f\ufeff")
    assert json.loads(encoded)[name] == HOSTILE


def test_log_01_hostile_text_in_users_and_inputs_comes_back() -> None:
    """Subjects, names and values of inputs hold what callers chose."""
    made = decision(user=User(issuer="corp", subject=HOSTILE), inputs={HOSTILE: {HOSTILE: [HOSTILE]}})
    encoded = line(made)
    assert len(encoded.decode().splitlines()) == 1
    assert json.loads(encoded)["user"]["subject"] == HOSTILE
    assert json.loads(encoded)["inputs"] == {HOSTILE: {HOSTILE: [HOSTILE]}}


def test_readable_text_of_any_language_stays_readable() -> None:
    """Only what acts on readers is escaped."""
    assert "/größe/東京" in line(decision(path="/größe/東京\u2028")).decode()


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"path": "/a\udc80b"}, "path", "/a\\udc80b"),
        ({"user": User(issuer="corp", subject="\ud800")}, "user", {"issuer": "corp", "subject": "\\ud800"}),
        ({"inputs": {"x\udc80": ["\udc80"]}}, "inputs", {"x\\udc80": ["\\udc80"]}),
        ({"inputs": {"x": float("nan")}}, "inputs", {"x": None}),
        ({"inputs": {"x": 2**70}}, "inputs", {"x": 2**70}),
        ({"inputs": {"x": {(1, 2): 1}}}, "inputs", {"x": {"(1, 2)": 1}}),
        ({"inputs": {"x": frozenset(["a"])}}, "inputs", {"x": ["a"]}),
        ({"inputs": {"x": Reason}}, "inputs", {"x": repr(Reason)}),
    ],
)
def test_what_json_cannot_carry_is_recorded_as_near_as_it_can(fields: dict[str, Any], name: str, value: object) -> None:
    """Lone surrogates and values of unexpected types never keep a decision out of the audit."""
    assert parsed(decision(**fields))[name] == value


def test_values_nested_beyond_any_reason_are_cut() -> None:
    """Depth is bounded, so that nothing exhausts the stack."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert '"[cut]"' in line(decision(inputs={"x": deep})).decode()


def test_log_03_long_fields_are_cut_and_marked() -> None:
    """In a record that grew too long each long text ends with how much is missing; short ones are whole."""
    record = parsed(decision(path="/" + "p" * 99_999, host="shop.example", inputs={"request.headers[x]": "h" * 5000}))
    assert record["path"] == "/" + "p" * (MAX_TEXT - 1) + "[+98976 characters]"
    assert record["host"] == "shop.example"
    assert record["inputs"]["request.headers[x]"] == "h" * MAX_TEXT + "[+3976 characters]"


def test_a_record_of_the_usual_length_is_whole() -> None:
    """A path of some thousand characters is no reason to cut."""
    assert parsed(decision(path="/" + "p" * 4000))["path"] == "/" + "p" * 4000


def test_inputs_are_bounded_together() -> None:
    """Many inputs of legal length do not add up to a huge record; how many are missing is said."""
    record = parsed(decision(inputs={f"user.claims.c{n}": "v" * 500 for n in range(100)}))
    assert len(record["inputs"]) == 16
    assert record["inputs"]["cut"] == "[+85 inputs]"


@pytest.mark.parametrize("character", ["x", "\x00", "\udc80", "\u202e", "\U0001f600"])
def test_the_length_of_a_record_is_bounded(character: str) -> None:
    """The worst request makes a record of a known size, whatever the characters become in JSON."""
    text = character * 20_000
    fields = dict.fromkeys(["method", "host", "path", "client_ip", "request_id", "trace_id", "token_hash"], text)
    user = User(issuer="corp", subject=text)
    made = decision(**fields, user=user, inputs={f"request.headers[x{n}]": [{text: text}] for n in range(50)})
    assert len(line(made)) < 128 * 1024


def test_secret_inputs_are_hashed() -> None:
    """What the configuration marks secret is not in the record."""
    encoded = line(decision(inputs={"user.claims.email": "ann@example.com"}))
    assert b"ann@example.com" not in encoded
    assert b'"user.claims.email":"keyed-hash:' in encoded


def test_log_02_claims_that_no_rule_reads_are_not_recorded() -> None:
    """Of a user only issuer and subject are in the record."""
    assert b"secret" not in line(decision(user=User(issuer="corp", subject="ann", claims={"x": "secret"})))


@pytest.mark.parametrize("dropped", [7, None])
def test_a_gap_has_the_same_names(dropped: int | None) -> None:
    """Lost records are told of in a line of the same form; null is a number that nobody knows."""
    record = json.loads(encode_gap(1772442000.5, worker=2, dropped=dropped))
    assert list(record) == NAMES
    assert {name: value for name, value in record.items() if value is not None} == {
        "time": "2026-03-02T09:00:00.500000Z",
        "type": "gap",
        "worker": 2,
    } | ({} if dropped is None else {"dropped": dropped})


def test_a_record_of_calls_that_were_shed_says_how_many_they_are() -> None:
    """One line for all of them: adding up `calls` counts every call that was denied."""
    record = json.loads(line(shed(57, Reason.OVERLOADED, 1772442000.5)))
    said = [record[name] for name in ("type", "decision", "reason", "calls")]
    assert said == ["decision", "deny", "overloaded", 57]
    assert json.loads(line(decision()))["calls"] == 1
