"""Cases from a starting number on, on all cores, with progress; exit code 1 where a defect was found."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

SHOWN = 400
"""How many characters of a finding are shown; the file has all."""


class Found(NamedTuple):
    """A case that shows a defect."""

    seed: int
    what: str


def run(
    command: str,
    about: str | None,
    run_case: Callable[[int], tuple[int, list[Found]]],
    arguments: Sequence[str] | None,
    prepare: Callable[[], None] | None = None,
) -> int:
    """Try cases until the time is over. `run_case` gives the number of inputs and the defects of a case."""
    parser = argparse.ArgumentParser(prog=command, description=about)
    parser.add_argument("--seconds", type=float, default=600.0, help="for how long (default: 600)")
    parser.add_argument("--start", type=int, default=None, help="the first case; by default of the time")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings.txt"), help="where findings are kept")
    options = parser.parse_args(arguments)
    start = int(time.time()) * 1000 if options.start is None else options.start
    end, inputs, cases, shown = time.monotonic() + options.seconds, 0, 0, 0.0
    found: list[Found] = []
    print(f"cases from {start} on")
    with ProcessPoolExecutor(initializer=prepare, mp_context=get_context("spawn")) as pool:
        number = start
        waiting = {pool.submit(run_case, number := number + 1) for _ in range(2 * (os.cpu_count() or 1))}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                tried, more = future.result()
                inputs, cases, found = inputs + tried, cases + 1, found + more
                if time.monotonic() < end:
                    waiting.add(pool.submit(run_case, number := number + 1))
            if time.monotonic() - shown > (1 if sys.stdout.isatty() else 30) or not waiting:
                shown = time.monotonic()
                left = max(0, end - shown)
                print(f"{cases:,} cases, {inputs:,} inputs, {len(found)} findings, {left:.0f} s left", flush=True)
    for one in found[:20]:
        print(f"case {one.seed}: {one.what[:SHOWN]}", file=sys.stderr)
    if found:
        options.findings.write_text("\n".join(f"case {one.seed}: {one.what}" for one in found) + "\n")
        print(f"all findings: {options.findings}; again: {command} ARGS='--start {found[0].seed - 1}'", file=sys.stderr)
    return 1 if found else 0
