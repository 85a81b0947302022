"""A plan is a spec plus the facts of the moment, or every reason why not."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given

from rollout.errors import Refused
from rollout.happened import Phase
from rollout.messages import Watched, Watching
from rollout.plan import Plan, RouteFact, plan, shortest, stages
from rollout.spec import RolloutSpec
from tests.rollout.generated import written_specs
from tests.rollout.given import LIGHT, MINUTE, NOW, OWNER, baking, facts, ladder, planned, spec

ROUTE = "envoy edge-1/checkout"
WAY_OUT = "bring it to 0 % or swap the pools' names (`active_color`)"


def reasons(wanted: RolloutSpec | None = None, **changes: Any) -> list[str]:
    with pytest.raises(Refused) as refused:
        planned(wanted, **changes)
    return str(refused.value).splitlines()


def fact(**changes: Any) -> dict[str, Any]:
    return {"routes": (RouteFact.model_validate({"route": ROUTE, "percent": 0} | changes),)}


# ── What a plan holds ───────────────────────────────────────────────────────────────────────────


def test_stages_leave_nothing_to_default() -> None:
    first, second, last = stages(spec())
    assert (first.title, first.percent, first.bake, first.gates) == (
        "internal QA",
        5,
        10 * MINUTE,
        ("errors", "conversion"),
    )
    assert first.approval is not None
    assert first.approval.from_ == ("qa",)
    assert (second.title, second.percent, second.bake, second.approval) == ("half", 50, 30 * MINUTE, None)
    assert (last.title, last.percent, last.gates) == ("100 %", 100, ("errors",))


def test_the_shortest_way_is_all_bakes_together() -> None:
    assert shortest(stages(spec())) == 50 * MINUTE


def test_a_plan_starts_above_the_highest_fence_found() -> None:
    found = (RouteFact(route="a", percent=0, epoch=41), RouteFact(route="b", percent=0, epoch=7))
    assert planned(routes=found).epoch == 41
    assert planned().epoch == 0


def test_what_preflight_remarked_is_kept() -> None:
    assert planned(notes=("gate errors answers nothing yet",)).notes == ("gate errors answers nothing yet",)


@pytest.mark.parametrize("held_by", [None, OWNER])
def test_a_route_at_0_percent_that_is_free_or_ours_can_be_used(held_by: str | None) -> None:
    assert planned(**fact(owner=held_by)).stages == stages(spec())


def test_only_the_groups_that_are_asked_may_approve() -> None:
    made = planned(people={"qa": ("zoe", "ana"), "sre": ("ben",)})
    assert made.may_approve(made.stages[0]) == ("ana", "zoe")


def test_without_groups_anybody_may_approve_but_an_empty_group_is_nobody() -> None:
    open_to_all = planned(spec(strategy=ladder({"percent": 100, "approval": {}})))
    assert open_to_all.may_approve(open_to_all.stages[0]) is None
    lonely = Plan(stages=planned().stages, epoch=0, people={"qa": ()})
    assert lonely.may_approve(lonely.stages[0]) == ()


# ── Refusals ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (
            {"owner": "rollout:prod/other"},
            f"{ROUTE} is held by rollout:prod/other; wait for its end or abort it",
        ),
        (
            {"percent": 12.5},
            f"{ROUTE} already sends 12.5 % to the candidate; {WAY_OUT}",
        ),
        (
            {"percent": 25, "owner": OWNER},
            f"{ROUTE} already sends 25 % to the candidate (left by a rollout that was terminated?); {WAY_OUT}",
        ),
        (
            {"percent": None, "problem": "the admin address does not answer"},
            f"{ROUTE}: the admin address does not answer",
        ),
    ],
)
def test_a_route_that_cannot_be_used_is_refused(found: dict[str, Any], reason: str) -> None:
    assert reasons(**fact(**found)) == [reason]


def test_a_route_that_nobody_could_read_is_refused() -> None:
    assert reasons(routes=(RouteFact(route=ROUTE),)) == [f"{ROUTE} could not be read"]


def test_a_rollout_that_could_never_finish_is_refused() -> None:
    sentence = "policy.max_duration is not longer than the bakes together: the rollout could never finish"
    assert reasons(spec(policy={"max_duration": "50m"})) == [sentence]
    assert len(planned(spec(policy={"max_duration": "51m"})).stages) == 3


def test_bakes_of_a_year_each_are_refused_and_do_not_overflow() -> None:
    forever = [{"percent": percent, "bake": "365d"} for percent in range(51, 101)]
    assert len(reasons(spec(strategy=ladder(*forever)))) == 1


def test_four_eyes_need_to_know_the_first_two() -> None:
    careful = spec(approvals={"people": ["qa"], "four_eyes": True})
    sentence = "approvals.four_eyes: nobody knows who started this; set requested_by"
    assert reasons(careful, started_by=None) == [sentence]


def test_a_group_with_nobody_in_it_is_refused_instead_of_letting_anybody_approve() -> None:
    assert reasons(people={"qa": ()}) == ["stage internal QA asks qa for approval, but nobody is in there"]
    assert reasons(people={}) == ["stage internal QA asks qa for approval, but nobody is in there"]


def test_four_eyes_with_only_two_eyes_are_refused() -> None:
    careful = spec(approvals={"people": ["qa"], "four_eyes": True})
    assert reasons(careful, people={"qa": ("cleo",)}) == [
        "stage internal QA asks qa for approval, but only cleo is in there, who started it (four eyes)"
    ]
    assert planned(careful, people={"qa": ("cleo", "ana")}).started_by == "cleo"


def test_every_reason_is_told_at_once() -> None:
    found = (
        RouteFact(route="envoy a/web", percent=50),
        RouteFact(route="envoy b/web", problem="the candidate pool 'x' has no healthy member"),
    )
    careful = spec(approvals={"people": ["qa"], "four_eyes": True}, policy={"max_duration": "1m"})
    told = reasons(careful, routes=found, problems=("gate errors: no series is named x",), started_by=None, people={})
    assert [reason.split(" ")[0].rstrip(":") for reason in told] == [
        "gate",
        "envoy",
        "envoy",
        "policy.max_duration",
        "approvals.four_eyes",
        "stage",
    ]


# ── Always ──────────────────────────────────────────────────────────────────────────────────────


@given(written_specs())
@LIGHT
def test_every_spec_compiles_to_a_ladder_that_rises_to_100(whole: dict[str, Any]) -> None:
    wanted = RolloutSpec.model_validate(whole)
    rungs = stages(wanted)
    percents = [rung.percent for rung in rungs]
    assert percents == sorted(set(percents))
    assert percents[0] > 0
    assert percents[-1] == 100
    assert {name for rung in rungs for name in rung.gates} == set(wanted.gates)
    assert shortest(rungs) == sum((rung.bake for rung in wanted.strategy.stages), timedelta())


@given(written_specs())
@LIGHT
def test_a_plan_survives_the_wire(whole: dict[str, Any]) -> None:
    wanted = RolloutSpec.model_validate(whole)
    people = dict.fromkeys(wanted.approvals.people, ("ana", "ben"))
    roomy = wanted.model_copy(update={"policy": wanted.policy.model_copy(update={"max_duration": timedelta(days=365)})})
    made = plan(roomy, facts(people=people), owner=OWNER)
    for alias in (True, False):
        assert Plan.model_validate_json(made.model_dump_json(by_alias=alias)) == made


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_every_stage_can_be_rolled_back_from(stage: int) -> None:
    there = baking(stage)
    watching = Watching(watermark_ms=0)
    back = there.watched(Watched(why="no-data", watching=watching), spec(), NOW, counted=True)
    assert back.stop is not None
    assert back.stop.outcome is Phase.ROLLED_BACK
