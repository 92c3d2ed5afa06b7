"""Metrics of all workers come out summed, outlive a worker, and stay bounded."""

import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from prometheus_client.parser import text_string_to_metric_families

from authz_server.errors import Reason
from authz_server.model import Decision
from authz_server.pipeline import shed
from authz_server.telemetry import names
from authz_server.telemetry.control_metrics import ControlMetrics
from authz_server.telemetry.values import ValueFile
from authz_server.telemetry.worker_metrics import CacheState, WorkerMetrics


@pytest.fixture
def control(tmp_path: Path) -> ControlMetrics:
    """The metrics of a control process."""
    return ControlMetrics(tmp_path / "metrics")


@pytest.fixture
def directory(control: ControlMetrics, tmp_path: Path) -> Path:
    """Where workers keep their files."""
    return tmp_path / "metrics"


@pytest.fixture
def worker(directory: Path) -> Iterator[WorkerMetrics]:
    """The metrics of worker 0."""
    metrics = WorkerMetrics(directory, 0)
    yield metrics
    metrics.close()


def decision(reason: Reason = Reason.ALLOWED, service: str | None = "shop", rule: str | None = "shop/read") -> Decision:
    """A decision that is counted."""
    return Decision(id="d", time=0.0, revision="r", reason=reason, service=service, rule=rule)


def samples(control: ControlMetrics) -> dict[str, float]:
    """Every exposed sample: `name{label="value"}` -> value."""
    text = control.render().decode()
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def test_decisions_are_counted_by_reason_service_and_rule(control: ControlMetrics, worker: WorkerMetrics) -> None:
    """Each decision counts once under its labels; one without service or rule has an empty or no such series."""
    for made in [decision(), decision(), decision(Reason.DENIED_BY_RULE), decision(Reason.NO_SERVICE, None, None)]:
        worker.decided(made, 100)
    found = samples(control)
    assert {name: value for name, value in found.items() if "decisions" in name} == {
        'authz_decisions_total{decision="allow",reason="allowed",service="shop"}': 2,
        'authz_decisions_total{decision="deny",reason="denied_by_rule",service="shop"}': 1,
        'authz_decisions_total{decision="deny",reason="no_service",service=""}': 1,
        'authz_rule_decisions_total{rule="shop/read"}': 3,
    }
    assert found["authz_internal_errors_total"] == 0


def test_a_defect_is_counted_as_one(control: ControlMetrics, worker: WorkerMetrics) -> None:
    """Decisions with the reason internal_error have a metric of their own to alert on."""
    worker.decided(decision(Reason.INTERNAL_ERROR), 1)
    assert samples(control)["authz_internal_errors_total"] == 1


def test_calls_that_were_shed_are_counted_each(control: ControlMetrics, worker: WorkerMetrics) -> None:
    """As decisions and by themselves, but they took no time; those that were given up are no decisions."""
    worker.decided(shed(57, Reason.OVERLOADED, 0.0), 1)
    worker.decided(shed(3, Reason.OVERLOADED, 0.0), 1)
    worker.given_up()
    found = samples(control)
    assert found['authz_decisions_total{decision="deny",reason="overloaded",service=""}'] == 60
    assert found['authz_shed_calls_total{reason="overloaded"}'] == 60
    assert found['authz_shed_calls_total{reason="deadline"}'] == 0
    assert found["authz_check_seconds_count"] == 0
    assert found["authz_given_up_calls_total"] == 1


def test_times_fall_into_buckets(control: ControlMetrics, worker: WorkerMetrics) -> None:
    """A bucket counts what is at most its bound, the last one everything; the sum is in seconds."""
    for latency_us in (50, 51, 2500, 60_000):
        worker.decided(decision(), latency_us)
    found = {name.removeprefix("authz_check_seconds"): value for name, value in samples(control).items()}
    assert found['_bucket{le="5e-05"}'] == 1
    assert found['_bucket{le="0.0001"}'] == 2
    assert found['_bucket{le="0.001"}'] == 2
    assert found['_bucket{le="0.0025"}'] == 3
    assert found['_bucket{le="+Inf"}'] == found["_count"] == 4
    assert found["_sum"] == pytest.approx(0.062601)


def test_all_workers_are_summed(control: ControlMetrics, directory: Path) -> None:
    """There is one number for all workers, of counters, histograms and gauges alike."""
    for slot in range(3):
        worker = WorkerMetrics(directory, slot)
        worker.decided(decision(), 10)
        worker.unknown_key("corp")
        worker.caches_seen(CacheState(5, 3, 2), CacheState(1, 1, 1))
        worker.close()
    found = samples(control)
    assert found['authz_decisions_total{decision="allow",reason="allowed",service="shop"}'] == 3
    assert found['authz_unknown_keys_total{issuer="corp"}'] == 3
    assert found["authz_check_seconds_count"] == 3
    assert found["authz_token_cache_entries"] == 15
    assert found["authz_certificate_cache_misses_total"] == 3


def test_a_restarted_worker_goes_on_counting(control: ControlMetrics, directory: Path) -> None:
    """Counters of a slot never go back, its gauges begin anew, and its files are the same ones."""
    for restart in range(3):
        worker = WorkerMetrics(directory, 0)
        assert samples(control)["authz_token_cache_entries"] == 0
        worker.decided(decision(), 10)
        worker.caches_seen(CacheState(9, 4, 2), CacheState())
        worker.caches_seen(CacheState(9, 6, 2), CacheState())
        worker.close()
        found = samples(control)
        assert found['authz_rule_decisions_total{rule="shop/read"}'] == restart + 1
        assert found["authz_token_cache_hits_total"] == 6 * (restart + 1)
        assert found["authz_token_cache_entries"] == 9
    assert sorted(path.name for path in directory.iterdir()) == [
        *("counter_0.db", "counter_candidate_0.db", "gauge_sum_0.db", "histogram_0.db")
    ]


def test_a_killed_worker_loses_no_count(control: ControlMetrics, directory: Path) -> None:
    """What was counted is there although the process had no chance to tidy up."""
    script = f"""
import os, signal
from pathlib import Path
from authz_server.errors import Reason
from authz_server.model import Decision
from authz_server.telemetry.worker_metrics import WorkerMetrics
metrics = WorkerMetrics(Path({str(directory)!r}), 0)
for _ in range(1000):
    metrics.decided(Decision(id="d", time=0.0, revision="r", reason=Reason.ALLOWED, rule="shop/read"), 10)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert samples(control)['authz_rule_decisions_total{rule="shop/read"}'] == 1000


def test_threads_do_not_lose_counts(control: ControlMetrics, worker: WorkerMetrics) -> None:
    """Every decision counts, whichever thread made it."""

    def count() -> None:
        for number in range(500):
            worker.decided(decision(rule=f"shop/r{number % 50}"), 10)

    threads = [Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = samples(control)
    assert sum(value for name, value in found.items() if name.startswith("authz_rule_decisions_total")) == 2000
    assert found["authz_check_seconds_count"] == 2000


def test_series_are_bounded_and_their_sum_is_right(control: ControlMetrics, worker: WorkerMetrics) -> None:
    """Rules for which no series is left are counted together, and files stay within their bound."""
    rules = 40_000
    for number in range(rules):
        worker.decided(decision(rule=f"shop/{number}"), 10)
    worker.decided(decision(reason=Reason.NO_RULE_ALLOWS, service="late", rule=None), 10)
    found = samples(control)
    per_rule = {name: value for name, value in found.items() if name.startswith("authz_rule_decisions_total")}
    assert sum(per_rule.values()) == rules
    assert 20_000 < len(per_rule) < 35_000
    assert per_rule['authz_rule_decisions_total{rule="(other)"}'] == rules - len(per_rule) + 1
    assert found['authz_decisions_total{decision="deny",reason="no_rule_allows",service="(other)"}'] == 1


def test_a_number_for_which_there_is_no_room_is_refused(tmp_path: Path) -> None:
    """A file keeps within its bound, and its last part is for the numbers that stand for the others."""
    values = ValueFile(tmp_path / "counter_0.db", max_bytes=1 << 15)
    cells = [values.cell("a", "a_total", {"n": str(n)}, "h") for n in range(1000)]
    full = cells.index(None)
    assert 100 < full < 1000
    assert cells[full:] == [None] * (1000 - full)
    assert values.cell("a", "a_total", {"n": "0"}, "h") == cells[0]
    assert values.cell("a", "a_total", {"n": "(other)"}, "h", spare=True) is not None
    values.close()


def test_numbers_stay_where_they_are_when_the_file_grows(tmp_path: Path) -> None:
    """Growing moves no number and loses none."""
    values = ValueFile(tmp_path / "counter_0.db")
    for number in range(3000):
        cell = values.cell("a", "a_total", {"n": str(number)}, "h")
        assert cell is not None
        values.values[cell] = float(number)
    values.close()
    again = ValueFile(tmp_path / "counter_0.db")
    for number in range(3000):
        cell = again.cell("a", "a_total", {"n": str(number)}, "h")
        assert cell is not None
        assert again.values[cell] == number
    again.close()


def test_metrics_can_be_read_before_any_worker_counted(control: ControlMetrics) -> None:
    """A scrape at any moment of the start has an answer."""
    assert samples(control)["authz_worker_restarts_total"] == 0


def test_a_new_control_process_begins_at_zero(worker: WorkerMetrics, directory: Path) -> None:
    """Files of earlier workers do not pile up."""
    worker.decided(decision(), 10)
    assert not any("decisions" in name for name in samples(ControlMetrics(directory)))


def test_the_control_process_counts_what_it_does(control: ControlMetrics) -> None:
    """Each event shows in its metrics."""
    control.policies_activated("one", 10.0)
    control.policies_activated("two", 20.0)
    control.policies_kept(kept=True)
    control.policies_refused(3)
    control.configuration_problems(2)
    control.workers(serving=1, starting=1, failing=1)
    control.worker_restarted()
    control.audit_collected({1: 2}, 0)
    control.audit_collected({1: 2, 0: 1}, 3)
    control.audit_written(10)
    control.audit_spool(bytes=lambda: 4096, records=lambda: 6)
    control.audit_write_failed()
    control.policies_have_source()
    control.policies_fetched("fetched", 30.0)
    control.policies_fetched("failed", 40.0)
    control.keys_fetched("corp", ok=True)
    control.keys_fetched("corp", ok=False)
    control.keys_age("corp", lambda: 7.5)
    control.trust_problems(lambda: 3)
    control.candidate_problems(2)
    control.rolled_out(10)
    control.rollout_fell_back()
    assert samples(control) == {
        "authz_candidate_problems": 2,
        "authz_candidate_rollout_percent": 10,
        "authz_candidate_fall_backs_total": 1,
        'authz_reloads_total{result="ok"}': 2,
        'authz_reloads_total{result="failed"}': 1,
        "authz_policy_problems": 3,
        'authz_policy_revision_info{revision="two"}': 1,
        "authz_policy_loaded_timestamp_seconds": 20,
        "authz_configuration_problems": 2,
        "authz_policy_stale": 0,
        "authz_policy_kept": 1,
        'authz_workers{state="serving"}': 1,
        'authz_workers{state="starting"}': 1,
        "authz_worker_restarts_total": 1,
        "authz_workers_failing": 1,
        "authz_audit_records_total": 10,
        'authz_audit_dropped_total{worker="1"}': 4,
        'authz_audit_dropped_total{worker="0"}': 1,
        "authz_audit_refused_total": 3,
        "authz_audit_spool_bytes": 4096,
        "authz_audit_spool_records": 6,
        "authz_audit_write_errors_total": 1,
        'authz_policy_fetches_total{result="fetched"}': 1,
        'authz_policy_fetches_total{result="unchanged"}': 0,
        'authz_policy_fetches_total{result="refused"}': 0,
        'authz_policy_fetches_total{result="failed"}': 1,
        "authz_policy_fetched_timestamp_seconds": 30,
        'authz_keys_fetches_total{issuer="corp",result="ok"}': 1,
        'authz_keys_fetches_total{issuer="corp",result="failed"}': 1,
        'authz_keys_age_seconds{issuer="corp"}': 7.5,
        "authz_trust_problems": 3,
    }


def test_policies_that_load_again_have_no_problems(control: ControlMetrics) -> None:
    """The gauge of problems is about the files as they are now."""
    control.policies_refused(3)
    control.policies_activated("one", 10.0)
    assert samples(control)["authz_policy_problems"] == 0


def test_stale_policies_decide_while_the_files_have_problems(control: ControlMetrics) -> None:
    """Until those of the directory do; the attempt to load them has failed."""
    control.policies_refused(3)
    control.policies_stale("one", 10.0)
    names = ("authz_policy_stale", "authz_policy_kept", "authz_policy_problems", 'authz_reloads_total{result="ok"}')
    assert [samples(control)[name] for name in names] == [1, 1, 3, 0]
    control.policies_activated("two", 20.0)
    assert [samples(control)[name] for name in names] == [0, 1, 0, 1]


def test_the_age_of_keys_that_never_came_is_no_number(control: ControlMetrics) -> None:
    """An issuer without keys does not look fresh."""
    control.keys_age("corp", lambda: math.nan)
    assert math.isnan(samples(control)['authz_keys_age_seconds{issuer="corp"}'])


def test_lost_records_are_counted_from_zero(control: ControlMetrics) -> None:
    """For each worker there is, before it has lost any."""
    control.workers(serving=1, starting=1, failing=0)
    found = samples(control)
    assert [found[f'authz_audit_dropped_total{{worker="{slot}"}}'] for slot in (0, 1)] == [0, 0]


def test_fetches_of_keys_are_counted_from_zero(control: ControlMetrics) -> None:
    """An alert on an increase sees the first failure as well."""
    control.keys_age("corp", lambda: math.nan)
    found = samples(control)
    assert [found[f'authz_keys_fetches_total{{issuer="corp",result="{result}"}}'] for result in ("ok", "failed")] == [
        0,
        0,
    ]


def test_metrics_are_exposed_as_they_are_named(control: ControlMetrics, worker: WorkerMetrics) -> None:
    """Every metric of names.py is exposed with its name, type, labels and help, and no other is."""
    control.policies_have_source()
    worker.decided(decision(), 10)
    worker.unknown_key("corp")
    worker.introspected("corp", "accepted", 0.004)
    worker.proof_claimed("first")
    worker.candidate.begin()
    control.policies_activated("one", 10.0)
    control.workers(serving=1, starting=0, failing=0)
    control.audit_collected({0: 1}, 1)
    control.keys_fetched("corp", ok=True)
    control.keys_age("corp", lambda: 1.0)
    control.bundle_fetched("shop.example", ok=True)
    control.bundle_age("shop.example", lambda: 1.0)
    text = control.render().decode()
    exposed = {
        (name, kind, help_text) for help_text, name, kind in re.findall(r"# HELP \w+ (.*)\n# TYPE (\w+) (\w+)", text)
    }
    expected = {
        (metric.name, "gauge" if metric.kind == "info" else metric.kind, metric.help)
        for metric in names.WORKER_METRICS + names.CONTROL_METRICS
    }
    assert exposed == expected
    labels = {
        family.name: set(sample.labels) - {"le"}
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    for metric in names.WORKER_METRICS + names.CONTROL_METRICS:
        assert labels[metric.name.removesuffix("_total")] == set(metric.labels)
