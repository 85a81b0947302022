import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rollout.judge.counters import Counters
from rollout.judge.verdict import GateState, Verdict
from rollout.messages import Watched, Watching
from starter.demo import run_demo
from starter.demo.evidence import Evidence, breached_at, failed_at
from starter.demo.ground import check_parts
from starter.demo.scenarios import (
    ABORT,
    ALL,
    BAD,
    FLIP_BACK,
    GOOD,
    NEVER_READY,
    ROLLED,
    ROLLING_BAD,
    ROLLING_FILE,
    SLOW,
    NoSpec,
    fitting,
    read_script,
)
from starter.demo.score import Row, score
from starter.demo.table import print_table
from testbed.parts import PartMissing
from testbed.processes import wait_until
from testbed.report import LoadReport
from tests.kubernetes_bed import control_plane_or_skip

SLUICE = str(Path(sys.executable).with_name("sluice"))
WHOLE_DEMO_S = 420.0  # seven rollouts, on a machine that others use too
KEYS = [
    "scenario",
    "workflow_id",
    "outcome",
    "seconds_to_zero",
    "bad_responses",
    "dropped_requests",
    "requests",
    "history_events",
    "percents_seen",
    "caught_by",
    "seconds_to_breach",
    "article_rule_s",
    "seconds_to_flag_off",
    "flag_at_end",
    "rolled_back",
]


# ── the real thing ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.server
@pytest.mark.timeout(500)
def test_every_scenario_ends_as_promised_and_drops_nothing(tmp_path: Path) -> None:
    with _demo(tmp_path, "--scenario", "all", "--json") as demo:
        out, err = demo.communicate(timeout=WHOLE_DEMO_S)
    print(err)
    assert demo.returncode == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert [list(row) for row in rows] == [KEYS] * 7
    good, bad, slow, abort, flag, switched, flipped = rows
    assert [(row["scenario"], row["outcome"], row["percents_seen"]) for row in rows] == [
        ("good", "Promoted", [5, 25, 50, 100]),
        ("bad", "RolledBack", [5, 25, 0]),
        ("slow", "RolledBack", [5, 25, 0]),
        ("abort", "Aborted", [5, 25, 0]),
        ("flag", "Promoted", [5, 25, 50, 100]),
        ("blue-green", "Promoted", [0, 100]),
        ("flip-back", "RolledBack", [0, 100, 0]),
    ]
    for row in rows:
        assert row["workflow_id"] == "rollout:demo/checkout"
        assert row["dropped_requests"] == 0
        assert row["requests"] > 1000
        assert 0 < row["history_events"] <= (150 if row is flag else 120)
    for row in (good, slow, abort, switched):
        assert row["bad_responses"] == 0
        assert [row[key] for key in ("seconds_to_zero", "seconds_to_breach", "article_rule_s")] == [None] * 3
    assert bad["bad_responses"] > 0
    assert 1 < bad["seconds_to_breach"] < bad["seconds_to_zero"] < 20  # 15 errors and two scrapes
    assert bad["article_rule_s"] > bad["seconds_to_breach"] + 100  # its `for` alone is 120 s
    assert [row["caught_by"] for row in rows] == [
        None,
        "errors",
        "latency",
        None,
        "errors",
        None,
        "fast-5xx",
    ]
    assert [(row["flag_at_end"], row["rolled_back"]) for row in rows if row is not flag] == [(None, None)] * 6
    assert (flag["flag_at_end"], flag["rolled_back"]) == ("off", False)
    assert flipped["bad_responses"] > 0
    assert not list(tmp_path.iterdir())


@pytest.mark.server
@pytest.mark.timeout(400)
@pytest.mark.parametrize("route", ["haproxy", "nginx", "alb"])
def test_canary_blue_green_and_the_way_back_drop_nothing_on_any_router(route: str, tmp_path: Path) -> None:
    ends = {}
    for scenario in ("bad", "blue-green"):
        with _demo(tmp_path, "--route", route, "--scenario", scenario, "--json") as demo:
            out, err = demo.communicate(timeout=WHOLE_DEMO_S)
        assert demo.returncode == 0, err
        row = json.loads(out)
        assert row["dropped_requests"] == 0
        assert row["requests"] > 1000
        ends[row["scenario"]] = (row["outcome"], row["percents_seen"])
    assert ends == {"bad": ("RolledBack", [5, 25, 0]), "blue-green": ("Promoted", [0, 100])}


@pytest.mark.server
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("route", "scenario", "percents", "caught_by"),
    [
        ("rolling-update", "rolling-bad", [100, 0], "errors"),
        ("rolling-update", "never-ready", [100, 0], None),
        ("gateway-api", "bad", [5, 25, 0], "errors"),
    ],
)
def test_the_way_back_on_kubernetes_drops_nothing(
    route: str, scenario: str, percents: list[int], caught_by: str | None, tmp_path: Path
) -> None:
    control_plane_or_skip()
    with _demo(tmp_path, "--route", route, "--scenario", scenario, "--json") as demo:
        out, err = demo.communicate(timeout=WHOLE_DEMO_S)
    assert demo.returncode == 0, err
    row = json.loads(out)
    assert (row["outcome"], row["percents_seen"], row["caught_by"]) == ("RolledBack", percents, caught_by)
    assert row["dropped_requests"] == 0
    assert (row["bad_responses"] > 0) == (caught_by is not None)
    assert 0 < row["history_events"] <= 120
    assert not list(tmp_path.iterdir())


@pytest.mark.server
@pytest.mark.parametrize(
    ("number", "moment", "code"),
    [
        (signal.SIGTERM, "starting two shops", 130),
        (signal.SIGINT, "Baking", 130),
        (signal.SIGKILL, "Baking", -signal.SIGKILL),
    ],
)
def test_no_process_outlives_the_demo(number: signal.Signals, moment: str, code: int, tmp_path: Path) -> None:
    with _demo(tmp_path, "--scenario", "good") as demo:
        _read_until(demo, moment)
        wait_until(lambda: len(_children(demo.pid)) >= 5, within_s=20, what="the parts run")
        children = _children(demo.pid)
        demo.send_signal(number)
        demo.send_signal(number)  # pressed twice out of impatience: it must not break off the stopping
        out, err = demo.communicate(timeout=60)
        assert demo.returncode == code, out + err
        wait_until(lambda: not _living(children), within_s=5, what="no child is left")
    if code == 130:
        assert "Traceback" not in out + err
        assert not list(tmp_path.iterdir())


@pytest.mark.server
def test_keep_leaves_parts_running_that_take_pasted_commands(tmp_path: Path) -> None:
    with _demo(tmp_path, "--scenario", "abort", "--keep") as demo:
        said = _read_until(demo, "Stop everything")
        children = _children(demo.pid)
        start, abort = (_pasted(said, what) for what in ("workflow start", "--name abort"))
        _shell(start)
        wait_until(lambda: '"Baking"' in _shell(_status(abort)), within_s=30, what="the route could be shifted again")
        _shell(abort)
        demo.send_signal(signal.SIGINT)
        _, err = demo.communicate(timeout=60)
        assert demo.returncode == 0, err
        assert not _living(children)
    assert re.search(r"http://127\.0\.0\.1:\d+/namespaces/default/workflows\n", said)
    assert not list(tmp_path.iterdir())


@contextmanager
def _demo(temporary: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a person runs it; temporary files go where the test can see what is left of them."""
    demo = subprocess.Popen(
        [SLUICE, "demo", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
        start_new_session=True,
    )
    try:
        yield demo
    finally:
        demo.kill()
        demo.communicate()


def _read_until(demo: subprocess.Popen[str], words: str) -> str:
    said = ""
    assert demo.stdout
    for line in demo.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(f"the demo ended before it said {words!r}: {said}{demo.communicate()[1]}")


def _processes() -> dict[int, tuple[int, str]]:
    """Parent and state of every process."""
    listed = subprocess.run(["ps", "-axo", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    return {int(pid): (int(parent), state) for pid, parent, state in rows}


def _children(pid: int) -> list[int]:
    return [child for child, (parent, _) in _processes().items() if parent == pid]


def _living(pids: list[int]) -> list[int]:
    states = _processes()
    return [pid for pid in pids if pid in states and not states[pid][1].startswith("Z")]


def _pasted(said: str, words: str) -> str:
    return next(line.strip() for line in said.splitlines() if words in line and "TEMPORAL_ADDRESS=" in line)


def _status(abort: str) -> str:
    return abort.replace("workflow signal", "workflow query").replace("--name abort", "--type status --output json")


def _shell(line: str) -> str:
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ── what it counts as kept ───────────────────────────────────────────────────────────────────────

SCRIPT = read_script()
STEADY = LoadReport(
    started_at=100.0,
    written_at=160.5,
    finished=True,
    requests=9000,
    versions={"stable": 8000, "canary": 1000},
    last_seconds=[(159, {"stable": 150, "canary": 0, "bad": 0, "dropped": 0})],
)
ROLLED_BACK = Evidence(
    "RolledBack",
    "gate errors",
    (5.0, 25.0, 0.0),
    events=75,
    fired_at=140.0,
    caught_by="errors",
    zero_at=141.0,
)


# 160 good requests of the candidate until 131.0 s, then 40 a second until the traffic is gone.
FAILING = LoadReport(
    started_at=100.0,
    written_at=160.5,
    finished=True,
    requests=9000,
    bad_responses=32,
    first_bad_at=131.0,
    versions={"stable": 8480, "canary": 520},
    last_seconds=[
        *((at, {"stable": 110, "canary": 40, "bad": 4, "dropped": 0}) for at in range(131, 140)),
        *((at, {"stable": 150, "canary": 0, "bad": 0, "dropped": 0}) for at in range(140, 160)),
    ],
)


def _shortfalls(evidence: Evidence = ROLLED_BACK, **load: Any) -> tuple[str, ...]:
    return score(BAD, SCRIPT, evidence, STEADY.model_copy(update=load), "").shortfalls


def test_a_rollback_within_the_bound_is_as_promised() -> None:
    row = score(BAD, SCRIPT, ROLLED_BACK, FAILING, "")
    assert row.shortfalls == ()
    assert (row.seconds_to_zero, row.cause_to_zero_s) == (10.0, 1.0)


def test_what_a_gate_has_caught_is_compared_with_the_article_s_rule() -> None:
    row = score(BAD, SCRIPT, ROLLED_BACK, FAILING, "")
    # 160 requests before, then 40 a second, a tenth of them bad: more than 5 % from 4 s on.
    assert (row.caught_by, row.seconds_to_breach) == ("errors", 9.0)
    assert row.article_rule_s == pytest.approx(124.0)
    _, head, told, reason, compared, last = _printed(row).splitlines()
    columns = dict(zip(re.split(r" {2,}", head), re.split(r" {2,}", told), strict=True))
    assert columns == {
        "scenario": "bad",
        "outcome": "RolledBack",
        "percents proven": "5 → 25 → 0",
        "caught by": "errors",
        "first bad → breach → 0 %": "9.0 → 10.0 s",
        "cause → 0 %": "1.0 s",
        "bad": "32",
        "dropped": "0",
        "requests": "9000",
        "events": "75",
    }
    assert reason == "bad: gate errors"
    caught = "bad: errors caught it 9.0 s after the first bad response"
    rule = "the article's rule (5xx rate[5m] above 5 % for 2m) would have fired after 124 s"
    assert compared == f"{caught}; going on like this, {rule}"
    assert last == "Everything as promised, in 30 s."


def test_a_rule_that_never_fires_is_said_to_stay_silent() -> None:
    few = [(at, {**counts, "bad": 1}) for at, counts in FAILING.last_seconds]
    row = score(BAD, SCRIPT, ROLLED_BACK, FAILING.model_copy(update={"last_seconds": few}), "")
    assert row.article_rule_s is None
    assert row.comparison.endswith("for 2m) would not have fired")


def test_what_is_slow_is_caught_without_a_bad_response() -> None:
    row = score(SLOW, SCRIPT, replace(ROLLED_BACK, caught_by="latency"), STEADY, "")
    assert row.shortfalls == ()
    assert (row.seconds_to_breach, row.article_rule_s, row.cause_to_zero_s) == (None, None, 1.0)
    assert row.comparison.startswith("latency caught it without a bad response; ")
    assert row.comparison.endswith("would not have fired")


def test_nobody_is_compared_without_a_gate_that_caught_it() -> None:
    aborted = replace(ROLLED_BACK, outcome="Aborted", fired_at=None, caught_by=None, told_at=140.0)
    row = score(ABORT, SCRIPT, aborted, STEADY, "")
    assert row.shortfalls == ()
    assert (row.caught_by, row.seconds_to_breach, row.article_rule_s, row.comparison) == (None, None, None, "")
    assert "caught it" not in _printed(row)


def _printed(row: Row) -> str:
    shown = io.StringIO()
    print_table(Console(file=shown), [row], 30)
    return "\n".join(line.rstrip() for line in shown.getvalue().splitlines())


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (replace(ROLLED_BACK, outcome="Aborted"), "it ended Aborted instead of RolledBack"),
        (replace(ROLLED_BACK, zero_at=143.1), "0 % was proven 3.1 s after the breach could be seen, promised are 3 s"),
        (replace(ROLLED_BACK, fired_at=None), "no breach of a gate"),
        (replace(ROLLED_BACK, caught_by="hard-5xx"), "it was caught by hard-5xx instead of errors"),
        (replace(ROLLED_BACK, caught_by=None, fired_at=None), "it was caught by nobody instead of errors"),
        (replace(ROLLED_BACK, events=121), "the history has 121 events"),
        (replace(ROLLED_BACK, percents_seen=(5.0, 0.0)), "5 → 0 instead of 5 → 25 → 0"),
    ],
)
def test_a_run_that_is_not_as_promised_is_told(evidence: Evidence, words: str) -> None:
    (sentence,) = _shortfalls(evidence)
    assert words in sentence


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ({"dropped_requests": 2, "dropped": {"reused:eof": 2}}, "2 requests were dropped: 2 × reused:eof"),
        ({"skipped_requests": 1}, "never sent"),
        ({"last_seconds": [(159, {"stable": 149, "canary": 1})]}, "after the end visitors saw"),
        ({"last_seconds": [(160, {"stable": 70, "canary": 0})]}, "after the end visitors saw nan"),
    ],
)
def test_what_visitors_suffered_is_told(load: dict[str, Any], words: str) -> None:
    (sentence,) = _shortfalls(**load)
    assert words in sentence


def test_errors_after_zero_was_proven_do_not_shorten_the_way_back() -> None:
    late = STEADY.model_copy(update={"bad_responses": 1, "first_bad_at": 150.0})
    assert score(BAD, SCRIPT, ROLLED_BACK, late, "").seconds_to_zero is None


def test_a_promoted_rollout_has_no_way_back_to_time() -> None:
    everyone = STEADY.model_copy(update={"last_seconds": [(159, {"stable": 0, "canary": 150})]})
    row = score(GOOD, SCRIPT, Evidence("Promoted", "", (5.0, 25.0, 50.0, 100.0), events=103), everyone, "")
    assert row.shortfalls == ()
    assert row.as_json() == {
        **dict.fromkeys(KEYS, 0),
        "scenario": "good",
        "workflow_id": "rollout:demo/checkout",
        "outcome": "Promoted",
        **dict.fromkeys(("seconds_to_zero", "caught_by", "seconds_to_breach", "article_rule_s")),
        **dict.fromkeys(("seconds_to_flag_off", "flag_at_end", "rolled_back")),
        "requests": 9000,
        "history_events": 103,
        "percents_seen": [5, 25, 50, 100],
    }


@pytest.mark.parametrize(("watermark_ms", "fired_at"), [(130_000, 130.0), (134_000, 130.0)])
def test_a_rule_fires_at_its_tick_however_late_the_poll_is(watermark_ms: int, fired_at: float) -> None:
    state = GateState(watermark_ms=watermark_ms, active={"": 10_000}, verdict=Verdict.BREACHED)
    watching = Watching(states={"hard-5xx": state}, watermark_ms=watermark_ms)
    assert breached_at(Watched(why="breached", gate="hard-5xx", watching=watching), SCRIPT.spec) == fired_at
    assert breached_at(Watched(why="interrupted", watching=watching), SCRIPT.spec) is None
    assert breached_at(Watched(why="breached", watching=watching), SCRIPT.spec) is None  # the pool is dead


def test_a_gate_that_counts_breaches_with_the_newest_scrape_that_it_is_made_of() -> None:
    counted = Counters(since_ms=0, at_ms=15_700, watermark_ms=15_700, closed_ms=15_200)
    state = GateState(watermark_ms=16_400, verdict=Verdict.BREACHED, counters=counted)
    watching = Watching(states={"errors": state}, watermark_ms=16_400)
    assert breached_at(Watched(why="breached", gate="errors", watching=watching), SCRIPT.spec) == 15.7


def test_a_router_that_gives_up_is_seen_by_the_poll_that_heard_it() -> None:
    watching = Watching(watermark_ms=130_000, failed="its progress deadline is exceeded")
    assert failed_at(Watched(why="breached", watching=watching)) == 130.0
    assert failed_at(Watched(why="breached", gate="errors", watching=watching)) is None
    assert failed_at(Watched(why="breached", watching=Watching(watermark_ms=130_000))) is None
    assert failed_at(Watched(why="interrupted", watching=watching)) is None


def test_a_roll_is_proven_once_at_100_percent_and_its_way_back_waits_for_pods() -> None:
    script = read_script(ROLLING_FILE)
    assert [each.percents(script.stages) for each in (ROLLED, ROLLING_BAD, NEVER_READY)] == [
        (100.0,),
        (100.0, 0.0),
        (100.0, 0.0),
    ]
    assert script.most_to_zero_s > SCRIPT.most_to_zero_s


def test_on_another_route_the_forced_header_is_asked_for_as_that_one_wants_it() -> None:
    script = read_script(FLIP_BACK.file)
    header = {"name": "X-Canary", "candidate": "always", "stable": "never"}
    moved = script.on({**script.written["routes"][0], "header": header})
    assert moved.written["gates"]["smoke"]["header"] == {"name": "X-Canary", "value": "always"}
    assert moved.written["gates"]["fast-5xx"] == script.written["gates"]["fast-5xx"]
    assert script.written["gates"]["smoke"]["header"]["value"] == "true"


# ── what it refuses ──────────────────────────────────────────────────────────────────────────────


def test_an_unknown_scenario_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(scenario="ugly", as_json=False, keep=False) == 2
    assert "good, bad, slow, abort, flag, blue-green, flip-back and all" in capsys.readouterr().err
    assert [scenario.name for scenario in fitting("envoy")] == [
        "good",
        "bad",
        "slow",
        "abort",
        "flag",
        "blue-green",
        "flip-back",
    ]


@pytest.mark.parametrize(
    ("router", "scenario", "fits"),
    [
        ("rolling-update", "bad", "rolling, rolling-bad, never-ready and all"),
        ("gateway-api", "never-ready", "good, bad, slow, abort, blue-green, flip-back and all"),
    ],
)
def test_a_scenario_that_does_not_fit_the_route_is_refused_with_those_that_do(
    router: str, scenario: str, fits: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_demo(scenario=scenario, as_json=False, keep=False, router=router) == 2
    err = capsys.readouterr().err
    assert f"scenario '{scenario}' makes no sense on --route {router}; those that do are {fits}" in err
    assert {each.name for each in ALL} == {each.name for each in (*fitting("envoy"), *fitting("rolling-update"))}


def test_an_unknown_router_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(scenario="good", as_json=False, keep=False, router="apache") == 2
    assert "there is no router 'apache'; known are envoy, haproxy," in capsys.readouterr().err


def test_a_missing_part_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("testbed.parts.REPOSITORY", tmp_path)
    monkeypatch.setattr("testbed.parts.sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run_demo(scenario="good", as_json=False, keep=False) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("sluice demo: temporal (")
    assert "make setup" in err
    assert not list(tmp_path.iterdir())


def test_a_missing_control_plane_is_a_sentence_only_where_one_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("testbed.parts.REPOSITORY", tmp_path)
    monkeypatch.setattr("testbed.parts.sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("temporal", "prometheus", "envoy", "haproxy"):
        (tmp_path / name).touch(mode=0o755)
    check_parts("envoy")
    with pytest.raises(PartMissing, match=r"etcd .* run `make setup`"):
        check_parts("rolling-update")


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "cannot be read"), ("{", "Expecting"), ("{}", "is missing"), ("[]", "must be a JSON object")],
)
def test_a_spec_that_does_not_serve_is_a_sentence(text: str | None, words: str, tmp_path: Path) -> None:
    file = tmp_path / "checkout.json"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(NoSpec, match=words):
        read_script(file)


def test_a_spec_without_the_turning_point_is_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "checkout.json"
    file.write_text(SCRIPT.file.read_text(encoding="utf-8").replace('"percent": 25', '"percent": 30'), encoding="utf-8")
    with pytest.raises(NoSpec, match="no stage of 25 %"):
        read_script(file)


def test_a_spec_without_the_gate_that_ends_a_scenario_is_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "checkout.json"
    file.write_text(SCRIPT.file.read_text(encoding="utf-8").replace('"errors": {', '"faults": {'), encoding="utf-8")
    with pytest.raises(NoSpec, match="no gate errors"):
        read_script(file)
