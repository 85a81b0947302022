"""`backtest`: a spec, a file of recorded health, and what would have become of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.starter.typing_it import Typed, typed

SPEC = {
    "service": "checkout",
    "environment": "prod",
    "release": {"candidate": "1.42.0", "stable": "1.41.3"},
    "strategy": {"stages": [{"percent": 5, "bake": "10m"}, {"percent": 100, "bake": "10m", "gates": ["hard-5xx"]}]},
    "routes": [{"kind": "envoy", "connection": "edge-1", "service": "checkout"}],
    "gates": {
        "errors": {"kind": "error-ratio", "requests": "r", "errors": "e"},
        "hard-5xx": {"query": "x", "above": 0.05, "for": "10s"},
    },
}
GOOD = [
    {"run": "good", "at": at, "percent": 5, "counts": {"errors": {"candidate": [500, 1], "stable": [9500, 19]}}}
    | {"values": {"hard-5xx": 0.002}}
    for at in range(5, 605, 5)
]
BAD = [
    {"run": "bad", "at": at, "percent": 5, "counts": {"errors": {"candidate": [25, 5], "stable": [475, 1]}}}
    for at in range(5, 605, 5)
]
Lines = list[dict[str, Any]]


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    file = tmp_path / "checkout.json"
    file.write_text(json.dumps(SPEC), encoding="utf-8")
    return file


def samples(beside: Path, lines: Lines | str) -> Path:
    file = beside.with_name("health.jsonl")
    file.write_text(lines if isinstance(lines, str) else "".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return file


def backtest(spec: Path, lines: Lines | str, *words: str) -> Typed:
    return typed("backtest", spec, "--samples", samples(spec, lines), *words)


def test_a_machine_reads_one_object_a_run_in_the_order_of_the_file(spec: Path) -> None:
    answer = backtest(spec, [*BAD, *GOOD], "--json")
    assert (answer.code, answer.err) == (0, "")
    bad, good = map(json.loads, answer.out.splitlines())
    assert list(bad) == ["run", "verdict", "gate", "at", "percent", "reason", "gates"]
    assert (bad["run"], bad["verdict"], bad["gate"], bad["percent"]) == ("bad", "breached", "errors", 5)
    assert bad["at"] <= 30
    assert bad["gates"]["errors"]["evidence"] >= 100
    assert bad["gates"]["hard-5xx"] == {
        "verdict": "no-data",
        "evidence": None,
        "candidate": None,
        "stable": None,
        "excludes_above": None,
    }
    assert (good["run"], good["verdict"], good["gate"], good["at"]) == ("good", "healthy", None, 600)
    assert good["gates"]["errors"]["candidate"] == [60_000, 120]
    assert good["gates"]["errors"]["stable"] == [1_140_000, 2280]
    assert 1 < good["gates"]["errors"]["excludes_above"] < 2


def test_a_person_reads_a_row_a_run_and_how_many_there_are(spec: Path) -> None:
    answer = backtest(spec, [*BAD, *GOOD])
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0].split() == ["RUN", "VERDICT", "AT", "PERCENT", "REASON"]
    assert lines[1].split()[:2] == ["bad", "breached"]
    assert lines[1].endswith("; would roll back")
    assert lines[2].split()[:5] == ["good", "healthy", "10m", "5", "%"]
    assert lines[3] == "2 runs: 1 healthy, 1 breached"
    assert lines[4:] == ["errors: dispersion 1, estimated from stable's own counts"]


def test_one_run_is_told_gate_by_gate(spec: Path) -> None:
    lines = [{name: value for name, value in line.items() if name != "run"} for line in GOOD]
    told = backtest(spec, lines).out.splitlines()
    assert told[2].split() == ["GATE", "VERDICT", "EVIDENCE", "CANDIDATE", "STABLE", "EXCLUDED"]
    assert told[3].startswith("errors    healthy  0.0")
    assert "120 of 60000  2280 of 1140000  above 1." in told[3]
    assert told[4] == "hard-5xx  healthy"
    assert told[5:] == ["errors: dispersion 1, estimated from stable's own counts: 2280 errors in 10m"]


def test_a_run_without_a_name_has_none(spec: Path) -> None:
    lines = [{name: value for name, value in line.items() if name != "run"} for line in BAD]
    assert json.loads(backtest(spec, lines, "--json").out)["run"] is None


def test_the_dispersion_may_be_given(spec: Path) -> None:
    slow, quick = (json.loads(backtest(spec, BAD, "--json", "--dispersion", phi).out)["at"] for phi in ("20", "1"))
    assert quick < slow
    assert backtest(spec, BAD, "--dispersion", "0.5").code == 2
    assert "errors: dispersion 2, given on the command line\n" in backtest(spec, BAD, "--dispersion", "2").out


def test_stable_s_bursts_make_it_careful_and_are_said(spec: Path) -> None:
    lines: Lines = [
        {"run": run, "at": at, "percent": 5, "counts": {"errors": {"candidate": [25, x_c], "stable": [475, x_b]}}}
        for at in range(5, 605, 5)
        for run, x_b in (("bursts", 24 * (at % 60 == 0)), ("calm", 2))
        for x_c in [12 * (at % 60 == 30)]
    ]
    bursts, calm = map(json.loads, backtest(spec, lines, "--json").out.splitlines())
    assert (bursts["verdict"], calm["verdict"], calm["gate"]) == ("no-data", "breached", "errors")
    assert bursts["gates"]["errors"]["verdict"] == "undecided"
    told = backtest(spec, lines).out.splitlines()[-1]
    assert told.startswith("errors: dispersion 1 to 2")
    assert told.endswith(", estimated from stable's own counts")


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ('{"at": 1, "percent": 5}\nrubbish\n', ":2: this is not JSON: Expecting value (column 1)"),
        ('\n\n{"at": 5, "percent": 5}\n{"at": 1, "percent": 5}', ":4: at: 1 s comes after 5 s; lines must be in time"),
        (
            '{"at": 1, "percent": 5, "counts": {"error": {}}}',
            ":1: 'error' is no gate of this spec; its gates: errors, h",
        ),
        (
            '{"at": 1, "percent": 5, "counts": {"errors": {"candidate": [1, 2], "stable": [1, 0]}}}',
            ":1: counts.errors.candidate: 2 events among 1 trials: more events than trials",
        ),
        ("", ": there are no samples in it"),
    ],
)
def test_a_file_that_cannot_be_replayed_is_refused_with_its_line(spec: Path, lines: str, sentence: str) -> None:
    answer = backtest(spec, lines, "--json")
    assert (answer.code, answer.out) == (1, "")
    assert f"health.jsonl{sentence}" in answer.err


def test_what_is_no_text_is_refused_with_its_line(spec: Path) -> None:
    file = samples(spec, "")
    file.write_bytes(b'{"at": 1, "percent": 5}\n\xff\n')
    assert "health.jsonl:2: this is not UTF-8 text" in typed("backtest", spec, "--samples", file).err


def test_a_file_that_is_not_there_is_a_slip_of_the_command_line(spec: Path) -> None:
    answer = typed("backtest", spec, "--samples", spec.with_name("none.jsonl"))
    assert (answer.code, answer.err.strip().endswith("none.jsonl: No such file or directory")) == (2, True)
    assert typed("backtest", spec).code == 2
    assert typed("backtest", "-", "--samples", "-").code == 2


def test_samples_come_from_standard_input_too(spec: Path) -> None:
    answer = typed("backtest", spec, "--samples", "-", "--json", stdin="\ufeff" + "\n".join(map(json.dumps, BAD)))
    assert json.loads(answer.out)["verdict"] == "breached"
    assert "stdin:1: this is not JSON" in typed("backtest", spec, "--samples", "-", stdin="x").err


def test_a_spec_that_is_wrong_is_refused_before_the_samples_are_read(spec: Path) -> None:
    spec.write_text("{}", encoding="utf-8")
    answer = typed("backtest", spec, "--samples", spec)
    assert (answer.code, answer.out) == (1, "")
    assert "service: Field required" in answer.err or "service: is missing" in answer.err


def test_what_a_recording_does_not_hold_is_said_beside_the_answer(spec: Path) -> None:
    gates: dict[str, Any] = {**SPEC["gates"], "hard-5xx": {"query": "x", "above": 0.05, "requests": "n"}}  # type: ignore[dict-item]  # a literal of mixed values
    spec.write_text(json.dumps({**SPEC, "gates": gates}), encoding="utf-8")
    answer = backtest(spec, GOOD, "--json")
    assert answer.code == 0
    assert answer.err.strip() == "hard-5xx: replayed by its value alone, without `requests` and `unless_baseline`"
    assert len(answer.out.splitlines()) == 1
