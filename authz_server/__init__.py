"""External authorization for Envoy: identities checked against policies as code."""

import sys
from typing import Any

_modules: dict[str, Any] = sys.modules

if "structlog" not in _modules and "rich" not in _modules:
    # structlog loads rich for coloured tracebacks, which our log has not: a ninth of the start of a worker.
    _modules["rich"] = None
    import structlog  # noqa: F401

    del _modules["rich"]
