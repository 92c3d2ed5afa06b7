"""Reloads under load: each decision is of exactly one revision, and none of an older one than was reported.

`make reloads` does a thousand and measures the memory; the tests do a few.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import grpc
from msgspec import Struct, field

from authz_server.dev.waiting import wait_until
from authz_server.errors import Reason
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from authz_server.policy.files import policy_file, revision
from authz_server.worker.address import Address
from tests.unit.control.fleet import CHECK, PATIENCE_S, request
from tests.unit.control.server_process import Served

RELOADS = 1000
CHECKS_AFTER_A_REPORT = 10
MAX_GROWTH = 0.05
WARM_UP = 0.2
"""The share of the reloads before the memory is looked at first: caches and buffers fill up to their bounds."""


class Figures(Struct):
    """What was seen."""

    reloads: int = 0
    under_load: int = 0
    after_reports: int = 0
    wrong: list[str] = field(default_factory=list)
    """Decisions that are not what their revision says, or are of an older one."""
    memory_before: dict[str, int] = field(default_factory=dict)
    memory_after: dict[str, int] = field(default_factory=dict)
    """Resident bytes by process and kind, after the first fifth of the reloads and after the last."""
    slowest_s: float = 0.0
    """From an edit to its report."""

    def growth(self) -> dict[str, float]:
        """How much the memory has grown, as a share of what it was."""
        return {name: self.memory_after[name] / before - 1 for name, before in self.memory_before.items()}


def rule_of(number: int) -> str:
    """The one rule of the policies with this number; few names, because each that has decided has its own metric."""
    return f"rule-{number % 50}"


def policy(number: int) -> str:
    """Policies that tell themselves from those before: those with an even number allow, the others deny."""
    effect, callers = ("deny", "") if number % 2 else ("allow", "from: anyone, ")
    rule = f"{{id: {rule_of(number)}, effect: {effect}, {callers}to: [{{methods: [GET]}}]}}"
    return f"# {number}\nkind: service\nname: orders\nhosts: [orders.shop.example]\nrules:\n  - {rule}\n"


class Site:
    """A server whose policies are edited, and what it has reported."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._directory = served.policies.parent
        self.numbers: dict[str, int] = {}
        """Of policies by their revision."""
        self.reported = -1
        """The number of the latest policies that were said to decide."""

    def edit(self, number: int) -> str:
        """Save other policies; returns their revision."""
        text = policy(number)
        name = revision([policy_file(self._directory, self._served.policies.name, text.encode())])
        self.numbers[name] = number
        draft = self._directory / "draft"
        draft.write_text(text)
        draft.replace(self._served.policies)
        return name

    def wait_for_report(self, number: int, name: str) -> None:
        """Return when the server says that these policies decide: in the log, or at `/readyz`."""
        by_log = number % 4 < 2

        def is_reported() -> bool:
            if by_log:
                return any(line["revision"] == name for line in self._served.events("policies_reloaded")[-1:])
            return bool(self._served.readiness()["policies"]["revision"] == name)

        wait_until(is_reported, PATIENCE_S, f"the report of {name}")
        self.reported = number


class Caller:
    """Asks one worker, over one connection, and judges what it answers."""

    def __init__(self, address: Address, site: Site, wrong: list[str]) -> None:
        self._channel = grpc.insecure_channel(str(address))
        self._call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(CHECK)
        self._request = request().SerializeToString()
        self._address, self._site, self._wrong = address, site, wrong

    def ask(self) -> bool:
        """Ask once; whether policies have decided. A worker that has too much to do denies before they do."""
        reported = self._site.reported
        try:
            answer = CheckResponse.FromString(self._call(self._request, timeout=PATIENCE_S, wait_for_ready=True))
        except grpc.RpcError as error:
            self._wrong.append(f"{self._address}: {error}")
            return False
        said = {name: value.string_value for name, value in answer.dynamic_metadata.fields.items()}
        if (said.get("decision"), said.get("reason"), said.get("revision")) == ("deny", Reason.OVERLOADED, ""):
            return False
        number = self._site.numbers.get(said.get("revision", ""), -1)
        allowed = number % 2 == 0
        expected = ("allow" if allowed else "deny", f"orders/{rule_of(number)}", 0 if allowed else 7)
        if (said.get("decision"), said.get("rule"), answer.status.code) != expected:
            self._wrong.append(f"{self._address}: policies {number} decided {said}")
        if number < reported:
            self._wrong.append(f"{self._address}: policies {number} decided after {reported} were reported")
        return True

    def close(self) -> None:
        """Hang up."""
        self._channel.close()


@contextmanager
def load(callers: Sequence[Caller], figures: Figures) -> Iterator[None]:
    """Ask each worker again and again while the block runs."""
    end = Event()
    counts = [0] * len(callers)

    def ask_on(place: int) -> None:
        while not end.is_set():
            counts[place] += callers[place].ask()

    threads = [Thread(target=ask_on, args=(place,)) for place in range(len(callers))]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end.set()
        for thread in threads:
            thread.join()
        figures.under_load = sum(counts)


def run(directory: Path, reloads: int, listen: str) -> Figures:
    """So many reloads of a server in this directory."""
    figures = Figures(reloads=reloads)
    served = Served(directory)
    served.prepare(listen=listen)
    site = Site(served)
    site.edit(0)
    with served.running():
        site.reported = 0
        callers = [Caller(address, site, figures.wrong) for address in served.endpoints() for _ in range(2)]
        loading, asking = callers[::2], callers[1::2]
        with load(loading, figures):
            for number in range(1, reloads + 1):
                edited = time.monotonic()
                site.wait_for_report(number, site.edit(number))
                figures.slowest_s = max(figures.slowest_s, time.monotonic() - edited)
                for turn in range(CHECKS_AFTER_A_REPORT):
                    wait_until(asking[turn % len(asking)].ask, PATIENCE_S, "a decision")
                    figures.after_reports += 1
                if number == round(reloads * WARM_UP):
                    figures.memory_before = memory(served)
        figures.memory_after = memory(served)
        for caller in callers:
            caller.close()
    return figures


def memory(served: Served) -> dict[str, int]:
    """Resident bytes of the control process and of the workers, whole and without what is mapped from files."""
    assert served.process is not None
    processes = {"control": served.process.pid}
    processes |= {f"worker {place}": pid for place, pid in enumerate(served.workers())}
    found = {}
    for name, pid in processes.items():
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        kilobytes = {line.split()[0]: int(line.split()[1]) for line in lines}
        found[f"{name}, resident"] = kilobytes["Rss:"] * 1024
        found[f"{name}, anonymous"] = kilobytes["Anonymous:"] * 1024
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the figures, and fail where they are not what they should be."""
    parser = argparse.ArgumentParser("make reloads", description=__doc__)
    parser.add_argument("--reloads", type=int, default=RELOADS)
    parser.add_argument("--listen", default="unix:check-{worker}.sock", help="as in the configuration")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        figures = run(Path(directory), options.reloads, options.listen)
    growth = figures.growth()
    lines = [
        f"{figures.reloads:,} reloads, {figures.slowest_s:.2f} s from edit to report at most",
        f"{figures.under_load:,} decisions under load, {figures.after_reports:,} right after a report",
        f"{len(figures.wrong)} wrong",
        *figures.wrong[:10],
        *(f"{name}: {size / 2**20:.1f} MiB, then {growth[name]:+.1%}" for name, size in figures.memory_before.items()),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if figures.wrong or max(growth.values()) > MAX_GROWTH else 0


if __name__ == "__main__":
    sys.exit(main())
