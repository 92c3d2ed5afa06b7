"""From a decision to Envoy's CheckResponse."""

import json
from typing import Any

import msgspec
import pytest

from authz_server.envoy.response import SHAPES, ResponseWriter
from authz_server.errors import AUDITABLE, FAILURES, OUTCOMES, Reason
from authz_server.model import Answer, BodyFormat, Decision, HeaderChange, SpiffeId, UpstreamToken, Workload
from authz_server.pb.envoy.config.core.v3.base_pb2 import HeaderValueOption
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse

ID = "019ab000-0000-7000-8000-000000000001"
DENIALS = [reason for reason in Reason if reason is not Reason.ALLOWED]


def written(reason: Reason, **fields: Any) -> CheckResponse:
    """The response to a decision."""
    decision = Decision(id=ID, time=0.0, revision="r-1", reason=reason, **fields)
    return CheckResponse.FromString(ResponseWriter().write(decision))


def denial_headers(response: CheckResponse) -> dict[str, str]:
    """The headers that the client gets."""
    return {option.header.key: option.header.value for option in response.denied_response.headers}


def test_only_an_allowed_decision_that_names_its_rule_allows() -> None:
    """Status code 0 comes from one reason, together with the rule."""
    response = written(Reason.ALLOWED, rule="orders/read")
    assert response.status.code == 0
    assert response.WhichOneof("http_response") == "ok_response"


def test_an_allowed_decision_without_a_rule_denies() -> None:
    """A defect of ours must not open the door, nor send the client a 200."""
    response = written(Reason.ALLOWED)
    assert response.status.code == OUTCOMES[Reason.INTERNAL_ERROR].grpc_code
    assert response.denied_response.status.code == 500


@pytest.mark.parametrize("reason", DENIALS)
def test_only_what_audit_may_let_pass_passes(reason: Reason) -> None:
    """A denial goes through where everything says so: the mode, that it would deny, and a reason of rules or users."""
    response = written(reason, mode="audit", would_deny=True)
    assert (response.status.code == 0) is (reason in AUDITABLE)
    assert (response.WhichOneof("http_response") == "ok_response") is (reason in AUDITABLE)
    for fields in ({"mode": "audit"}, {"would_deny": True}, {}):
        assert written(reason, **fields).status.code == OUTCOMES[reason].grpc_code != 0


def test_a_denial_in_audit_and_an_enforced_one_have_different_shapes() -> None:
    """The kept shape of one is never sent for the other."""
    writer = ResponseWriter()
    codes = []
    for would_deny in (True, False, True):
        decision = Decision(
            id=ID, time=0.0, revision="r", reason=Reason.NO_RULE_ALLOWS, mode="audit", would_deny=would_deny
        )
        codes.append(CheckResponse.FromString(writer.write(decision)).status.code)
    assert codes == [0, OUTCOMES[Reason.NO_RULE_ALLOWS].grpc_code, 0]


@pytest.mark.parametrize("reason", DENIALS)
def test_every_other_reason_denies_with_its_codes(reason: Reason) -> None:
    """Each denial has a gRPC code that is not 0 and a status of 4xx or 5xx, as the table says."""
    response = written(reason, rule="orders/read")
    assert response.status.code == OUTCOMES[reason].grpc_code != 0
    assert response.denied_response.status.code == OUTCOMES[reason].http_status >= 400


@pytest.mark.parametrize("reason", DENIALS)
def test_a_denial_has_a_problem_body_and_the_decision_id(reason: Reason) -> None:
    """RFC 9457: type, title, status; with the public reason and nothing from the request."""
    response = written(reason, detail="inner detail", path="/secret")
    problem = json.loads(response.denied_response.body)
    assert set(problem) == {"type", "title", "status", "reason", "decision_id"}
    assert (problem["status"], problem["decision_id"]) == (response.denied_response.status.code, ID)
    headers = denial_headers(response)
    assert (headers["content-type"], headers["x-authz-decision-id"]) == ("application/problem+json", ID)
    assert headers["cache-control"] == "no-store"


def test_failed_tokens_all_look_alike_outside() -> None:
    """A client does not learn which check its token failed."""
    seen = {
        (response.status.code, response.denied_response.body, tuple(denial_headers(response).items()))
        for response in map(written, (Reason.TOKEN_INVALID, Reason.TOKEN_EXPIRED, Reason.TOKEN_REVOKED))
    }
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("reason", "challenge"),
    [
        (Reason.UNAUTHENTICATED, "Bearer"),
        (Reason.TOKEN_INVALID, 'Bearer error="invalid_token"'),
        (Reason.TOKEN_EXPIRED, 'Bearer error="invalid_token"'),
        (Reason.NO_RULE_ALLOWS, None),
    ],
)
def test_a_401_says_how_to_authenticate(reason: Reason, challenge: str | None) -> None:
    """RFC 6750 section 3: a challenge, with an error code only where a credential came."""
    assert denial_headers(written(reason)).get("www-authenticate") == challenge


WITH_PROOFS = ("ES256", "EdDSA")
ALGORITHMS = 'algs="ES256 EdDSA"'
STEP_UP = Answer(headers=(HeaderChange("www-authenticate", 'Bearer error="x", max_age="9"'), HeaderChange("a", "b")))


@pytest.mark.parametrize(
    ("reason", "with_proof", "challenge"),
    [
        (Reason.UNAUTHENTICATED, False, f"Bearer, DPoP {ALGORITHMS}"),
        (Reason.TOKEN_INVALID, False, f'Bearer error="invalid_token", DPoP {ALGORITHMS}'),
        (Reason.TOKEN_INVALID, True, f'DPoP error="invalid_token", {ALGORITHMS}'),
        (Reason.TOKEN_EXPIRED, True, f'DPoP error="invalid_token", {ALGORITHMS}'),
        (Reason.PROOF_INVALID, True, f'DPoP error="invalid_dpop_proof", {ALGORITHMS}'),
        (Reason.STEP_UP_REQUIRED, False, f'Bearer error="x", max_age="9", DPoP {ALGORITHMS}'),
        (Reason.STEP_UP_REQUIRED, True, f'DPoP error="x", max_age="9", {ALGORITHMS}'),
        (Reason.OVERLOADED, True, None),
        (Reason.NO_RULE_ALLOWS, True, None),
    ],
)
def test_a_client_with_proofs_reads_its_own_challenge(reason: Reason, with_proof: bool, challenge: str | None) -> None:
    """RFC 9449 sections 7.1 and 7.2: what is wrong stands in the challenge of the scheme that the client used."""
    step_up = STEP_UP if reason is Reason.STEP_UP_REQUIRED else Answer()
    writer = ResponseWriter(WITH_PROOFS)
    for _ in range(2):
        decision = Decision(id=ID, time=0.0, revision="r", reason=reason, with_proof=with_proof, answer=step_up)
        headers = denial_headers(CheckResponse.FromString(writer.write(decision)))
        assert headers.get("www-authenticate") == challenge
        assert headers.get("a") == (None if step_up is not STEP_UP else "b")
        # The kept shape of one scheme is never sent to the other.
        writer.write(msgspec.structs.replace(decision, with_proof=not with_proof))


def test_a_challenge_that_a_rule_words_stays_as_it_is() -> None:
    """It is the author's, for whatever scheme."""
    worded = Answer(status=401, headers=(HeaderChange("www-authenticate", "Basic"),))
    decision = Decision(id=ID, time=0.0, revision="r", reason=Reason.DENIED_BY_RULE, rule="r", answer=worded)
    response = CheckResponse.FromString(ResponseWriter(WITH_PROOFS).write(decision))
    assert denial_headers(response)["www-authenticate"] == "Basic"


def test_a_denial_that_may_pass_says_when_to_try_again() -> None:
    """503 comes with Retry-After."""
    assert denial_headers(written(Reason.OVERLOADED))["retry-after"] == "1"


def test_a_rule_shapes_its_denial() -> None:
    """Status, body and headers of the rule's answer replace ours, but for the decision id."""
    answer = Answer(status=451, body="no", headers=(HeaderChange("content-type", "text/html"),))
    response = written(Reason.DENIED_BY_RULE, rule="r", answer=answer)
    assert (response.denied_response.status.code, response.denied_response.body) == (451, "no")
    headers = denial_headers(response)
    assert (headers["content-type"], headers["x-authz-decision-id"]) == ("text/html", ID)


HINT = Answer(hint="<script>alert('x')</script> & more")


def test_a_page_says_what_a_problem_says_and_nothing_runs_in_it() -> None:
    """Text of a rule stands in it as text."""
    response = written(Reason.DENIED_BY_RULE, answer=HINT, body_format="page")
    headers, body = denial_headers(response), response.denied_response.body
    assert (headers["content-type"], headers["x-content-type-options"]) == ("text/html; charset=utf-8", "nosniff")
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; &amp; more" in body
    assert "Access denied." in body
    assert f"Status 403, reason denied_by_rule, decision {ID}." in body
    assert "<script" not in body


def test_a_line_of_text_says_it_in_one_sentence() -> None:
    """For terminals."""
    response = written(Reason.TOKEN_EXPIRED, answer=Answer(hint="Log in."), body_format="plain")
    line = f"The access token is not valid. Log in. (reason token_invalid, decision {ID})"
    assert response.denied_response.body == line
    assert denial_headers(response)["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("reason", sorted(set(Reason) - {Reason.ALLOWED}))
def test_a_grpc_call_gets_the_code_of_its_reason(reason: Reason) -> None:
    """Envoy would make another one of 400 and 500; where a rule chose the HTTP status, it makes the code of that."""
    response = written(reason, body_format="grpc")
    assert int(denial_headers(response)["grpc-status"]) == OUTCOMES[reason].grpc_code
    assert response.denied_response.body.endswith(f"decision {ID})")
    chosen = written(reason, answer=Answer(status=404), body_format="grpc")
    assert "grpc-status" not in denial_headers(chosen)
    assert "grpc-status" not in denial_headers(written(reason, body_format="plain"))


@pytest.mark.parametrize("body_format", ["problem", "page", "plain", "grpc"])
def test_the_body_of_a_rule_stands_whatever_form_is_asked_for(body_format: BodyFormat) -> None:
    """It is the rule's word, as plain text."""
    response = written(Reason.DENIED_BY_RULE, answer=Answer(body="No."), body_format=body_format)
    assert response.denied_response.body == "No."
    headers = denial_headers(response)
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert "content-security-policy" not in headers


def test_a_hint_stands_in_the_problem_body() -> None:
    """The author of a rule can help the client."""
    response = written(Reason.DENIED_BY_RULE, rule="r", answer=Answer(hint="Ask the owner."))
    assert json.loads(response.denied_response.body)["detail"] == "Ask the owner."


def test_an_allowed_answer_overwrites_and_removes() -> None:
    """Headers replace those of the client, and everything that a rule can change is sent."""
    answer = Answer(
        set_headers=(HeaderChange("x-user", "ann"), HeaderChange("x-via", "authz", "append")),
        remove_headers=("x-workload",),
        set_query=(("tenant", "t1"),),
        remove_query=("debug",),
        response_headers=(HeaderChange("x-served-by", "orders"),),
        metadata=(("tier", "gold"),),
    )
    response = written(Reason.ALLOWED, rule="r", answer=answer)
    ok = response.ok_response
    action = HeaderValueOption.HeaderAppendAction
    assert [(h.header.key, h.header.value, h.append_action, h.append.value) for h in ok.headers] == [
        ("x-user", "ann", action.OVERWRITE_IF_EXISTS_OR_ADD, False),
        ("x-via", "authz", action.APPEND_IF_EXISTS_OR_ADD, True),
    ]
    assert list(ok.headers_to_remove) == ["x-workload"]
    assert [(q.key, q.value) for q in ok.query_parameters_to_set] == [("tenant", "t1")]
    assert list(ok.query_parameters_to_remove) == ["debug"]
    assert [h.header.key for h in ok.response_headers_to_add] == ["x-served-by"]
    assert response.dynamic_metadata.fields["answer"].struct_value["tier"] == "gold"


@pytest.mark.parametrize("reason", list(Reason))
def test_the_access_log_can_name_the_decision(reason: Reason) -> None:
    """Metadata comes with allow and deny alike."""
    workload = Workload(SpiffeId("spiffe://a/b", "a", ("b",)), None)
    metadata = written(reason, rule="orders/read", service="orders", workload=workload).dynamic_metadata
    assert metadata["decision_id"] == ID
    assert metadata["decision"] == ("allow" if reason is Reason.ALLOWED else "deny")
    assert (metadata["reason"], metadata["rule"], metadata["service"]) == (reason, "orders/read", "orders")
    assert (metadata["revision"], metadata["workload"]) == ("r-1", "spiffe://a/b")


def test_responses_of_one_shape_differ_by_their_id_alone() -> None:
    """Kept shapes give what a fresh writer gives, whichever came first."""
    writer = ResponseWriter()
    for reason in (*Reason, *Reason):
        for number in range(3):
            decision_id = f"{ID[:-1]}{number}"
            for answer in (Answer(), Answer(set_headers=(HeaderChange("x-user", decision_id),))):
                decision = Decision(id=decision_id, time=0.0, revision="r-1", reason=reason, rule="r", answer=answer)
                assert writer.write(decision) == ResponseWriter().write(decision)


def test_the_shapes_that_are_kept_are_bounded() -> None:
    """Answers that differ for every request do not pile up."""
    writer = ResponseWriter()
    for number in range(3 * SHAPES.entries):
        answer = Answer(set_headers=(HeaderChange("x-user", f"u{number}"),))
        writer.write(Decision(id=ID, time=0.0, revision="r", reason=Reason.ALLOWED, rule="r", answer=answer))
    assert writer.kept <= SHAPES.entries


def test_the_shapes_that_are_kept_are_counted_with_what_they_are_known_by() -> None:
    """Their values are in memory twice: as they are computed, and serialized."""
    writer, value = ResponseWriter(), "v" * 16_000
    writer.write(Decision(id=ID, time=0.0, revision="r", reason=Reason.ALLOWED, rule="r", answer=Answer()))
    for number in range(1000):
        answer = Answer(set_headers=(HeaderChange("x-user", f"{number}{value}"),))
        writer.write(Decision(id=ID, time=0.0, revision="r", reason=Reason.ALLOWED, rule="r", answer=answer))
    assert 2 * len(value) * writer.kept <= SHAPES.bytes


TOKEN = UpstreamToken("x-authz-token", "a.b.c")
PROTECTED = Answer(remove_headers=("x-authz-token", "x-user"), set_headers=(HeaderChange("x-a", "1"),))


def test_a_token_for_the_upstream_replaces_the_copy_of_the_client() -> None:
    """It is set and not removed; everything else is as without it."""
    response = written(Reason.ALLOWED, rule="r", answer=PROTECTED, upstream_token=TOKEN)
    assert [(h.header.key, h.header.value) for h in response.ok_response.headers] == [
        ("x-a", "1"),
        ("x-authz-token", "a.b.c"),
    ]
    assert {h.append_action for h in response.ok_response.headers} == {
        HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD
    }
    assert list(response.ok_response.headers_to_remove) == ["x-user"]
    without = written(Reason.ALLOWED, rule="r", answer=PROTECTED)
    assert list(without.ok_response.headers_to_remove) == ["x-authz-token", "x-user"]
    assert response.dynamic_metadata == without.dynamic_metadata


@pytest.mark.parametrize("reason", list(Reason))
def test_a_token_is_in_no_denial(reason: Reason) -> None:
    """Not even by a defect: neither where a reason denies, nor where no rule is named."""
    response = written(reason, answer=PROTECTED, upstream_token=TOKEN)
    assert response.WhichOneof("http_response") == "denied_response"
    assert TOKEN.value.encode() not in response.SerializeToString()


def test_tokens_do_not_fill_the_kept_shapes() -> None:
    """They differ for each request; those with and those without have shapes of their own."""
    writer = ResponseWriter()
    for number in range(20):
        for token in (UpstreamToken("x-authz-token", f"a.b.{number}"), None):
            decision = Decision(
                id=ID, time=0.0, revision="r", reason=Reason.ALLOWED, rule="r", answer=PROTECTED, upstream_token=token
            )
            assert writer.write(decision) == ResponseWriter().write(decision)
    assert writer.kept == 2


@pytest.mark.parametrize("reason", list(Reason))
def test_failures_of_ours_can_be_errors_and_nothing_else(reason: Reason) -> None:
    """What a policy or a credential denies stays a denial; an error says what a denial says, and is no permission."""
    decision = Decision(id=ID, time=0.0, revision="r-1", reason=reason)
    denied = CheckResponse.FromString(ResponseWriter().write(decision))
    response = CheckResponse.FromString(ResponseWriter(failures_are_errors=True).write(decision))
    # An `allowed` without a rule is a defect of ours.
    if reason not in FAILURES | {Reason.ALLOWED}:
        assert response == denied
        return
    assert response.WhichOneof("http_response") == "error_response"
    assert response.error_response == denied.denied_response
    assert (response.status, response.dynamic_metadata) == (denied.status, denied.dynamic_metadata)
