"""Where it was measured."""

import platform
from importlib.metadata import version
from pathlib import Path

_LIBRARIES = ("grpcio", "protobuf", "msgspec")


def describe_machine() -> dict[str, str]:
    """System, processor and versions, by name."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "python": platform.python_version(),
        **{library: version(library) for library in _LIBRARIES},
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
