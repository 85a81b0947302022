"""Deployments, autoscalers, budgets and pods as the adapter looks at them."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from activities.kubernetes import ANNOTATION, Mark, mark_of
from activities.ports import Write
from activities.workload.deployments import (
    OVERLOAD,
    Autoscaler,
    autoscaler,
    blocked,
    carried,
    needed,
    pods,
    remembered,
    replicas,
)
from activities.workload.kubernetes_deployment import step, whole_of
from activities.workload.pods import selector, why
from rollout.errors import Drifted

OWNER = "rollout:prod/checkout"
PODS = some.integers(0, 500)
PERCENTS = some.integers(0, 10_000).map(lambda hundredths: hundredths / 100)


def deployment(wanted: int | None = 3, mark: Mark | None = None, **status: Any) -> dict[str, Any]:
    annotations = {ANNOTATION: mark.model_dump_json()} if mark else None
    spec = {} if wanted is None else {"replicas": wanted}
    return {
        "metadata": {"name": "checkout", "generation": 4, "resourceVersion": "9", "annotations": annotations},
        "spec": {**spec, "template": {"metadata": {"labels": {"app": "shop", "track": "stable"}}}},
        "status": {"observedGeneration": 4, **status},
    }


def settled(count: int) -> dict[str, Any]:
    return dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count)


@pytest.mark.parametrize(
    ("percent", "whole", "spare", "wants"),
    [
        (0, 10, 0, 1),
        (5, 10, 0, 1),
        (25, 10, 0, 3),
        (8.8, 375, 0, 33),
        (8.81, 375, 0, 34),
        (100, 10, 0, 10),
        (50, 10, 20, 6),
        (100, 0, 0, 1),
    ],
)
def test_a_share_is_rounded_up(percent: float, whole: int, spare: float, wants: int) -> None:
    assert needed(percent, whole, spare) == wants


@given(percent=PERCENTS, whole=PODS, spare=some.integers(0, 400))
def test_a_candidate_never_carries_more_a_pod_than_stable_does(percent: float, whole: int, spare: int) -> None:
    wants = needed(percent, whole, spare)
    assert wants >= 1
    assert wants * 100 >= whole * percent - 1e-6
    assert wants <= needed(100, whole, spare)


@pytest.mark.parametrize(
    ("ready", "whole", "percent"), [(9, 10, 100), (8, 10, 100), (7, 10, 87.5), (1, 3, 41.66), (0, 10, 0), (3, 0, 100)]
)
def test_ready_pods_carry_a_quarter_more_than_their_share(ready: int, whole: int, percent: float) -> None:
    assert carried(ready, whole) == percent


@given(ready=PODS, whole=PODS)
def test_no_pod_is_given_more_than_it_may_carry(ready: int, whole: int) -> None:
    percent = carried(ready, whole)
    assert 0 <= percent <= 100
    assert percent == round(percent, 2)
    assert percent * whole <= 100 * OVERLOAD * ready + 1e-6


@pytest.mark.parametrize(
    ("found", "usable", "waits_for"),
    [
        (deployment(3, **settled(3)), 3, ""),
        (deployment(3), 0, ""),
        (deployment(3, **{**settled(3), "observedGeneration": 3}), 0, "has not seen its newest spec"),
        (deployment(3, **{**settled(4), "updatedReplicas": 1}), 1, "3 pods of its former template"),
        (deployment(3, replicas=3, availableReplicas=3, updatedReplicas=None), 0, "3 pods of its former template"),
        (deployment(1, **settled(3)), 1, ""),  # two are about to go
        (deployment(None, **settled(1)), 1, ""),
    ],
)
def test_only_pods_that_may_be_relied_on_count(found: dict[str, Any], usable: int, waits_for: str) -> None:
    assert pods(found).usable == usable
    assert waits_for in pods(found).waits_for


def test_what_the_controller_complains_of_is_told() -> None:
    quota = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods"}
    late = {"type": "Progressing", "status": "False", "message": "has timed out progressing"}
    assert pods(deployment(3, conditions=[late, quota])).waits_for == "exceeded quota: pods"
    assert pods(deployment(3, conditions=[late])).waits_for == "has timed out progressing"
    assert pods(deployment(3, conditions=[{"type": "ReplicaFailure", "status": "True"}])).waits_for


def test_the_autoscaler_of_a_deployment_is_the_one_that_has_it_as_its_target() -> None:
    def hpa(name: str, kind: str, target: str, **spec: Any) -> dict[str, Any]:
        reference = {"apiVersion": "apps/v1", "kind": kind, "name": target}
        return {"metadata": {"name": name}, "spec": {"scaleTargetRef": reference, "maxReplicas": 9, **spec}}

    every = [hpa("a", "StatefulSet", "checkout"), hpa("b", "Deployment", "cart"), hpa("c", "Deployment", "checkout")]
    assert autoscaler(every, "checkout") == Autoscaler(name="c", least=1, most=9)
    assert autoscaler([hpa("c", "Deployment", "checkout", minReplicas=0)], "checkout") == Autoscaler(
        name="c", least=0, most=9
    )
    assert autoscaler(every, "search") is None


@pytest.mark.parametrize(
    ("chosen", "selects"),
    [
        ({"matchLabels": {"app": "shop"}}, True),
        ({"matchLabels": {"app": "cart"}}, False),
        ({}, True),
        (None, False),
        ({"matchExpressions": [{"key": "track", "operator": "In", "values": ["stable"]}]}, True),
        ({"matchExpressions": [{"key": "track", "operator": "NotIn", "values": ["stable"]}]}, False),
        ({"matchExpressions": [{"key": "team", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}, True),
        ({"matchExpressions": [{"key": "team", "operator": "Newer"}]}, False),
    ],
)
def test_a_budget_is_about_the_pods_that_it_selects(chosen: dict[str, Any] | None, selects: bool) -> None:
    status = {"expectedPods": 3, "disruptionsAllowed": 0}
    budget = {"metadata": {"name": "all"}, "spec": {"selector": chosen}, "status": status}
    assert bool(blocked([budget], deployment())) is selects
    assert blocked([{**budget, "status": {**status, "disruptionsAllowed": 1}}], deployment()) == []
    assert blocked([{**budget, "status": {}}], deployment()) == []


@given(percent=PERCENTS, now=PODS, stable=PODS, least=some.none() | some.integers(0, 50))
def test_a_step_never_takes_pods_away_and_is_done_once_it_is_made(
    percent: float, now: int, stable: int, least: int | None
) -> None:
    scaler = None if least is None else Autoscaler(name="by-load", least=least, most=1000)
    write = Write(percent=percent, epoch=3, owner=OWNER)
    todo = step(deployment(now), deployment(stable), scaler, write, 0)
    assert todo.replicas >= now
    assert (todo.replicas == now) or scaler is None
    again = step(deployment(todo.replicas, todo.mark), deployment(stable), scaler, write, 0)
    assert again.replicas == todo.replicas
    assert again.mark.same_as(todo.mark)


@given(first=PERCENTS, second=PERCENTS, stable=PODS, shrunk=PODS)
def test_what_stable_was_is_remembered_for_one_rollout(first: float, second: float, stable: int, shrunk: int) -> None:
    marked = step(deployment(0), deployment(stable), None, Write(percent=first, epoch=1, owner=OWNER), 0)
    after = deployment(marked.replicas, marked.mark)
    assert whole_of(after, deployment(shrunk)) == max(stable, shrunk)
    then = Write(percent=second, epoch=2, owner=OWNER)
    assert whole_of(after, deployment(shrunk), then) == (max(stable, shrunk) if second >= first else shrunk)
    other = then.model_copy(update={"owner": "rollout:prod/cart"})
    assert whole_of(after, deployment(shrunk), other) == shrunk


def test_pods_that_are_taken_away_are_given_again_three_times() -> None:
    write = Write(percent=100, epoch=1, owner=OWNER)
    mark = step(deployment(0), deployment(4), None, write, 0).mark
    for _ in range(3):
        mark = step(deployment(1, mark), deployment(4), None, write, 0).mark
        assert step(deployment(4, mark), deployment(4), None, write, 0).mark.same_as(mark)
    with pytest.raises(Drifted, match="has 1 replicas, Sluice wants 4; it gave them 3 times again"):
        step(deployment(1, mark), deployment(4), None, write, 0)


def test_a_mark_that_somebody_spoilt_remembers_nothing() -> None:
    spoilt = deployment(2, Mark(epoch=1, owner=OWNER, more={"whole": "many"}))
    assert remembered(spoilt, "whole") == 0
    assert mark_of(spoilt).epoch == 1
    assert replicas(deployment(None)) == 1


def pod(*, waiting: str | None = None, message: str = "", unscheduled: str | None = None, **metadata: Any) -> Any:
    state = {"waiting": {"reason": waiting, "message": message}} if waiting else {"running": {}}
    conditions = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": unscheduled}]
    status = {"containerStatuses": [{"state": state}], "conditions": conditions if unscheduled else []}
    return {"metadata": metadata, "status": status}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([], ""),
        ([pod()], ""),
        ([pod(waiting="ContainerCreating"), pod(waiting="PodInitializing")], ""),
        ([pod(), pod(waiting="ErrImagePull", message="no such image")], "1 of 2 pods: ErrImagePull: no such image"),
        ([pod(waiting="CrashLoopBackOff"), pod(waiting="x"), pod(waiting="x")], "2 of 3 pods: x"),
        ([pod(unscheduled="0/3 nodes have room.")], "1 of 1 pods: Unschedulable: 0/3 nodes have room"),
        ([pod(waiting="x", deletionTimestamp="now")], ""),
        ([{"metadata": {}}], ""),
    ],
)
def test_why_pods_are_not_ready_is_told_once(found: list[Any], words: str) -> None:
    assert why(found) == words


def test_a_long_reason_is_cut() -> None:
    assert math.isclose(len(why([pod(waiting="x" * 500)])), 175, abs_tol=5)


def test_a_selector_is_written_as_a_query_takes_it() -> None:
    expressions = [
        {"key": "track", "operator": "In", "values": ["a", "b"]},
        {"key": "team", "operator": "NotIn", "values": ["c"]},
        {"key": "new", "operator": "Exists"},
        {"key": "old", "operator": "DoesNotExist"},
    ]
    chosen = {"spec": {"selector": {"matchLabels": {"app": "shop"}, "matchExpressions": expressions}}}
    assert selector(chosen) == "app=shop,track in (a,b),team notin (c),new,!old"
    assert selector({}) == ""
