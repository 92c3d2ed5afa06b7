"""What a worker loads."""

import json
import subprocess
import sys

FORBIDDEN = {"yaml", "pydantic", "pydantic_settings", "typer", "starlette", "uvicorn", "httpx2"}


def test_a_worker_loads_nothing_that_only_the_control_process_needs() -> None:
    """Neither by itself nor through what it imports: less to attack, less memory, a quicker start."""
    program = "import json, sys, authz_server.worker.main; print(json.dumps(sorted(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, check=True)
    modules = {name.partition(".")[0] for name in json.loads(loaded.stdout)}
    assert "grpc" in modules
    assert modules & FORBIDDEN == set()
