"""The demo's scenario of the flag: what the history says of it, what is promised, and what people see."""

import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from temporalio.api.history.v1 import HistoryEvent

from rollout import names
from rollout.happened import Breach, Mitigated, Phase, RolloutResult
from rollout.messages import Watched, Watching
from rollout.plan import Facts, plan
from rollout.progress import Progress
from rollout.status import RolloutStatus, status
from starter.demo.evidence import Evidence
from starter.demo.playing import Acts
from starter.demo.scenarios import BAD, FLAG, NoSpec, fitting, read_script
from starter.demo.scene import Scene
from starter.demo.score import Row, score
from starter.demo.spared import Spared, spared
from starter.demo.table import print_table
from starter.demo.view import Lines, picture
from testbed.edge import CLUSTERS, EDGES
from testbed.report import LoadReport
from workflows.converter import DATA_CONVERTER

SCRIPT = read_script(FLAG.file)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
KEY = "flagd flags/flags/new-checkout"
REASON = (
    "gate errors was breached (errors: candidate 23 of 243 (9.5 %), stable 0 of 1711 (0 %): stable has none, evidence "
    f"1631); flag {KEY} was turned off, and after 6s without it the gate has recovered (errors: candidate 0 of 246 "
    "(0 %), stable 0 of 660 (0 %): none on either side, so there is no ratio yet): `resume` goes on with it off"
)

# Bad from 131.0 s on, breached at 137.0 s, off at 138.5 s; held at 145.0 s until a person resumes at 148.0 s.
KEPT = Spared(KEY, "recovered", off_at=138.5, held_at=145.0, resumed_at=148.0)
EVIDENCE = Evidence(
    "Promoted", "", (5.0, 25.0, 50.0, 100.0), events=121, fired_at=137.0, caught_by="errors", spared=KEPT
)
LOAD = LoadReport(
    started_at=100.0,
    written_at=180.5,
    finished=True,
    requests=9000,
    bad_responses=28,
    first_bad_at=131.0,
    last_bad_at=138.2,
    versions={"stable": 7000, "canary": 2000},
    last_seconds=[(at, {"stable": 0, "canary": 150, "bad": 0, "dropped": 0}) for at in range(151, 181)],
)
FAILING = LOAD.model_copy(
    update={
        "versions": {"stable": 4000, "canary": 320},
        "last_seconds": [(at, {"stable": 110, "canary": 40, "bad": 4, "dropped": 0}) for at in range(131, 139)],
    }
)


def row(evidence: Evidence = EVIDENCE, flag_at_end: str | None = "off", **load: Any) -> Row:
    return score(
        FLAG, SCRIPT, evidence, LOAD.model_copy(update=load), "", failing_load=FAILING, flag_at_end=flag_at_end
    )


# ── what is promised ─────────────────────────────────────────────────────────────────────────────


def test_a_feature_that_is_turned_off_and_a_release_that_stays_are_as_promised() -> None:
    made = row()
    assert made.shortfalls == ()
    assert (made.seconds_to_breach, made.seconds_to_flag_off, made.seconds_to_zero) == (6.0, 7.5, None)
    told = made.as_json()
    assert (told["seconds_to_flag_off"], told["flag_at_end"], told["rolled_back"]) == (7.5, "off", False)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "no flag was turned off"),
        (replace(KEPT, off_at=None), "no flag was turned off"),
        (replace(KEPT, outcome="did not help: errors"), "did not recover: did not help: errors"),
        (replace(KEPT, resumed_at=None), "went on without waiting for a person"),
        (replace(KEPT, held_at=None, resumed_at=None), "went on without waiting for a person"),
        (replace(KEPT, off_at=140.5), "the flag was proven off 3.5 s after the breach could be seen, promised are 3 s"),
        (replace(KEPT, off_at=138.0), "the last bad response came 0.2 s after the flag was proven off"),
    ],
)
def test_a_flag_that_was_not_enough_is_told(found: Spared | None, words: str) -> None:
    (sentence,) = row(replace(EVIDENCE, spared=found)).shortfalls
    assert words in sentence


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("on", "gives visitors on instead of off"),
        ("off and on", "off and on instead"),
        (None, "nothing instead of off"),
    ],
)
def test_a_flag_that_is_not_off_at_the_end_is_told(given: str | None, words: str) -> None:
    (sentence,) = row(flag_at_end=given).shortfalls
    assert words in sentence


def test_a_release_that_went_back_is_not_what_was_promised() -> None:
    went_back = row(replace(EVIDENCE, outcome="RolledBack", percents_seen=(5.0, 25.0, 0.0), zero_at=150.0))
    assert "it ended RolledBack instead of Promoted: no reason given" in went_back.shortfalls
    assert "the release was rolled back; turning the flag off is promised to be enough" in went_back.shortfalls
    assert went_back.as_json()["rolled_back"] is True
    assert "release rolled back" in printed(went_back)


def test_a_feature_that_never_failed_shows_nothing() -> None:
    healthy = row(bad_responses=0, first_bad_at=None, last_bad_at=None)
    assert healthy.shortfalls == ("no visitor had a bad response, so nothing is shown",)
    assert healthy.seconds_to_flag_off is None


def test_the_article_s_rule_is_computed_from_when_it_still_failed_however_long_the_run_went_on() -> None:
    # 40 requests a second, a tenth of them bad; the 40 before the second of the first bad one soon weigh nothing.
    assert row().article_rule_s == pytest.approx(121.0, abs=1.0)
    alone = score(FLAG, SCRIPT, EVIDENCE, LOAD, "", flag_at_end="off")
    assert alone.article_rule_s is None  # the last report has forgotten it


def test_the_table_says_that_the_flag_went_off_and_the_release_did_not_go_back() -> None:
    head, told, what, *_ = printed(row()).splitlines()[1:]
    assert "caught by  flag " in head
    assert "errors     off after 7.5 s, release not rolled back" in told
    assert "6.0 s → never" in told
    assert what == (
        f"flag: {KEY} was proven off 7.5 s after the first bad response and is off at the end; a person resumed 3.0 s "
        "after the gate had recovered; the release was not rolled back, 0 % was never written"
    )


def test_without_a_flag_the_table_has_no_column_for_one() -> None:
    bad = replace(row(), scenario="bad", flag_at_end=None, rolled_back=None, spared="")
    assert "flag" not in printed(bad).splitlines()[1]
    assert "never" not in printed(bad).splitlines()[2]
    both = printed(row(), bad).splitlines()
    assert "errors     –  " in both[3]


def printed(*rows: Row) -> str:
    shown = io.StringIO()
    print_table(Console(file=shown), list(rows), 30)
    return "\n".join(line.rstrip() for line in shown.getvalue().splitlines())


# ── what the history says ────────────────────────────────────────────────────────────────────────


def event(at: float) -> HistoryEvent:
    made = HistoryEvent()
    made.event_time.FromMicroseconds(round(at * 1e6))
    return made


async def watched(at: float, why: str) -> tuple[str, HistoryEvent]:
    made = event(at)
    result = Watched.model_validate({"why": why, "watching": Watching(watermark_ms=1)})
    made.activity_task_completed_event_attributes.result.payloads.extend(await DATA_CONVERTER.encode([result]))
    return names.WATCH_HEALTH, made


def resumed(at: float, *, by_signal: bool = False) -> HistoryEvent:
    made = event(at)
    if by_signal:
        made.workflow_execution_signaled_event_attributes.signal_name = names.RESUME
    else:
        accepted = made.workflow_execution_update_accepted_event_attributes
        accepted.accepted_request.input.name = names.RESUME
    return made


def result(*mitigated: Mitigated) -> RolloutResult:
    return RolloutResult(
        outcome=Phase.PROMOTED,
        service="checkout",
        environment="demo",
        candidate="1.42.0",
        stable="1.41.3",
        percent=100,
        started_at=NOON,
        ended_at=NOON,
        mitigated=mitigated,
    )


HELPED = Mitigated(mitigation=0, flag=KEY, gate="errors", off_at=NOON, outcome="recovered")


@pytest.mark.parametrize("by_signal", [False, True])
async def test_the_turning_points_are_those_that_the_server_wrote(*, by_signal: bool) -> None:
    completed = [
        await watched(137.0, "breached"),
        (names.APPLY_MITIGATION, event(138.5)),
        await watched(145.0, "recovered"),
        await watched(160.0, "baked"),
    ]
    history = [resumed(101.0), *(each for _, each in completed[:3]), resumed(148.0, by_signal=by_signal)]
    assert await spared(result(HELPED), completed, history) == KEPT


async def test_without_a_person_nobody_resumed() -> None:
    completed = [(names.APPLY_MITIGATION, event(138.5)), await watched(145.0, "recovered")]
    assert await spared(result(HELPED), completed, [resumed(101.0)]) == replace(KEPT, resumed_at=None)


async def test_a_flag_that_was_tried_and_not_proven_off_has_no_time() -> None:
    tried = Mitigated(mitigation=0, flag=KEY, gate="errors", outcome="it was off already")
    completed = [(names.APPLY_MITIGATION, event(138.5))]
    assert await spared(result(tried), completed, []) == Spared(KEY, "it was off already")


async def test_a_run_that_touched_no_flag_spared_nothing() -> None:
    assert await spared(result(), [], []) is None
    assert await spared(None, [(names.APPLY_MITIGATION, event(138.5))], []) is None


# ── what people see ──────────────────────────────────────────────────────────────────────────────


def at_25(**fields: Any) -> RolloutStatus:
    planned = plan(SCRIPT.spec, Facts(), owner=SCRIPT.spec.workflow_id)
    progress = Progress().planned(planned).model_copy(update={"stage": 1, "percent": 25.0, **fields})
    return status(SCRIPT.spec, planned, progress)


def held() -> RolloutStatus:
    told = at_25(mitigated=(HELPED,))
    progress = told.progress.hold(REASON, None, NOON).in_phase(Phase.HELD)
    return status(SCRIPT.spec, plan(SCRIPT.spec, Facts(), owner=SCRIPT.spec.workflow_id), progress)


def scene(shown: RolloutStatus | None) -> Scene:
    return Scene(FLAG, 1, 1, SCRIPT.stages, FLAG.acts[1].before, status=shown, load=LOAD)


BREACH = Breach(gate="errors", reason="bad", mitigation=0, at=NOON, gates={"errors": None})
OFF = Mitigated(mitigation=0, flag=KEY, gate="errors", off_at=NOON)


@pytest.mark.parametrize(
    ("shown", "flag", "doing"),
    [
        (at_25(phase=Phase.BAKING), "on for everybody", ""),
        (
            at_25(phase=Phase.MITIGATING, breach=BREACH),
            "being turned off, because gate errors is breached",
            "the flag is turned off, and evaluated",
        ),
        (
            at_25(phase=Phase.MITIGATING, breach=BREACH.model_copy(update={"off": True}), mitigated=(OFF,)),
            "off, proven by evaluation; gate errors: watched anew",
            "the flag is proven off, the traffic stays: errors must recover now",
        ),
        (held(), "off, proven by evaluation; gate errors: recovered", "it waits for a person"),
        (
            at_25(
                phase=Phase.ROLLING_BACK, mitigated=(OFF.model_copy(update={"off_at": None, "outcome": "it is away"}),)
            ),
            "could not be turned off: it is away",
            "all traffic goes back",
        ),
    ],
    ids=["baking", "turning off", "watching", "held", "went back"],
)
def test_the_flag_has_a_row_and_each_moment_its_words(shown: RolloutStatus, flag: str, doing: str) -> None:
    assert scene(shown).flag == flag
    assert doing in Acts(None, None, FLAG.acts[1:]).doing(shown)  # type: ignore[arg-type]  # only words are asked for


def test_a_scenario_without_a_flag_has_no_row_for_one() -> None:
    assert replace(scene(held()), scenario=BAD).flag == ""


@pytest.mark.parametrize("width", [80, 160])
def test_the_picture_of_the_held_release_fits_into_a_small_terminal(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as captured:
        console.print(picture(scene(held()), 70))
    lines = captured.get().splitlines()
    assert len(lines) <= 24
    assert any(line.split() == ["phase", "Held"] for line in lines)
    assert any("gate errors: recovered" in line for line in lines)


def test_in_a_pipe_the_hold_tells_its_whole_reason(capsys: pytest.CaptureFixture[str]) -> None:
    Lines(Console(highlight=False, emoji=False, soft_wrap=True, width=80)).show(scene(held()))
    (line,) = capsys.readouterr().out.splitlines()
    assert f" | {REASON}" in line


# ── where it can be played, and what it needs ────────────────────────────────────────────────────


def test_it_is_played_on_every_router_that_is_no_cluster() -> None:
    assert all(FLAG in fitting(router) for router in EDGES)
    assert not any(FLAG in fitting(router) for router in CLUSTERS)


def test_every_gate_that_the_flag_may_mend_is_the_one_that_catches_it() -> None:
    (mitigation,) = SCRIPT.spec.mitigations
    assert FLAG.caught_by in mitigation.when
    assert SCRIPT.flag == "new-checkout"
    assert FLAG.percents(SCRIPT.stages) == (5.0, 25.0, 50.0, 100.0)


def test_a_spec_without_the_turning_point_is_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / FLAG.file.name
    file.write_text(FLAG.file.read_text(encoding="utf-8").replace('"percent": 25', '"percent": 30'), encoding="utf-8")
    with pytest.raises(NoSpec, match="no stage of 25 %"):
        read_script(file)


def test_a_spec_that_names_no_flag_is_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / FLAG.file.name
    file.write_text(read_script().file.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(NoSpec, match="names no flag in mitigations"):
        read_script(file)
