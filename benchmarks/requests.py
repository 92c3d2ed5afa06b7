"""Requests through Envoy, by h2load."""

from pathlib import Path

from msgspec import Struct

from benchmarks.errors import CannotMeasure
from benchmarks.load import Load, run_load
from benchmarks.policies import HOST, Policies, path

# Without TLS there is no caller's certificate: rules ask for a user alone.
POLICIES = Policies(200, users=True, conditions=200, callers=0)


class Requests(Struct, frozen=True):
    """What is sent through Envoy."""

    h2load: str
    token: str
    log: Path
    """A file for what each of them took."""

    def send(self, port: int, count: int, connections: int, *options: str) -> Load:
        """Send so many over HTTP/1.1, one after the other on each connection. Raises CannotMeasure."""
        target = f"http://{HOST}{path(POLICIES.rules - 1, 'c7-4711')}"
        command = [self.h2load, "--h1", f"--clients={connections}", f"--connect-to=127.0.0.1:{port}"]
        load = run_load([*command, *options, f"--header=authorization: Bearer {self.token}", target], count, self.log)
        if load.good != count:
            raise CannotMeasure(f"{load.good} of {count} requests through Envoy had a good answer")
        return load
