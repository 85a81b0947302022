"""The benchmark on Kubernetes runs and tells what it measured; how fast it was is not judged here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.kubernetes.peers import SENTENCE
from benchmarks.kubernetes.rows import Row, quantile, table
from benchmarks.kubernetes.sightings import share
from testbed.kubernetes.objects import NGINX
from tests.kubernetes_bed import control_plane_or_skip

ROOT = Path(__file__).parents[2]
CASES = ("breach-1s", "edit", "crowd")


@pytest.mark.server
@pytest.mark.timeout(300)
def test_a_tiny_run_tells_every_case_it_was_asked_for(tmp_path: Path) -> None:
    control_plane_or_skip()
    file = tmp_path / "found.json"
    command = [sys.executable, "-m", "benchmarks.kubernetes", "--quick", "--only", *CASES, "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=270, check=False)
    assert file.exists(), done.stdout[-2000:] + done.stderr[-2000:]
    told = json.loads(file.read_text(encoding="utf-8"))
    assert tuple(told["cases"]) == CASES
    assert SENTENCE in done.stdout
    rows = [row for case in told["cases"].values() for row in case]
    assert all(row["values"] and row["case"] in done.stdout for row in rows)
    _, writes = told["cases"]["breach-1s"]
    assert writes["values"] == [1.0], "one write a way back, however late it was"
    starts, breaches, *costs = told["cases"]["crowd"]
    assert [len(row["values"]) for row in (starts, breaches)] == [3, 3]
    assert {row["unit"] for row in costs} == {"%", "", "MiB", "ms"}
    missed = [row["case"] for row in rows if row["met"] is False]
    assert done.returncode == (1 if missed else 0)


def test_the_table_shows_what_was_met_and_what_was_not() -> None:
    good = Row("quick", [1.0, 2.5, 12.34], argo="5 s", bar="≤ 13 s", met=True, notes=("seen",))
    shown = table([good, Row("slow", [9.5], bar="≤ 1 s", met=False)]).splitlines()
    assert shown[2] == "| quick | 1 / 2.50 / 12.3 s (3) | 5 s | – | ≤ 13 s | yes |"
    assert shown[3] == "| slow | 9.50 s | – | – | ≤ 1 s | **NO** |"
    assert shown[-1] == "- quick: seen"


def test_the_99th_percentile_of_200_leaves_out_two() -> None:
    values = [float(number) for number in range(1, 201)]
    assert [quantile(values, part) for part in (0, 0.5, 0.99, 1)] == [1, 100, 198, 200]


def test_a_weight_counts_out_of_its_total() -> None:
    assert share({f"{NGINX}canary-weight": "500", f"{NGINX}canary-weight-total": "10000"}) == 5
    assert share({f"{NGINX}canary-weight": "40"}) == 40
    assert share({}) == 0
