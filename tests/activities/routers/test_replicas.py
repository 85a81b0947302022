"""Splitting by pods without a cluster: how many make a percent, where a move is, what the way back may take away."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.kubernetes import Cluster, Json, KubernetesConnection, as_annotation
from activities.ports import Write
from activities.routers.replicas.deployments import Pods, complaints, pods
from activities.routers.replicas.fitness import scaled_by, unfit
from activities.routers.replicas.split import Aim, aim, finest, share
from activities.routers.replicas.standing import Standing, Step, arrived, kept, step
from rollout.errors import Misconfigured
from rollout.routes import ReplicasRoute

OWNER = "rollout:prod/checkout"
ROUTE = ReplicasRoute(connection="prod", namespace="shop", service="shop", candidate="new", stable="old")
PERCENTS = st.integers(min_value=0, max_value=10_000).map(lambda each: each / 100)
NOW = 1_000_000.0


def deployment(name: str, replicas: int, ready: int | None = None, *, lag: int = 0, **more: Any) -> Json:
    """As the API tells it; all ready by default."""
    status = {"observedGeneration": 7 - lag, "replicas": replicas, "updatedReplicas": replicas}
    labels = {"app": "shop", "track": name}
    return {
        "metadata": {"name": name, "generation": 7, "resourceVersion": "12", "annotations": {}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}},
            **more,
        },
        "status": {**status, "readyReplicas": replicas if ready is None else ready},
    }


def standing(candidate: int, stable: int, *, ready: tuple[int, int] | None = None, **more: Any) -> Standing:
    counts = ready or (candidate, stable)
    new, old = deployment("new", candidate, counts[0]), deployment("old", stable, counts[1], **more)
    return Standing(pods("new", new), pods("old", old))


def after(now: Standing, wanted: Step, wants: tuple[int, int], *, done: bool = False) -> Standing:
    """What is there once the mark was written and both were scaled so; all pods ready."""
    old = deployment("old", wants[1])
    old["metadata"]["annotations"] = as_annotation(arrived(wanted.mark) if done else wanted.mark)
    return Standing(pods("new", deployment("new", wants[0])), pods("old", old))


def write(percent: float, epoch: int = 1, **more: Any) -> Write:
    return Write(percent=percent, epoch=epoch, owner=OWNER, **more)


# ── Counting ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("percent", "total", "wanted"),
    [
        (5, 20, (1, 19)), (25, 10, (3, 7)), (50, 5, (3, 2)), (33.33, 3, (1, 2)), (33.34, 3, (1, 2)), (34, 3, (2, 1)),
        (0.01, 4, (1, 3)), (99.99, 4, (3, 1)), (1, 2, (1, 1)), (0, 4, (0, 4)), (100, 4, (4, 0)), (100, 1, (1, 0)),
        (7, 100, (7, 93)), (0, 0, (0, 0)),
    ],
)  # fmt: skip
def test_the_candidate_gets_its_share_rounded_up_and_stable_keeps_one(
    percent: float, total: int, wanted: tuple[int, int]
) -> None:
    assert aim(percent, total) == wanted


@pytest.mark.parametrize(("percent", "total"), [(50, 1), (50, 0), (-1, 4), (100.5, 4)])
def test_what_cannot_be_split_is_refused(percent: float, total: int) -> None:
    with pytest.raises(Misconfigured):
        aim(percent, total)


@settings(deadline=None)
@given(PERCENTS, PERCENTS, st.integers(min_value=2, max_value=500))
def test_pods_are_never_lost_and_more_percent_is_never_fewer_pods(one: float, other: float, total: int) -> None:
    low, high = aim(min(one, other), total), aim(max(one, other), total)
    assert sum(low) == sum(high) == total
    assert 0 <= low.candidate <= high.candidate <= total
    assert (low.candidate == 0) == (min(one, other) == 0)
    assert (high.stable == 0) == (max(one, other) == 100)


@settings(deadline=None)
@given(st.integers(min_value=2, max_value=500), st.data())
def test_whole_pods_are_met_exactly_in_two_decimals(total: int, data: st.DataObject) -> None:
    candidate = data.draw(st.integers(min_value=0, max_value=total))
    percent = share(candidate, total - candidate)
    assert aim(percent, total).candidate == candidate
    assert aim(finest(total), total).candidate == 1


# ── Deployments ─────────────────────────────────────────────────────────────────────────────────


def test_a_status_of_an_older_generation_counts_no_ready_pod() -> None:
    found = pods("old", deployment("old", 4, lag=1))
    assert (found.observed, found.ready, found.arrived, found.empty) == (False, 0, False, False)


def test_one_that_is_not_there_has_no_pods_and_is_known_to_have_none() -> None:
    found = pods("old", None)
    assert (found.wanted, found.empty, found.failing, found.rolling) == (0, True, None, None)


@pytest.mark.parametrize(
    ("strategy", "tolerated"),
    [
        ({}, 2),
        ({"rollingUpdate": {"maxUnavailable": 0}}, 0),
        ({"rollingUpdate": {"maxUnavailable": 3}}, 3),
        ({"rollingUpdate": {"maxUnavailable": 99}}, 10),
        ({"rollingUpdate": {"maxUnavailable": "19%"}}, 1),
        ({"type": "Recreate"}, 0),
    ],
)
def test_what_may_be_missing_is_what_its_own_rolling_updates_may_leave_out(strategy: Json, tolerated: int) -> None:
    assert pods("old", deployment("old", 10, strategy=strategy)).tolerates(10) == tolerated


def test_why_pods_are_not_ready_is_counted() -> None:
    waiting = [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]
    every: list[Json] = [
        {"metadata": {}, "status": {"containerStatuses": waiting}},
        {"metadata": {}, "status": {"initContainerStatuses": [{"state": {}}], "containerStatuses": waiting}},
        {"metadata": {"deletionTimestamp": "now"}, "status": {"containerStatuses": waiting}},
        {"metadata": {}, "status": {"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}},
        {
            "metadata": {},
            "status": {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]},
        },
        {"metadata": {}},
    ]
    assert complaints(every) == " (2 × CrashLoopBackOff, 1 × Unschedulable)"
    assert complaints([]) == ""


async def test_a_pod_with_an_address_of_each_family_is_one_pod_behind_a_service() -> None:
    endpoints = [
        {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "a"}, "conditions": {"ready": True}},
        {"addresses": ["fd00::1"], "targetRef": {"kind": "Pod", "name": "a"}, "conditions": {"ready": True}},
        {"addresses": ["10.0.0.2"], "targetRef": {"kind": "Pod", "name": "b"}, "conditions": {"ready": False}},
        {"addresses": ["10.0.0.3"]},
    ]

    class Fixed(Cluster):
        async def _ask(self, *_: Any, **__: Any) -> Json:
            told = {"labels": {"kubernetes.io/service-name": "shop"}}
            return {"items": [{"metadata": told, "endpoints": part} for part in (endpoints[:1], endpoints[1:], None)]}

    with ThreadPoolExecutor(1) as threads:
        assert await Fixed(KubernetesConnection(), threads).ready_endpoints("shop", "shop") == 2


# ── Where a move is ─────────────────────────────────────────────────────────────────────────────


def test_a_raise_is_under_way_at_each_of_its_steps_and_a_change_beside_it_is_not() -> None:
    start = standing(0, 4)
    wanted = step(start, write(50), NOW)
    assert (wanted.aim, wanted.mark.more) == (Aim(2, 2), {"total": 4, "from": [0, 4]})
    for counts in ((0, 4), (2, 4), (1, 4), (2, 3)):
        now = after(start, wanted, counts)
        assert (now.percent, now.drift()) == (50, None)
        assert now.unproven() is not None
        assert step(now, write(50), NOW + 60).mark == wanted.mark
    there = after(start, wanted, (2, 2), done=True)
    assert (there.percent, there.unproven()) == (50, None)
    for counts, percent in (((3, 4), 42.86), ((2, 5), 28.57), ((5, 5), 50)):
        strayed = after(start, wanted, counts)
        assert strayed.percent == percent
        assert "we wrote 2" in (strayed.drift() or "")
    assert after(start, wanted, (2, 4), done=True).drift() == "Deployment old has 4 replicas, we wrote 2"


def test_all_traffic_needs_as_many_pods_as_at_the_start_however_far_the_move_is() -> None:
    start = standing(0, 10)
    first = step(start, write(25), NOW)
    half_way = after(start, first, (3, 10))
    assert step(half_way, write(50, 2), NOW).aim == (5, 5)
    assert step(half_way, write(0, 2, release=True), NOW).aim == (0, 10)


def test_the_way_back_takes_over_what_somebody_made_more_and_a_raise_does_not() -> None:
    strayed = after(standing(0, 4), step(standing(0, 4), write(50), NOW), (3, 9))
    assert step(strayed, write(0, 2), NOW).aim == (0, 12)
    assert step(strayed, write(50, 2), NOW).aim == (2, 2)


def test_a_new_rollout_counts_anew_what_was_scaled_since() -> None:
    left = after(standing(2, 2), step(standing(2, 2), write(0, 5, release=True), NOW), (0, 4), done=True)
    assert (left.total, left.percent, left.unproven()) == (4, 0, None)
    scaled = after(standing(2, 2), step(standing(2, 2), write(0, 5, release=True), NOW), (0, 9), done=True)
    assert (scaled.total, scaled.percent, scaled.unproven()) == (9, 0, None)


def test_nothing_of_the_candidate_is_left_at_nothing_whatever_stable_has() -> None:
    now = after(standing(1, 3), step(standing(1, 3), write(0, 2, release=True), NOW), (0, 4))
    one_away = now._replace(stable=now.stable._replace(ready=3))
    assert one_away.unproven() is None
    ending = now._replace(candidate=now.candidate._replace(running=1))
    assert ending.unproven() == "0 of 0 pods of new are ready (1 too many), none shall be left"


@pytest.mark.parametrize("start", ["here", ["0", 4], [0], None, [0, True]])
def test_a_beginning_that_somebody_has_spoilt_is_none(start: object) -> None:
    wanted = step(standing(0, 4), write(50), NOW)
    old = deployment("old", 4)
    spoilt = wanted.mark.model_copy(update={"more": {"total": 4, "from": start}})
    old["metadata"]["annotations"] = as_annotation(spoilt)
    now = Standing(pods("new", deployment("new", 2)), pods("old", old))
    assert (now.under_way, now.percent) == (False, 33.33)
    assert step(now, write(50), NOW).mark.more == {"total": 4, "from": [2, 4]}


@pytest.mark.parametrize("total", [True, "4", -3, None, 0])
def test_a_mark_that_somebody_has_spoilt_counts_as_none(total: object) -> None:
    wanted = step(standing(0, 4), write(50), NOW)
    old = deployment("old", 2)
    spoilt = wanted.mark.model_copy(update={"more": {"total": total, "from": "here"}})
    old["metadata"]["annotations"] = as_annotation(spoilt)
    now = Standing(pods("new", deployment("new", 2)), pods("old", old))
    assert (now.total, now.percent, now.aimed) == (4, 50, None)


# ── The way back ────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None)
@given(st.integers(min_value=2, max_value=60), st.integers(min_value=1, max_value=100), st.data())
def test_the_way_back_keeps_what_is_needed_never_grows_and_always_ends(total: int, percent: int, data: Any) -> None:
    start = aim(percent, total)
    strategy = {"rollingUpdate": {"maxUnavailable": data.draw(st.sampled_from([0, 1, "25%"]))}}
    left, ready, age_s = start.candidate, start.stable, 0.0
    wanted = step(standing(*start), write(0, 2), NOW)
    assert wanted.aim == (0, total)
    while left and (left > 1 or ready or age_s < 30):  # the last one stays while stable has none
        ready = data.draw(st.integers(min_value=ready, max_value=total)) if age_s < 30 else ready
        now = standing(left, total, ready=(left, ready), strategy=strategy)
        fewer = kept(now, wanted, age_s)
        assert 0 <= fewer <= left
        if age_s < 60:
            assert fewer + ready >= min(left + ready, total - now.stable.tolerates(total))
        left, age_s = fewer, age_s + 5
        assert age_s <= 60 + 10 * (total + 1), "it would never end"


def test_one_pod_of_stables_that_is_away_does_not_keep_the_candidate() -> None:
    wanted = step(standing(1, 9), write(0, 2), NOW)
    assert kept(standing(1, 10, ready=(1, 8)), wanted, 0) == 0


def test_the_last_pod_stays_as_long_as_stable_has_none() -> None:
    wanted = step(standing(4, 4), write(0, 2), NOW)
    assert kept(standing(4, 4, ready=(4, 0)), wanted, 3600) == 1
    assert kept(standing(1, 4, ready=(1, 0)), wanted, 3600) == 1
    assert kept(standing(1, 4, ready=(1, 1)), wanted, 3600) == 0


def test_pods_of_the_candidate_that_are_not_ready_are_of_no_use() -> None:
    wanted = step(standing(4, 4, strategy={"type": "Recreate"}), write(0, 2), NOW)
    assert kept(standing(4, 8, ready=(1, 4), strategy={"type": "Recreate"}), wanted, 0) == 1


# ── What is in the way ──────────────────────────────────────────────────────────────────────────


def service(**selector: str) -> Json:
    return {"spec": {"selector": selector}}


def scaler(name: str, kind: str = "Deployment") -> Json:
    return {"metadata": {"name": "busy"}, "spec": {"scaleTargetRef": {"kind": kind, "name": name}}}


def changed(now: Standing, side: int, **spec: Any) -> Standing:
    each: Pods = now[side]
    found = {**(each.found or {}), "spec": {**(each.found or {})["spec"], **spec}}
    other = each._replace(found=found)
    return Standing(now.candidate, other) if side else Standing(other, now.stable)


@pytest.mark.parametrize(
    ("now", "front", "scalers", "words"),
    [
        (standing(0, 4), service(app="shop"), [], None),
        (standing(0, 4), service(app="shop"), [scaler("old", "StatefulSet"), scaler("else")], None),
        (standing(0, 4), service(app="shop"), [scaler("new")], "HorizontalPodAutoscaler busy scales Deployment new"),
        (standing(0, 4), None, [], "there is no Service shop/shop"),
        (standing(0, 4), service(), [], "selects nothing"),
        (standing(0, 4), service(app="shop", track="old"), [], "the pods of Deployment new do not carry"),
        (changed(standing(0, 4), 1, paused=True), service(app="shop"), [], "Deployment old is paused"),
        (changed(standing(0, 4), 0, selector={"matchLabels": {"app": "shop"}}), service(app="shop"), [], "selects the"),
        (changed(standing(0, 4), 0, selector={"matchExpressions": []}), service(app="shop"), [], None),
        (standing(0, 0), service(app="shop"), [], "Deployment old has no replicas"),
        (
            Standing(pods("new", None), standing(0, 4).stable),
            service(app="shop"),
            [],
            "there is no Deployment shop/new",
        ),
    ],
)
def test_what_is_in_the_way_is_told(now: Standing, front: Json | None, scalers: list[Json], words: str | None) -> None:
    told = unfit(ROUTE, now, front, scalers)
    assert (told is None) if words is None else words in (told or "")


def test_a_deployment_that_fails_is_told_in_its_own_words() -> None:
    found = deployment("new", 0)
    found["status"]["conditions"] = [
        {"type": "Available", "status": "False"},
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"},
    ]
    now = Standing(pods("new", found), standing(0, 4).stable)
    told = unfit(ROUTE, now, service(app="shop"), [])
    assert told == "Deployment new fails: ProgressDeadlineExceeded (timed out)"
    assert scaled_by(now, []) is None
