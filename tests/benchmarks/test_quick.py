"""The benchmark's promises hold, in a run that is small enough for every change; without `speed`: no clock in tests."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("false", "delay", "late", "peeking", "carried", "article")


def test_the_small_benchmark_keeps_every_bar() -> None:
    command = [sys.executable, "-m", "benchmarks.judge", "--quick", "--part", *PARTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
