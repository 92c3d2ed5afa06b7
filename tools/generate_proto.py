"""Generate authz_server/pb from proto/, with imports that stay inside our own package.

protoc writes `from envoy.type.v3 import …`, but `envoy` as a top-level package belongs to others, so the
imports are rewritten to `authz_server.pb.…`.

    python tools/generate_proto.py [DIRECTORY]     default: authz_server/pb
"""

import re
import shutil
import sys
from pathlib import Path

import google.rpc
import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
OWN_IMPORT = re.compile(r"^(from|import) ((?:envoy|authz|cel)[\w.]*)", re.MULTILINE)


def generate(target: Path) -> None:
    """Write the stubs of every file below proto/ into `target`, which is emptied first."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    includes = [PROTO, Path(grpc_tools.__path__[0]) / "_proto", Path(google.rpc.__path__[0]).parent.parent]
    arguments = [f"-I{include}" for include in includes]
    if protoc.main(["protoc", *arguments, f"--python_out={target}", f"--pyi_out={target}", *sources]) != 0:
        raise SystemExit("protoc failed: see its message above")
    for path in [*target.rglob("*.py"), *target.rglob("*.pyi")]:
        path.write_text(OWN_IMPORT.sub(r"\1 authz_server.pb.\2", path.read_text()))
    for directory in [target, *(p for p in target.rglob("*") if p.is_dir())]:
        (directory / "__init__.py").write_text("")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "authz_server" / "pb")
