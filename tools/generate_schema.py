"""Write schema/policy.schema.json, the JSON Schema of policy documents.

python tools/generate_schema.py
"""

import json
from pathlib import Path

from authz_server.policy.json_schema import policy_schema

TARGET = Path(__file__).resolve().parent.parent / "schema" / "policy.schema.json"


def generated() -> str:
    """The text of the file."""
    return json.dumps(policy_schema(), indent=2) + "\n"


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(generated())
