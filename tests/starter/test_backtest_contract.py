"""`sluice backtest` as a pipeline uses it: the console script, a file, and every word of its contract."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.starter.test_backtest import SPEC

SLUICE = Path(sys.executable).with_name("sluice")
GATES = {**SPEC["gates"], "memory": {"kind": "ceiling", "query": "m", "above": 0.9, "for": "5s", "on_breach": "hold"}}  # type: ignore[dict-item]  # a literal of mixed values
Line = dict[str, Any]
OBJECT = ["run", "verdict", "gate", "at", "percent", "reason", "gates"]
GATE = ["verdict", "evidence", "candidate", "stable", "excludes_above"]


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    file = tmp_path / "checkout.json"
    file.write_text(json.dumps({**SPEC, "gates": GATES}), encoding="utf-8")
    return file


def sluice(spec: Path, recording: str | bytes, *more: str) -> "subprocess.CompletedProcess[str]":
    data = recording.encode() if isinstance(recording, str) else recording
    file = spec.with_name("health.jsonl")
    file.write_bytes(data)
    command: list[str | Path] = [SLUICE, "backtest", spec, "--samples", file, *more]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={}, timeout=60)


def told(spec: Path, lines: list[Line] | str | bytes) -> list[Line]:
    recording = "".join(json.dumps(line) + "\n" for line in lines) if isinstance(lines, list) else lines
    done = sluice(spec, recording, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def counted(at: float, x_c: int, x_b: int = 2, percent: float = 5, **more: Any) -> Line:
    return {
        "at": at,
        "percent": percent,
        "counts": {"errors": {"candidate": [25, x_c], "stable": [475, x_b]}},
        **more,
    }


def valued(at: float, **values: Any) -> Line:
    return {"at": at, "percent": 5, "values": {name.replace("_", "-"): value for name, value in values.items()}}


def test_one_object_a_run_in_the_order_of_the_file_and_every_field(spec: Path) -> None:
    lines = [
        {**counted(at, x_c), "run": run}
        for at in range(5, 305, 5)
        for run, x_c in (("zebra", 0), ("ant", 12), (7, 0), (None, 0))
    ]
    found = told(spec, lines)
    assert [run["run"] for run in found] == ["zebra", "ant", 7, None]
    assert all(list(run) == OBJECT for run in found)
    assert all(list(gate) == GATE for run in found for gate in run["gates"].values())
    assert all(list(run["gates"]) == list(GATES) for run in found)
    assert [run["verdict"] for run in found] == ["no-data", "breached", "no-data", "no-data"]  # the rules said nothing
    assert {gate["verdict"] for run in found for gate in run["gates"].values()} <= {
        "breached",
        "healthy",
        "undecided",
        "no-data",
    }


def test_the_run_stops_at_its_first_breach_at_that_line_s_time_percent_and_gate(spec: Path) -> None:
    lines = [
        counted(5, 0),
        *(counted(at, 15, percent=25) for at in (10.5, 16.25, 21.75, 27)),
        *(counted(at, 0, percent=50) for at in range(30, 600, 5)),
        valued(600, hard_5xx=1),
    ]
    (run,) = told(spec, lines)
    assert (run["verdict"], run["gate"], run["percent"]) == ("breached", "errors", 25)
    assert run["at"] in {10.5, 16.25, 21.75, 27}
    judged = 1 + [10.5, 16.25, 21.75, 27].index(run["at"]) + 1
    errors = run["gates"]["errors"]
    assert (errors["verdict"], errors["candidate"], errors["stable"]) == (
        "breached",
        [25 * judged, 15 * (judged - 1)],
        [475 * judged, 2 * judged],
    )
    assert errors["evidence"] >= 100
    assert f"candidate {15 * (judged - 1)} of {25 * judged}" in run["reason"]
    assert run["gates"]["hard-5xx"] == dict.fromkeys(GATE) | {"verdict": "no-data"}


def test_a_rule_s_breach_is_at_the_line_that_completed_its_time(spec: Path) -> None:
    (run,) = told(spec, [valued(at, hard_5xx=0.2) for at in (0, 4, 8, 12, 16)])
    assert (run["verdict"], run["gate"], run["at"], run["percent"]) == ("breached", "hard-5xx", 12, 5)
    assert run["reason"].startswith("hard-5xx: 0.2, beyond its limit for 12s")


@pytest.mark.parametrize(("middle", "at"), [(None, 16), (0.01, 16), ("NaN", 16), ("error", 10), ("+Inf", 10)])
def test_null_is_an_empty_result_and_error_a_query_that_failed(spec: Path, middle: object, at: float) -> None:
    (run,) = told(spec, [valued(second, hard_5xx=middle if second == 4 else 0.2) for second in range(0, 30, 2)])
    assert (run["gate"], run["at"]) == ("hard-5xx", at)


def test_a_gate_missing_from_a_line_had_no_scrape_then(spec: Path) -> None:
    sparse = [counted(at, 3) if at % 15 == 0 else valued(at, hard_5xx=0.01) for at in range(5, 605, 5)]
    dense = [counted(at, 3) for at in range(15, 605, 15)]
    (one,), (other,) = told(spec, sparse), told(spec, dense)
    assert one["gates"]["errors"] == other["gates"]["errors"]
    assert one["at"] == other["at"]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\n\n \t\n", "\r\n\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_blank_lines_and_every_kind_of_line_end_are_the_same(spec: Path, ending: str, *, last: bool) -> None:
    lines = [counted(at, 10) for at in range(5, 60, 5)]
    text = ending.join(json.dumps(line) for line in lines) + (ending if last else "")
    assert told(spec, text) == told(spec, lines)


def test_a_byte_order_mark_does_no_harm(spec: Path) -> None:
    assert told(spec, b"\xef\xbb\xbf" + json.dumps(counted(5, 1)).encode())[0]["at"] == 5


def test_standard_input_is_a_dash(spec: Path) -> None:
    text = "".join(json.dumps(counted(at, 10)) + "\n" for at in range(5, 60, 5))
    command: list[str | Path] = [SLUICE, "backtest", spec, "--samples", "-", "--json"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, env={}, timeout=60)
    assert (done.returncode, json.loads(done.stdout)) == (0, told(spec, text)[0])


@pytest.mark.parametrize("nothing", ["", "\n\n", " \r\n"])
def test_a_recording_without_lines_cannot_be_replayed(spec: Path, nothing: str) -> None:
    done = sluice(spec, nothing, "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "there are no samples in it" in done.stderr


def test_a_run_that_heard_nothing_is_no_health(spec: Path) -> None:
    (run,) = told(spec, [{"at": at, "percent": 5} for at in range(0, 60, 5)])
    assert (run["verdict"], run["gate"], run["at"]) == ("no-data", None, 55)
    assert run["gates"]["errors"] == {
        "verdict": "no-data",
        "evidence": 1.0,
        "candidate": [0, 0],
        "stable": [0, 0],
        "excludes_above": None,
    }


def test_counts_of_a_thousand_million_are_computed_and_more_is_a_mistake(spec: Path) -> None:
    def line(n: int) -> str:
        return json.dumps(
            {"at": 5, "percent": 5, "counts": {"errors": {"candidate": [n // 20, n // 4000], "stable": [n, n // 200]}}}
        )

    assert told(spec, line(10**9))[0]["gates"]["errors"]["stable"] == [10**9, 5 * 10**6]
    done = sluice(spec, line(10**9 + 1), "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "counts.errors.stable: two whole numbers [trials, events] of 0 to 10^9 are wanted" in done.stderr


def test_every_verdict_ends_with_zero_and_only_pipes_get_no_colour(spec: Path) -> None:
    for lines in ([counted(5, 25), counted(10, 25), counted(15, 25)], [counted(5, 0)], [valued(5, hard_5xx=0)]):
        done = sluice(spec, "".join(json.dumps(line) + "\n" for line in lines))
        assert done.returncode == 0
        assert "\x1b" not in done.stdout
