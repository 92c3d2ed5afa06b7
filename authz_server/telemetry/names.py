"""Every metric, label and log key by its name, once. docs/metrics.md shows the same; a test compares the two."""

from typing import Literal, NamedTuple

DECISION = "decision"
REASON = "reason"
SERVICE = "service"
RULE = "rule"
RESULT = "result"
REVISION = "revision"
STATE = "state"
WORKER = "worker"
ISSUER = "issuer"
TRUST_DOMAIN = "trust_domain"
DECIDED_BY = "decided_by"
OUTCOME = "outcome"

OTHER = "(other)"
"""The label value that stands for all that find no place of their own."""


class Metric(NamedTuple):
    """A metric as it is exposed; times are in seconds."""

    name: str
    kind: Literal["counter", "gauge", "histogram", "info"]
    labels: tuple[str, ...]
    help: str


class CacheMetrics(NamedTuple):
    """The metrics of a cache."""

    entries: Metric
    hits: Metric
    misses: Metric


DECISIONS = Metric("authz_decisions_total", "counter", (DECISION, REASON, SERVICE), "Decisions.")
RULE_DECISIONS = Metric("authz_rule_decisions_total", "counter", (RULE,), "Decisions that a rule made.")
CHECK_SECONDS = Metric("authz_check_seconds", "histogram", (), "Time from a check's arrival to its record.")
INTERNAL_ERRORS = Metric("authz_internal_errors_total", "counter", (), "Checks denied because of a defect of ours.")
SHED_CALLS = Metric(
    "authz_shed_calls_total", "counter", (REASON,), "Calls denied unread, because more came than could be decided."
)
GIVEN_UP_CALLS = Metric(
    "authz_given_up_calls_total", "counter", (), "Calls that the proxy gave up before their turn came."
)
UNKNOWN_KEYS = Metric("authz_unknown_keys_total", "counter", (ISSUER,), "Tokens that named a key we do not have.")
INTROSPECTIONS = Metric(
    "authz_introspections_total",
    "counter",
    (ISSUER, RESULT),
    "Questions to an issuer about opaque tokens: accepted, refused or failed.",
)
INTROSPECTION_SECONDS = Metric("authz_introspection_seconds", "histogram", (), "Time that such a question took.")
INTROSPECTIONS_WAITING = Metric(
    "authz_introspections_waiting", "gauge", (), "Requests that wait for the answer to such a question."
)
DPOP_PROOFS = Metric(
    "authz_dpop_proofs_total",
    "counter",
    (RESULT,),
    "Good DPoP proofs: used for the first time, again, forgotten, or without room (full) or turn (busy) in the table.",
)
TOKEN_CACHE = CacheMetrics(
    Metric("authz_token_cache_entries", "gauge", (), "Verified tokens in memory."),
    Metric("authz_token_cache_hits_total", "counter", (), "Tokens that had been verified before."),
    Metric("authz_token_cache_misses_total", "counter", (), "Tokens that had to be verified."),
)
CERTIFICATE_CACHE = CacheMetrics(
    Metric("authz_certificate_cache_entries", "gauge", (), "Verified certificates in memory."),
    Metric("authz_certificate_cache_hits_total", "counter", (), "Certificates that had been verified before."),
    Metric("authz_certificate_cache_misses_total", "counter", (), "Certificates that had to be verified."),
)
CANDIDATE_DECISIONS = Metric(
    "authz_candidate_decisions_total",
    "counter",
    (DECIDED_BY, OUTCOME),
    "What a candidate changes, or changes where it decides: same, closed, opened, other; or it was skipped, or failed.",
)
CANDIDATE_SECONDS = Metric(
    "authz_candidate_seconds_total", "counter", (), "Time that it took to ask other policies than those that decide."
)
CANDIDATE_DENIED_BY_BOTH = Metric(
    "authz_candidate_denied_by_both_total",
    "counter",
    (),
    "Checks that a candidate decided and both policies deny, which say nothing of what a roll-out does.",
)
RELOADS = Metric("authz_reloads_total", "counter", (RESULT,), "Attempts to load the policies: ok or failed.")
POLICY_PROBLEMS = Metric("authz_policy_problems", "gauge", (), "Problems in the policy files as they are now.")
POLICY_REVISION = Metric("authz_policy_revision_info", "info", (REVISION,), "The revision that decides.")
POLICY_LOADED = Metric(
    "authz_policy_loaded_timestamp_seconds", "gauge", (), "When that revision was activated, since the epoch."
)
POLICY_STALE = Metric(
    "authz_policy_stale",
    "gauge",
    (),
    "1: the policies of an earlier run decide, because the directory was broken at the start and still is; else 0.",
)
POLICY_KEPT = Metric(
    "authz_policy_kept",
    "gauge",
    (),
    "1: the policies that decide are on disk for a start with a broken directory; else 0.",
)
CONFIGURATION_PROBLEMS = Metric(
    "authz_configuration_problems", "gauge", (), "Problems in the configuration when it was read last."
)
CANDIDATE_PROBLEMS = Metric(
    "authz_candidate_problems", "gauge", (), "Problems in the files of the candidate as they are now."
)
CANDIDATE_ROLLOUT = Metric(
    "authz_candidate_rollout_percent", "gauge", (), "The share of the callers for whom the candidate decides."
)
CANDIDATE_FALL_BACKS = Metric(
    "authz_candidate_fall_backs_total", "counter", (), "Roll-outs that fell back, because too much was denied."
)
WORKERS = Metric("authz_workers", "gauge", (STATE,), "Worker processes: serving or starting.")
WORKER_RESTARTS = Metric("authz_worker_restarts_total", "counter", (), "Workers that had to be replaced.")
WORKERS_FAILING = Metric(
    "authz_workers_failing", "gauge", (), "Workers that have ended three times or more in the last minute."
)
AUDIT_RECORDS = Metric("authz_audit_records_total", "counter", (), "Records written to the audit file.")
AUDIT_DROPPED = Metric("authz_audit_dropped_total", "counter", (WORKER,), "Records lost for want of room.")
AUDIT_REFUSED = Metric(
    "authz_audit_refused_total", "counter", (), "Requests denied because there was no room for their records."
)
AUDIT_SPOOL_BYTES = Metric("authz_audit_spool_bytes", "gauge", (), "Bytes of the spool that are taken.")
AUDIT_SPOOL_RECORDS = Metric("authz_audit_spool_records", "gauge", (), "Records that wait in the spool.")
AUDIT_WRITE_ERRORS = Metric("authz_audit_write_errors_total", "counter", (), "Failed writes to the audit file.")
POLICY_FETCHES = Metric(
    "authz_policy_fetches_total",
    "counter",
    (RESULT,),
    "Looks at the source of the policies: fetched, unchanged, refused or failed.",
)
POLICY_FETCHED = Metric(
    "authz_policy_fetched_timestamp_seconds",
    "gauge",
    (),
    "When the policies were last known to be those of their source; 0 before the first time.",
)
KEYS_FETCHES = Metric("authz_keys_fetches_total", "counter", (ISSUER, RESULT), "Fetches of keys: ok or failed.")
KEYS_AGE = Metric("authz_keys_age_seconds", "gauge", (ISSUER,), "Since the keys were fetched; NaN before the first.")
BUNDLE_FETCHES = Metric(
    "authz_bundle_fetches_total", "counter", (TRUST_DOMAIN, RESULT), "Fetches of trust bundles: ok or failed."
)
BUNDLE_AGE = Metric(
    "authz_bundle_age_seconds", "gauge", (TRUST_DOMAIN,), "Since the bundle was fetched; NaN before the first."
)
TRUST_PROBLEMS = Metric(
    "authz_trust_problems",
    "gauge",
    (),
    "Issuers, bundles, revocations, API keys and keys of upstream tokens that are unusable, or have a bad file.",
)

WORKER_METRICS = (
    *(DECISIONS, RULE_DECISIONS, CHECK_SECONDS, INTERNAL_ERRORS),
    *(SHED_CALLS, GIVEN_UP_CALLS, UNKNOWN_KEYS),
    *(INTROSPECTIONS, INTROSPECTION_SECONDS, INTROSPECTIONS_WAITING),
    DPOP_PROOFS,
    *(CANDIDATE_DECISIONS, CANDIDATE_SECONDS, CANDIDATE_DENIED_BY_BOTH),
    *TOKEN_CACHE,
    *CERTIFICATE_CACHE,
)
"""Counted by the workers, summed over all of them."""

CONTROL_METRICS = (
    *(RELOADS, POLICY_PROBLEMS, POLICY_REVISION, POLICY_LOADED),
    *(POLICY_STALE, POLICY_KEPT, CONFIGURATION_PROBLEMS),
    *(CANDIDATE_PROBLEMS, CANDIDATE_ROLLOUT, CANDIDATE_FALL_BACKS),
    *(WORKERS, WORKER_RESTARTS, WORKERS_FAILING),
    *(AUDIT_RECORDS, AUDIT_DROPPED, AUDIT_REFUSED, AUDIT_SPOOL_BYTES, AUDIT_SPOOL_RECORDS, AUDIT_WRITE_ERRORS),
    *(POLICY_FETCHES, POLICY_FETCHED),
    *(KEYS_FETCHES, KEYS_AGE),
    *(BUNDLE_FETCHES, BUNDLE_AGE, TRUST_PROBLEMS),
)
"""Counted by the control process."""

CHECK_BUCKETS_S = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.0025, 0.01, 0.05)
"""Upper bounds of the histogram of checks, in seconds."""

INTROSPECTION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Upper bounds of the histogram of introspections, in seconds."""

TIME = "time"
LEVEL = "level"
EVENT = "event"
LOGGER = "logger"
EXCEPTION = "exception"
SOURCE = "source"

LOG_KEYS = {
    TIME: "RFC 3339, UTC",
    LEVEL: "`debug`, `info`, `warning`, `error` or `critical`",
    EVENT: "what happened; of our own events a stable word",
    LOGGER: "the library that speaks, where it is not we",
    EXCEPTION: "a traceback",
    WORKER: "slot of the worker",
    "addresses": "where the workers listen",
    "admin": "where `/livez`, `/readyz` and `/metrics` are",
    "by": "what a caller of a roll-out is",
    "closed": "denials of a candidate that the policies in force would not have made",
    "configuration": "path of its file, or that there is none",
    "decision_id": "as in the audit record",
    "error": "type of an error, or what it says where that holds nothing of a request",
    "file": "path of the file that it is about",
    "fetched": "policies as their source calls them: an ETag, a digest, a commit",
    "generation": "number of a snapshot, counted from the start of the server",
    "activated": "when policies that are stale began to decide: RFC 3339, UTC",
    "decisions": "of a candidate, within the window that is looked back on",
    "exit_code": "of a process; negative: the signal that ended it",
    ISSUER: "of tokens, by its name in the configuration",
    "key": "`kid` of the key that signs upstream tokens",
    "next_key": "`kid` of the one that is to follow",
    "message": "kind of a message between the control process and a worker",
    "percent": "of the callers, for whom the candidate decides",
    "place": "where policies are fetched",
    "problem": "what is wrong, for people",
    "problems": "how many, of policies",
    REVISION: "of policies: their content hash",
    "revision_kept": "the revision that goes on to decide",
    "rules": "how many, in all services",
    "sample": "percentage of the checks about which a candidate is asked",
    "services": "how many",
    "settings": "sections of the configuration",
    "signer": "id of the key that vouches for policies",
    SOURCE: "a line of a policy file, and what is wrong in it underlined",
    TRUST_DOMAIN: "of workloads",
    "version": "of the server",
    "where": "file and line of a defect",
}
"""Each key of a log line, and what it holds."""
