"""A certified OpenID provider (oidc-provider, on Node.js) as a process of its own."""

import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from authz_server.dev.processes import child
from authz_server.dev.waiting import wait_until

HERE = Path(__file__).parent
LOCK = HERE / "package-lock.json"
INSTALLED = HERE / "node_modules" / ".installed"
JWT, OPAQUE = "https://jwt.shop.example/", "https://opaque.shop.example/"
"""Resources (RFC 8707): tokens for the first are JWTs, those for the second are opaque."""
AUDIENCE = "shop"
ASKS = "gate"
"""The client that may introspect."""
BACK = "https://app.shop.example/back"
PATIENCE_S = 60.0
INSTALL_S = 300.0


class OidcProvider:
    """A running provider, and what can be had of it."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path, secret: str) -> None:
        self._process, self._log = process, log
        self.secret = secret
        """Of every client."""
        wait_until(lambda: bool(self._said("issuer")), PATIENCE_S, f"the OpenID provider to listen: {log}")
        self.issuer: str = self._said("issuer")[0]

    @property
    def token_url(self) -> str:
        """Where tokens are given out."""
        return f"{self.issuer}/token"

    def client_token(self, resource: str, scope: str = "orders:read", *, proof: str | None = None) -> str:
        """An access token of the client `batch` for itself; bound to the key of a DPoP proof where there is one."""
        form = {"grant_type": "client_credentials", "resource": resource, "scope": scope}
        return str(self._post("/token", "batch", form, proof).json()["access_token"])

    def user_tokens(
        self, subject: str, resource: str, scope: str = "orders:read", *, proof: str | None = None
    ) -> dict[str, Any]:
        """What a user's login gives the client `app`: an access token, bound to the key of a proof, and an ID token."""
        question = {
            "client_id": "app",
            "response_type": "code",
            "redirect_uri": BACK,
            "scope": f"openid {scope}",
            "resource": resource,
            "login_hint": subject,
        }
        with httpx2.Client(trust_env=False, timeout=PATIENCE_S) as browser:
            answer = browser.get(f"{self.issuer}/auth", params=question)
            while not answer.headers["location"].startswith(BACK):
                answer = browser.get(httpx2.URL(self.issuer).join(answer.headers["location"]))
        code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "resource": resource}
        return dict(self._post("/token", "app", form, proof).json())

    def revoke(self, token: str) -> None:
        """Take back an access token of a user (RFC 7009)."""
        self._post("/token/revocation", "app", {"token": token})

    def rotate(self) -> str:
        """Sign with another key from now on; its name."""
        before = len(self._said("key"))
        self._process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(self._said("key")) > before, PATIENCE_S, "the provider's new key")
        return str(self._said("key")[-1])

    def asked(self, path: str) -> int:
        """How many requests have come for this path."""
        return self._said("request").count(path)

    def _post(self, path: str, client: str, form: dict[str, str], proof: str | None = None) -> httpx2.Response:
        headers = {} if proof is None else {"dpop": proof}
        with httpx2.Client(trust_env=False, timeout=PATIENCE_S, auth=(client, self.secret)) as http:
            answer = http.post(f"{self.issuer}{path}", data=form, headers=headers)
        assert answer.status_code == httpx2.codes.OK, answer.text
        return answer

    def _said(self, name: str) -> list[str]:
        assert self._process.poll() is None, self._log.read_text()
        lines = [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]
        return [line[name] for line in lines if name in line]


@contextmanager
def oidc_provider(directory: Path) -> Iterator[OidcProvider]:
    """Run it while the block runs; skips the test where there is no Node.js."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("the OpenID provider needs Node.js with npm")
    _install(npm)
    secret = secrets.token_urlsafe(16)
    environment = {"PATH": os.environ["PATH"], "OIDC_CLIENT_SECRET": secret}
    command = [node, str(HERE / "provider.mjs")]
    with child(
        command, directory / "provider.jsonl", errors=directory / "provider.log", environment=environment
    ) as process:
        yield OidcProvider(process, directory / "provider.jsonl", secret)


def _install(npm: str) -> None:
    """What the lock file names, unless it is there already; another process that runs tests may be at it."""
    with LOCK.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = lock.read()
        if INSTALLED.exists() and INSTALLED.read_bytes() == wanted:
            return
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]
        subprocess.run(command, cwd=HERE, check=True, timeout=INSTALL_S, stdin=subprocess.DEVNULL)
        INSTALLED.write_bytes(wanted)
