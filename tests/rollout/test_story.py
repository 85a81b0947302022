"""What an operator reads, in every phase. The golden files are what the UI shows: read them as one who is on call.

To write them anew after a change: `SLUICE_GOLDEN=write pytest tests/rollout/test_story.py`, then read the diff.
"""

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout import mitigating, names, story
from rollout.commands import obey
from rollout.decide import Ask, Hold, settle
from rollout.happened import Phase, RolloutResult, StageRecord
from rollout.judge.evidence import Evidence, Tally
from rollout.judge.verdict import Verdict
from rollout.messages import Command, FlagTurnedOff, TrafficRestored
from rollout.plan import Plan
from rollout.progress import Progress
from rollout.spec import RolloutSpec
from tests.rollout.given import (
    LIGHT,
    MINUTE,
    NOW,
    baked,
    baking,
    begun,
    both,
    ladder,
    planned,
    saw,
    shifted,
    spec,
    state,
    written,
    yes,
)

GOLDEN = Path(__file__).parent / "story"
WRITE = os.environ.get("SLUICE_GOLDEN") == "write"
LATER = NOW + 12 * MINUTE
MOVED = "envoy edge-1/checkout is at 60 %, we left it at 50 %"
BREACH = "0.2, beyond its limit for 1m (limit: above 0.05 for 2m)"
SILENCE = "nobody approved internal QA in time"

ANYBODY = spec(
    strategy=ladder({"percent": 5, "bake": "10m"}, {"percent": 100, "approval": {"before": True, "then": "hold"}}),
    approvals=None,
)
NAMED = spec(strategy=ladder({"percent": 100, "approval": {}}), approvals={"four_eyes": True})
CAREFUL = spec(approvals={"people": ["qa"], "four_eyes": True})

FLAG = {"kind": "launchdarkly", "connection": "ld", "project": "web", "environment": "prod", "key": "new-checkout"}
FLAGGED = spec(mitigations=[{"when": ["errors"], "flag": FLAG, "then_watch": "5m"}])
EXPERIMENT = spec(
    strategy={"kind": "flag", "experiment": True, "users": "orders", "stages": [{"percent": 50, "bake": "14d"}]},
    routes=[FLAG],
    gates={"orders": {"kind": "proportion", "trials": "users_total", "successes": "orders_total", "bad": "down"}},
    policy={"max_duration": "30d"},
    approvals=None,
)

Scene = tuple[RolloutSpec, Plan | None, Progress]


def of(progress: Progress, wanted: RolloutSpec | None = None) -> Scene:
    return wanted or spec(), planned(wanted), progress


def ended(phase: Phase, progress: Progress) -> Progress:
    back = progress.restored(TrafficRestored(epoch=9)) if progress.touched else progress
    return back.ended(phase, LATER)


def some(verdict: Verdict, minutes: int) -> Progress:
    """The second stage, watched for a while; the first gate says this in the end."""
    there = saw("interrupted", both(verdict, observed=minutes * MINUTE))
    return baking(1).watched(there, spec(), NOW, counted=True)


def breached() -> Progress:
    bad = both(Verdict.BREACHED, observed=3 * MINUTE)
    there = baking(1).watched(saw("breached", bad, gate="errors", reason=BREACH), spec(), LATER, counted=True)
    return there.in_phase(Phase.ROLLING_BACK)


def blind() -> Progress:
    silent = both(observed=2 * MINUTE) | {"errors": state(Verdict.NO_DATA, observed=MINUTE)}
    report = saw("blind", silent, reason="gate errors: the query answers nothing", unseen=("gate errors",))
    return baking(1).watched(report, spec(), NOW, counted=True)


def asking(wanted: RolloutSpec) -> Progress:
    return settle(Ask(), baked(0, planned(wanted)), NOW).in_phase(Phase.AWAITING_APPROVAL)


def asking_before() -> Progress:
    there = settle(Ask(), baked(0, planned(ANYBODY)).next_stage(NOW), NOW)
    return there.in_phase(Phase.AWAITING_APPROVAL)


def drifted() -> Progress:
    there = some(Verdict.HEALTHY, 3).watched(saw("drifted", reason=MOVED), spec(), NOW, counted=True)
    return there.in_phase(Phase.HELD)


def unproven() -> Progress:
    there = baked(1).next_stage(NOW).shifting(100, 9)
    return there.hold("could not prove 100 %: HTTP 500", None, NOW, acknowledged="drift").in_phase(Phase.HELD)


def refused() -> Progress:
    reasons = "envoy edge-1/checkout already sends 25 % to the candidate\ngate errors: no series is named htpp_requests"
    return Progress().in_phase(Phase.REFUSED).noted(reasons)


def aborted() -> Progress:
    return obey(planned(), baking(1), names.ABORT, Command(by="ana", comment="checkout is slow"), LATER)


def aborted_while_shifting() -> Progress:
    there = baked(1).next_stage(NOW).shifting(100, 9)
    return obey(planned(), there, names.ABORT, Command(), NOW).in_phase(Phase.ROLLING_BACK)


def silenced() -> Progress:
    silence = "gate errors, for 5m: the query answers nothing (limit 5m)"
    report = saw("no-data", dict(blind().gates), reason=silence, unseen=("gate errors",))
    return blind().watched(report, spec(), LATER, counted=True).in_phase(Phase.ROLLING_BACK)


def held_by_ana() -> Progress:
    there = some(Verdict.HEALTHY, 3).hold("held by ana: looking at the graphs", "ana", NOW).in_phase(Phase.HELD)
    return there.noted("ignored: advance: it is held (held by ana: looking at the graphs); resume it first")


def mitigating_now(*, off: bool) -> Progress:
    """The first gate was breached, and the flag named for it goes off."""
    bad = saw("breached", both(Verdict.BREACHED, observed=3 * MINUTE), gate="errors", reason=BREACH)
    there = baking(1, planned(FLAGGED)).watched(bad, FLAGGED, LATER, counted=True).in_phase(Phase.MITIGATING)
    if not off:
        return there
    there = mitigating.turned_off(there, FlagTurnedOff(by_us=True, proof="0 of 100 keys are given it"), FLAGGED, LATER)
    return there.watching(Phase.MITIGATING, LATER)


def recovered() -> Progress:
    """It was the feature."""
    good = saw("recovered", both(observed=5 * MINUTE))
    return mitigating_now(off=True).watched(good, FLAGGED, LATER, counted=True).in_phase(Phase.HELD)


def not_the_feature() -> Progress:
    """It was not."""
    bad = saw("breached", both(Verdict.BREACHED, observed=5 * MINUTE), gate="errors", reason=BREACH)
    there = mitigating_now(off=True).watched(bad, FLAGGED, LATER, counted=True)
    return there.in_phase(Phase.ROLLING_BACK)


def experiment_over() -> Progress:
    """The horizon is over, and a person is asked."""
    plan = planned(EXPERIMENT, routes=[])
    seen = Evidence(total=Tally(126_010, 3_402, 125_990, 3_150), here=Tally(), stage=0)
    orders = state(Verdict.UNDECIDED, observed=14 * 24 * 60 * MINUTE, evidence=seen, active={}, enough=True)
    there = shifted(begun(plan), 50, NOW).watching(Phase.BAKING, NOW)
    there = there.watched(saw("baked", {"orders": orders}), EXPERIMENT, LATER, counted=True).next_stage(LATER)
    return settle(Ask(), there, LATER).in_phase(Phase.AWAITING_APPROVAL)


SCENES: dict[str, Scene] = {
    "mitigating": of(mitigating_now(off=False), FLAGGED),
    "mitigating-with-the-flag-off": of(mitigating_now(off=True), FLAGGED),
    "held-because-it-was-the-feature": of(recovered(), FLAGGED),
    "rolling-back-because-it-was-not-the-feature": of(not_the_feature(), FLAGGED),
    "experiment-over": of(experiment_over(), EXPERIMENT),
    "preflight": (spec(), None, Progress()),
    "preflight-held": (spec(), None, Progress().hold("held by ana: wait for the sale", "ana", NOW)),
    "shifting-first": of(begun().shifting(5, 1)),
    "shifting-next": of(baked(1).next_stage(NOW).shifting(100, 9)),
    "baking": of(some(Verdict.HEALTHY, 3).watching(Phase.BAKING, LATER)),
    "baking-just-begun": of(baking()),
    "baking-approved-early": of(baking().approved(0, yes())),
    "baking-blind": of(blind().watching(Phase.BAKING, LATER)),
    "baking-pending-at-its-end": of(some(Verdict.UNDECIDED, 30).watching(Phase.BAKING, LATER)),
    "baking-after-an-advance": of(baking(1).advanced("ana").next_stage(NOW).but(arrived=True).in_phase(Phase.BAKING)),
    "awaiting-approval": of(asking(spec())),
    "awaiting-approval-four-eyes": of(asking(CAREFUL), CAREFUL),
    "awaiting-approval-of-anybody-else": of(asking(NAMED), NAMED),
    "awaiting-approval-before": of(asking_before(), ANYBODY),
    "held-by-a-person": of(held_by_ana()),
    "held-by-drift": of(drifted()),
    "held-because-nothing-is-proven": of(unproven()),
    "held-because-nobody-approved": of(settle(Hold(SILENCE), asking(spec()), LATER).in_phase(Phase.HELD)),
    "finalizing": of(baked(2).in_phase(Phase.FINALIZING)),
    "promoted": of(baked(2).ended(Phase.PROMOTED, LATER)),
    "rolling-back": of(breached()),
    "rolling-back-for-want-of-data": of(silenced()),
    "rolling-back-while-held": of(
        held_by_ana().stopped(Phase.ROLLED_BACK, f"gate errors: {BREACH}", LATER).in_phase(Phase.ROLLING_BACK)
    ),
    "rolling-back-from-an-unproven-write": of(aborted_while_shifting()),
    "stuck": of(breached().in_phase(Phase.STUCK)),
    "rolled-back": of(ended(Phase.ROLLED_BACK, breached())),
    "aborted": of(ended(Phase.ABORTED, aborted())),
    "aborted-in-preflight": (
        spec(),
        None,
        ended(Phase.ABORTED, obey(None, Progress(), names.ABORT, Command(by="ana"), NOW)),
    ),
    "rejected": of(ended(Phase.REJECTED, obey(planned(), asking(spec()), names.REJECT, Command(by="ben"), LATER))),
    "expired": of(ended(Phase.EXPIRED, asking(spec()).stopped(Phase.EXPIRED, SILENCE, LATER))),
    "refused": (spec(), None, refused()),
}
RUNNING = [name for name, (_, _, there) in SCENES.items() if there.stop is None and not there.over]


def shown(name: str) -> str:
    return story.details(*SCENES[name])


@pytest.mark.parametrize("name", SCENES)
def test_the_story_reads_as_in_its_golden_file(name: str) -> None:
    file = GOLDEN / f"{name}.md"
    if WRITE:
        file.write_text(shown(name) + "\n", encoding="utf-8")
    assert shown(name) + "\n" == file.read_text(encoding="utf-8")


def test_every_golden_file_has_its_scene_and_every_phase_its_golden_file() -> None:
    assert sorted(file.stem for file in GOLDEN.glob("*.md")) == sorted(SCENES)
    assert {there.phase for _, _, there in SCENES.values()} == set(Phase)


@pytest.mark.parametrize("name", SCENES)
def test_a_story_is_short_and_has_no_table(name: str) -> None:
    assert len(shown(name).encode()) < 2_500
    assert not re.search(r"^\s*\|", shown(name), re.MULTILINE)
    assert not re.search(r" $", shown(name), re.MULTILINE)
    assert "None" not in shown(name)


@pytest.mark.parametrize("name", RUNNING)
def test_a_running_rollout_says_how_to_stop_it(name: str) -> None:
    assert "To stop it: `temporal workflow signal --workflow-id rollout:prod/checkout --name abort`" in shown(name)
    assert "Next: " in shown(name)


@pytest.mark.parametrize("name", [name for name in SCENES if name not in RUNNING])
def test_a_rollout_that_is_over_or_on_its_way_back_offers_no_stop(name: str) -> None:
    assert "To stop it" not in shown(name)


# ── Limits ──────────────────────────────────────────────────────────────────────────────────────

LONG = "가" * 128


def test_the_longest_story_is_cut_and_still_says_how_to_stop_it() -> None:
    asks = {"bake": "1m", "approval": {}}
    wanted = spec(strategy=ladder(*({"percent": number, "name": f"{number:063}"} | asks for number in range(51, 101))))
    plan = planned(wanted)
    there = baking(49, plan).but(approvals={index: yes(LONG) for index in range(50)})
    for number in range(10):
        there = there.noted(f"ignored {number}: {LONG * 8}")
    records = tuple(record.model_copy(update={"ended_early_by": LONG}) for record in there.records)
    details = story.details(wanted, plan, there.but(records=records))
    assert len(details.encode()) <= story.MOST_DETAILS_BYTES
    assert details.count("To stop it: `temporal workflow signal --workflow-id rollout:prod/checkout --name abort`") == 1
    assert "(cut; the rest is in the query `status`)" in details
    assert details.startswith("**checkout** 1.41.3 → **1.42.0** in prod")


@given(st.text(max_size=2_000))
@LIGHT
def test_a_comment_of_any_kind_stays_on_its_line(comment: str) -> None:
    there = obey(planned(), baking(), names.HOLD, Command(by="ana", comment=comment[:1000]), NOW).in_phase(Phase.HELD)
    details = story.details(spec(), planned(), there.noted(comment))
    usual = story.details(spec(), planned(), baking().hold("x", None, NOW).in_phase(Phase.HELD).noted("y"))
    assert details.count("\n") == usual.count("\n")


@given(st.text(max_size=400), st.integers(0, 250))
@LIGHT
def test_a_summary_fits_into_its_bytes_and_is_cut_between_characters(text: str, most: int) -> None:
    cut = story.short(text, most)
    assert len(cut.encode()) <= most
    assert text.startswith(cut)
    assert len(text.encode()) > most or cut == text
    assert most - len(cut.encode()) < 4 or cut == text


def test_a_shift_s_summary_is_the_concrete_fact() -> None:
    two = spec(
        routes=[
            {"kind": "envoy", "connection": "edge-1", "service": "checkout"},
            {"kind": "envoy", "connection": "edge-2", "service": "checkout"},
        ]
    )
    assert story.shift_summary(two, 5, 25) == "5 % → 25 % on envoy edge-1/checkout and envoy edge-2/checkout"


def test_a_shift_of_many_routes_fits_into_a_summary() -> None:
    many: list[dict[str, Any]] = [
        {"kind": "envoy", "connection": f"edge-{n}" + "x" * 50, "service": "y" * 63} for n in range(20)
    ]
    assert len(story.shift_summary(spec(routes=many), 0.01, 99.99).encode()) <= story.MOST_SUMMARY_BYTES


# ── The one sentence at the end ─────────────────────────────────────────────────────────────────


def result(outcome: Phase, **changes: Any) -> RolloutResult:
    names_ = written()["release"] | {"service": "checkout", "environment": "prod"}
    times = {"started_at": NOW, "ended_at": NOW + timedelta(hours=1)}
    return RolloutResult.model_validate({"outcome": outcome, "percent": 0} | names_ | times | changes)


@pytest.mark.parametrize(
    ("ended_", "sentence"),
    [
        (result(Phase.PROMOTED, percents_seen=(5, 100)), "checkout 1.42.0 in prod: promoted"),
        (
            result(Phase.ROLLED_BACK, reason="gate errors: 0.2", stage="half", percents_seen=(5, 50, 0)),
            "checkout 1.42.0 in prod: RolledBack at stage half: gate errors: 0.2; all traffic is on 1.41.3, proven",
        ),
        (
            result(Phase.ABORTED, reason="aborted by ana"),
            "checkout 1.42.0 in prod: Aborted: aborted by ana; no traffic was moved",
        ),
        (
            result(Phase.ABORTED, reason="aborted by ana", stage="5 %", percents_seen=(0,)),
            "checkout 1.42.0 in prod: Aborted at stage 5 %: aborted by ana; all traffic is on 1.41.3, proven",
        ),
        (result(Phase.REFUSED, reason="held by other"), "checkout 1.42.0 in prod: refused: held by other"),
    ],
)
def test_the_end_of_a_run_is_one_sentence(ended_: RolloutResult, sentence: str) -> None:
    assert story.ending(ended_) == sentence


def test_a_record_starts_empty() -> None:
    assert StageRecord(title="half", percent=50).baked == timedelta()
