"""`backtest --prometheus`: last night's rollout, out of a metrics server."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from starter import asking
from starter.exits import Sorry
from starter.moments import moment_ms
from testbed.processes import wait_until
from tests.fakes.connections import FakeConnections
from tests.fakes.metrics import FakeMetrics
from tests.starter.conftest import Town
from tests.starter.test_backtest import SPEC
from tests.starter.typing_it import Typed, typed
from tests.testbed.routes import replace_routes

NOW_MS = 1_795_000_000_000
HOURS = 3_600_000


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    file = tmp_path / "checkout.json"
    file.write_text(json.dumps(SPEC), encoding="utf-8")
    return file


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeMetrics:
    """A server named `lab` that has counted for two hours; a candidate that fails since an hour ago."""
    found, began_ms = FakeMetrics(), time.time_ns() // 1_000_000 - 2 * HOURS

    def grow(by: float, later: float) -> Any:
        def value(at_ms: int) -> float:
            steps = max(0, at_ms - began_ms) // 5000
            return float(round(steps * by + max(0, steps - 720) * later))

        return value

    for version, requests, errors, later in (("canary", 25, 0.1, 5), ("stable", 475, 2, 0)):
        found.count("r", grow(requests, 0), scrape_ms=5000, version=version, pod=version)
        found.count("e", grow(errors, later), scrape_ms=5000, version=version, pod=version)

    @asynccontextmanager
    async def connected(_settings: object) -> AsyncIterator[FakeConnections]:
        yield FakeConnections(sources={"lab": found})

    monkeypatch.setattr(asking, "connected", connected)
    return found


def backtest(spec: Path, *words: str | Path) -> Typed:
    return typed("backtest", spec, "--prometheus", "lab", *words)


def test_a_server_s_past_is_replayed_by_the_connection_that_is_named(spec: Path, server: FakeMetrics) -> None:
    answer = backtest(spec, "--from", "-70m", "--json")
    assert (answer.code, answer.err) == (0, "")
    (run,) = map(json.loads, answer.out.splitlines())
    assert (run["run"], run["verdict"], run["gate"], run["percent"]) == (None, "breached", "errors", 5)
    assert 600 < run["at"] < 660
    calm = json.loads(backtest(spec, "--from=-110m", "--to", "-61m", "--json", "--percent", "25").out)
    assert (calm["verdict"], calm["percent"]) == ("healthy", 25)


def test_what_was_asked_can_be_kept_and_replayed_without_the_server(spec: Path, server: FakeMetrics) -> None:
    file = spec.with_name("kept.jsonl")
    asked = backtest(spec, "--from", "-70m", "--json", "--save", file)
    assert typed("backtest", spec, "--samples", file, "--json") == asked
    assert backtest(spec, "--from", "-70m", "--save", spec.parent).err.endswith("Is a directory\n")


def test_a_server_that_knows_nothing_does_not_answer_or_is_unknown_is_a_sentence(
    spec: Path, server: FakeMetrics
) -> None:
    answer = typed("backtest", spec, "--prometheus", "prod", "--from", "-1h")
    assert (answer.code, "no connection 'prod' in the worker's settings" in answer.err) == (1, True)
    server.counters.clear()
    server.say({})
    server._said[0] = (0, {})
    answer = backtest(spec, "--from", "-1h")
    assert (answer.code, answer.err) == (1, "lab: it knows nothing about these gates in that time\n")
    server.reachable = False
    assert backtest(spec, "--from", "-1h").err == "the metrics server does not answer\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "give either --samples FILE or --prometheus CONNECTION"),
        (["--samples", "x", "--prometheus", "lab"], "give either --samples FILE or --prometheus CONNECTION"),
        (["--prometheus", "lab"], "--prometheus needs --from: when the run began"),
        (["--samples", "x", "--percent", "5"], "--from, --to, --percent and --save go with --prometheus"),
        (["--samples", "x", "--to", "-1h"], "--from, --to, --percent and --save go with --prometheus"),
        (["--prometheus", "lab", "--from", "-1h", "--to", "-2h"], "--from must be earlier than --to"),
        (["--prometheus", "lab", "--from", "yesterday"], "--from: a moment such as 2026-11-20T10:00Z"),
        (["--prometheus", "lab", "--from", "-1h", "--to", "2999-01-01"], "--to: 2999-01-01 is yet to come"),
    ],
)
def test_options_that_contradict_each_other_are_slips_of_the_command_line(
    spec: Path, server: FakeMetrics, words: list[str], sentence: str
) -> None:
    answer = typed("backtest", spec, *words)
    assert (answer.code, answer.out) == (2, "")
    assert sentence in answer.err


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("now", 0),
        ("-2h", 7200),
        ("-1h30m", 5400),
        ("-90s", 90),
        ("1794999940", 60),
        ("1794999940.5", 59.5),
        ("2026-11-18T11:05:40Z", 60),
        ("2026-11-18T11:05:40", 60),
        ("2026-11-18 12:05:40+01:00", 60),
    ],
)
def test_moments(written: str, seconds: float) -> None:
    assert moment_ms("--from", written, 1_795_000_000_000) == 1_795_000_000_000 - seconds * 1000


@pytest.mark.parametrize("written", ["", "x", "-", "-5", "2h", "1795000000000", "2026-13-01", "-9999999d", "+1h", "²"])
def test_what_is_no_moment_is_refused(written: str) -> None:
    with pytest.raises(Sorry, match="--from: "):
        moment_ms("--from", written, NOW_MS)


@pytest.mark.server
def test_a_real_server_s_last_seconds_catch_a_candidate_that_fails(town: Town) -> None:
    labels = {"requests": "http_requests_total", "errors": 'http_requests_total{status=~"5.."}'}
    gates = {"errors": {"kind": "error-ratio", "dispersion": 1, **labels}}
    file = town.spec({"percent": 50, "bake": "10m"}, {"percent": 100, "bake": "10m", "gates": []}, gates=gates)
    replace_routes(town.bed.envoy, percent=50)
    town.bed.fault(0.5)
    words = ("backtest", file, "--prometheus", "prometheus", "--from", "-8s", "--json")

    def caught() -> bool:
        answer = town.sluice(*words, SLUICE_CONFIG=str(town.bed.settings))
        assert answer.code == 0 or "it knows nothing about these gates" in answer.err, answer.err
        return answer.code == 0 and json.loads(answer.out)["verdict"] == "breached"

    try:
        wait_until(caught, within_s=30, what="the past is a breach")
    finally:
        town.bed.fault(0)
