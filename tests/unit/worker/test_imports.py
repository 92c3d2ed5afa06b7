"""What a worker loads."""

import json
import subprocess
import sys

FORBIDDEN = {"yaml", "pydantic", "pydantic_settings", "typer", "starlette", "uvicorn", "httpx2", "rich"}


def loaded_by(modules: str) -> set[str]:
    """The packages that are there after an import of these modules in a fresh process."""
    program = f"import json, sys, {modules}; print(json.dumps(sorted(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, check=True)
    return {name.partition(".")[0] for name in json.loads(loaded.stdout)}


def test_a_worker_loads_nothing_that_only_the_control_process_needs() -> None:
    """Neither by itself nor through what it imports: less to attack, less memory, a quicker start."""
    packages = loaded_by("authz_server.worker.main, authz_server.worker.grpcio_transport")
    assert "grpc" in packages
    assert packages & FORBIDDEN == set()


def test_a_worker_with_the_lean_transport_does_not_load_grpcio() -> None:
    """It would take a sixth of its memory."""
    packages = loaded_by("authz_server.worker.main, authz_server.worker.lean.server")
    assert "hpack" in packages
    assert packages & {"grpc", *FORBIDDEN} == set()
