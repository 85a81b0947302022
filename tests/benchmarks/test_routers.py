"""The benchmark of the routers runs, and says by its exit code whether anything was lost."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.routers.__main__ import Result, complaints

ROOT = Path(__file__).parents[2]


@pytest.mark.server
def test_a_small_run_keeps_the_promises() -> None:
    small = ["--router", "haproxy", "--changes", "6", "--requests", "2000"]
    command = [sys.executable, "-m", "benchmarks.routers", *small]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "as promised" in done.stdout


def test_what_was_lost_and_what_is_off_is_told() -> None:
    whole = Result("haproxy", 1000, Counter({"reused:eof": 2}), 1, [1.0], [1.0], [1.0], {5.0: 9.0}, 20_000)
    told = complaints([whole])
    assert [sentence.split(",")[0] for sentence in told] == [
        "haproxy lost {'reused:eof': 2}",
        "haproxy: 1 requests were lost again when retried",
        "haproxy: 9.00 % at 5 %",
    ]
    by_reload = Result("nginx-reload", 1000, Counter({"reused:eof": 2}), 0, [1.0], [1.0], [1.0], {5.0: 5.0}, 20_000)
    assert complaints([by_reload]) == []
