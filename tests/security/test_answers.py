"""Attacks on answers, and failures of ours."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import jwt
import pytest

from authz_server import pipeline
from authz_server.audit import record as audit_record
from authz_server.envoy import response as envoy_response
from authz_server.envoy import service as envoy_service
from authz_server.errors import AUDITABLE, OUTCOMES, Reason
from authz_server.identity.settings import UpstreamTokens
from authz_server.identity.signing_keys import Rotation, rotated
from authz_server.identity.upstream_token import UpstreamTokenSigner
from authz_server.pb.envoy.config.core.v3.base_pb2 import HeaderValueOption
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from authz_server.policy import candidate, judging
from authz_server.policy.loader import load_policies
from tests.builders import Call, answer_to, write_policies
from tests.security.server import SECRET, Ask, Server, assert_denied, message_of

FAULTS = [
    KeyError("k"),
    MemoryError(),
    RecursionError(),
    OSError(28, "No space left on device"),
    SystemExit(1),
    ValueError(),
]


@pytest.fixture(name="own")
def _own(tmp_path: Path) -> Server:
    """A server that a test may break."""
    return Server(tmp_path)


def raiser(error: BaseException) -> Callable[..., NoReturn]:
    """Fails, whatever it is asked."""

    def broken(*_: object, **__: object) -> NoReturn:
        raise error

    return broken


def test_resp_02_each_denial_is_an_error_to_the_client() -> None:
    """4xx or 5xx, and a gRPC code that is not OK."""
    for reason in Reason:
        allows = reason is Reason.ALLOWED
        assert (OUTCOMES[reason].http_status < 400) is allows
        assert (OUTCOMES[reason].grpc_code == 0) is allows
    assert Reason.ALLOWED not in AUDITABLE


COMPUTED = """
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - {id: all, effect: allow, from: anyone, answer: {set_headers: {x-tenant: 'request.query["t"][0]'}}}
"""


@pytest.mark.parametrize("value", ["a%0d%0ab:%20c", "a%0ab", "a%00b", "a%1bb", "a" * 16_385])
def test_resp_03_a_computed_value_that_cannot_be_sent_denies(tmp_path: Path, value: str) -> None:
    """A client's text never becomes another header."""
    server = Server(tmp_path, COMPUTED)
    assert server.ask(Ask(path="/a?t=t1")).request_headers()["x-tenant"] == "t1"
    outcome = server.ask(Ask(path=f"/a?t={value}"))
    assert_denied(outcome, Reason.NO_RULE_ALLOWS, Reason.AMBIGUOUS_PATH)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            (":path", "'x'"),
            ("host", "'x'"),
            ("connection", "'x'"),
            ("transfer-encoding", "'x'"),
            ("content-length", "'1'"),
        ),
        *(("x-envoy-retry-on", "'x'"), ("x y", "'x'"), ("x-a", "'a\\r\\nb'"), ("x-a", "'a\\u0000'"), ("te", "'x'")),
    ],
)
def test_resp_03_a_constant_that_cannot_be_sent_is_refused_when_loaded(tmp_path: Path, name: str, value: str) -> None:
    """Names that belong to the protocol or to Envoy, and values with controls."""
    text = COMPUTED.replace("x-tenant: 'request.query[\"t\"][0]'", f"'{name}': \"{value}\"")
    loaded = load_policies(write_policies(tmp_path, {"orders.yaml": text}))
    assert loaded.plan is None
    assert loaded.problems


def test_resp_04_only_we_say_who_calls(server: Server) -> None:
    """What we set replaces the client's; what we do not set for this request is taken away."""
    forged = [("x-user", "root"), ("x-workload", "spiffe://shop.example/admin")]
    outcome = server.ask(Ask(headers=forged))
    assert set(outcome.response.ok_response.headers_to_remove) == {"x-user", "x-workload"}
    ask = server.with_token()
    outcome = server.ask(Ask(path="/me", headers=[*ask.headers, *forged]))
    assert outcome.request_headers() == {"x-user": SECRET}
    assert set(outcome.response.ok_response.headers_to_remove) == {"x-workload"}


SIGNING_KEYS = rotated((), 0.0, Rotation(1e12, 1e12))
SIGNER = UpstreamTokenSigner(UpstreamTokens("x-authz-token", "https://authz.shop.example"), SIGNING_KEYS)


@pytest.mark.parametrize(
    "forged",
    [
        [],
        [("x-authz-token", "forged")],
        [("X-Authz-Token", "forged")],
        [("x-authz-token", "a"), ("x-authz-token", "b")],
    ],
)
def test_resp_04_our_token_is_the_only_one_that_arrives(own: Server, forged: list[tuple[str, str | bytes]]) -> None:
    """It replaces all copies of the client, and is never removed again."""
    own.load(signer=SIGNER)
    ask = own.with_token()
    ok = own.ask(Ask(path="/me", headers=[*ask.headers, *forged])).response.ok_response
    [token] = [option for option in ok.headers if option.header.key == "x-authz-token"]
    assert token.append_action == HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD
    assert "x-authz-token" not in ok.headers_to_remove
    assert jwt.decode(token.header.value, options={"verify_signature": False})["user"]["subject"] == SECRET


def test_resp_04_a_variant_of_our_token_is_refused(own: Server) -> None:
    """CGI and its descendants take one for the other."""
    own.load(signer=SIGNER)
    assert_denied(own.ask(Ask(headers=[("x_authz-token", "forged")])), Reason.HEADER_CONFLICT)


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_resp_06_what_cannot_be_signed_is_denied(
    own: Server, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """An upstream that expects to be told who calls gets no request without."""
    own.load(signer=SIGNER)
    monkeypatch.setattr(UpstreamTokenSigner, "_signed", raiser(error))
    assert_denied(own.ask(Ask()), Reason.INTERNAL_ERROR)


def test_resp_06_a_token_that_no_header_holds_is_denied(own: Server) -> None:
    """Whoever asks with a path that is as long as that harms nobody else."""
    own.load(signer=SIGNER)
    assert_denied(own.ask(Ask(path="/public/" + "a" * 20_000)), Reason.INTERNAL_ERROR)


def test_resp_05_bad_tokens_look_alike_outside(server: Server) -> None:
    """Expired, signed with an unknown key, with a bad signature, of an unknown issuer: one answer."""
    claims = server.claims()
    good = server.key.token(claims)
    tokens = [
        server.key.token(server.claims(exp=claims["exp"] - 4000)),
        server.key.token(claims, header={"kid": "unknown"}),
        good[:-8] + "AAAAAAAA",
        server.key.token(server.claims(iss="https://evil.example/")),
        server.key.token(server.claims(aud="other")),
        "x",
    ]
    answers = set()
    for token in tokens:
        outcome = server.ask(server.with_token(token))
        assert_denied(outcome, Reason.TOKEN_INVALID, Reason.TOKEN_EXPIRED)
        answers.add(str(outcome.response.denied_response).replace(outcome.record["decision_id"], "ID"))
    assert len(answers) == 1


PHASES: list[tuple[Any, str]] = [
    (envoy_service, "read_request"),
    *((pipeline, name) for name in ("Evaluation", "Caller", "decision_id")),
    *((judging, name) for name in ("canonical_operation", "decide")),
    (candidate, "read_inputs"),
    *((envoy_response, name) for name in ("_response", "_ok", "_add_metadata")),
    (audit_record, "_moment"),
]


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(("module", "name"), PHASES, ids=[name for _, name in PHASES])
def test_resp_06_a_fault_in_any_phase_denies(
    own: Server, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, error: BaseException
) -> None:
    """A request that is allowed is denied with the code of a failure of ours; nothing is raised."""
    payload = message_of(own.with_token()).SerializeToString()
    assert own.send(payload).allowed
    own.service._responses = envoy_response.ResponseWriter()
    monkeypatch.setattr(module, name, raiser(error))
    response = answer_to(own.service, payload)
    assert response.status.code == OUTCOMES[Reason.INTERNAL_ERROR].grpc_code
    assert response.denied_response.status.code == 500
    with pytest.raises(type(error)):
        own.service._recorded(own.service._decide(payload, Call(), time.time()), 0)


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("part", ["workloads.identify", "users.verify"])
def test_resp_06_a_fault_in_an_identity_denies(
    own: Server, monkeypatch: pytest.MonkeyPatch, part: str, error: BaseException
) -> None:
    """The same, inside what verifies callers."""
    verifiers = own.service.snapshot.verifiers if own.service.snapshot else None
    where, _, name = part.partition(".")
    monkeypatch.setattr(type(getattr(verifiers, where)), name, raiser(error))
    outcome = own.ask(own.with_token())
    assert_denied(outcome, Reason.INTERNAL_ERROR)


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_resp_06_a_fault_that_stays_denies_too(
    own: Server, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Where no answer can be made any more, the one that was made before is sent; to Envoy an error is no denial."""
    payload = message_of(Ask()).SerializeToString()
    monkeypatch.setattr(envoy_response.ResponseWriter, "write", raiser(error))
    monkeypatch.setattr(pipeline, "refused", raiser(error))
    monkeypatch.setattr(own.service, "_record", raiser(error))
    monkeypatch.setattr(own.service, "_log", None)
    refused = CheckResponse.FromString(own.service.refuse(Reason.NOT_READY, ""))
    for response in (answer_to(own.service, payload), refused):
        assert response.status.code == OUTCOMES[Reason.INTERNAL_ERROR].grpc_code
        assert response.denied_response.status.code == 500


@pytest.mark.parametrize(
    ("left_s", "allowed"), [(None, True), (1.0, True), (0.006, True), (0.004, False), (-1.0, False)]
)
def test_resp_08_too_late_is_denied_at_once(own: Server, left_s: float | None, allowed: bool) -> None:
    """With less than five milliseconds left there is no sense in deciding."""
    code = answer_to(own.service, message_of(Ask()).SerializeToString(), left_s).status.code
    assert code == (0 if allowed else OUTCOMES[Reason.DEADLINE].grpc_code)
