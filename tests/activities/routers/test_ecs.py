"""The pure half: what ECS answers, and what comes before traffic may rise. Golden answers, and properties."""

import json
import math
from pathlib import Path

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from activities.aws import Json
from activities.routers.ecs.services import Service, needed, next_step, services, waiting
from rollout.routes import EcsRoute

GOLDEN = sorted((Path(__file__).parent / "ecs").glob("*.json"))
CANDIDATE, STABLE = "checkout-green", "checkout-blue"


def told(answer: Json, route: EcsRoute, percent: float) -> Json:
    """Everything that is decided from an answer of AWS."""
    known = services(answer)
    if len(known) < 2:
        return {"names": sorted(known)}
    for service in known.values():
        if problem := service.unusable():
            return {"problem": problem}
    candidate, stable = known[route.candidate_service], known[route.stable_service]
    tasks = needed(percent, stable, route.min_healthy)
    step = next_step(candidate, stable, tasks)
    return {
        "tasks": tasks,
        "step": step,
        **({} if step == "go" else {"waiting": waiting(candidate, stable, percent, tasks)}),
    }


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_what_ecs_answers_leads_to_what_the_golden_file_says(file: Path) -> None:
    case = json.loads(file.read_bytes())
    assert told(case["answer"], EcsRoute(**case["route"]), case["percent"]) == case["expected"]


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_the_golden_answer_is_one_that_aws_can_give(file: Path) -> None:
    model = botocore.session.get_session().get_service_model("ecs").operation_model("DescribeServices")
    assert model.output_shape is not None
    report = ParamValidator().validate(json.loads(file.read_bytes())["answer"], model.output_shape)
    assert not report.has_errors(), report.generate_report()


def test_there_are_golden_answers() -> None:
    assert len(GOLDEN) >= 20


# ── Properties ──────────────────────────────────────────────────────────────────────────────────

COUNTS = st.integers(0, 400)
PERCENTS = st.integers(1, 10_000).map(lambda hundredths: hundredths / 100)


def service(name: str, desired: int, running: int, *states: str) -> Service:
    deployments = [{"status": "PRIMARY", "rolloutState": state} for state in states or ("COMPLETED",)]
    return Service.model_validate(
        {"serviceName": name, "desiredCount": desired, "runningCount": running, "deployments": deployments}
    )


@given(PERCENTS, COUNTS)
def test_the_share_of_stables_tasks_is_rounded_up_and_never_none(percent: float, desired: int) -> None:
    hundredths = round(percent * 100)
    exact = -(-hundredths * desired // 10_000)
    assert needed(percent, service(STABLE, desired, 0), None) == max(1, exact)


@pytest.mark.parametrize(("percent", "desired", "tasks"), [(8.8, 375, 33), (21.6, 375, 81), (64.4, 250, 161)])
def test_a_whole_number_of_tasks_is_not_one_more_because_of_binary_fractions(
    percent: float, desired: int, tasks: int
) -> None:
    assert needed(percent, service(STABLE, desired, 0), None) == tasks


@given(PERCENTS, PERCENTS, COUNTS)
def test_more_traffic_never_needs_fewer_tasks(one: float, other: float, desired: int) -> None:
    stable = service(STABLE, desired, desired)
    low, high = sorted((one, other))
    assert needed(low, stable, None) <= needed(high, stable, None) <= max(1, desired)


@given(PERCENTS, COUNTS, COUNTS, COUNTS, st.sampled_from(["COMPLETED", "IN_PROGRESS", ""]))
def test_traffic_rises_only_onto_tasks_that_run(
    percent: float, desired: int, mine: int, running: int, state: str
) -> None:
    stable, candidate = service(STABLE, desired, desired), service(CANDIDATE, mine, running, state)
    tasks = needed(percent, stable, None)
    step = next_step(candidate, stable, tasks)
    if step == "go":
        assert running >= math.ceil(percent / 100 * desired - 1e-9)
        assert running >= 1
        assert state != "IN_PROGRESS"
    if step == "scale":
        assert mine < tasks  # only ever up
    if step == "wait":
        assert mine >= tasks


@given(COUNTS, COUNTS, PERCENTS)
def test_nothing_is_scaled_while_tasks_are_replaced(mine: int, desired: int, percent: float) -> None:
    usual, replaced = service(STABLE, desired, desired), service(CANDIDATE, mine, mine, "IN_PROGRESS", "COMPLETED")
    assert next_step(replaced, usual, needed(percent, usual, None)) == "wait"


def test_an_answer_with_empty_fields_is_read() -> None:
    bare = {"serviceName": STABLE, "deploymentController": None, "deployments": None}
    assert services({"services": [bare]})[STABLE].unusable() is None
    assert services({}) == {}
