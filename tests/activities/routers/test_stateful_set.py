"""The rolling update of a StatefulSet by its partition: the arithmetic first, then the real controller."""

import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.ports import Write
from activities.routers.rolling_update import stateful_set
from activities.routers.rolling_update.reading import reading
from activities.routers.rolling_update.stateful_set import finest, pods_for, share
from activities.routers.rolling_update.workload import STANDSTILL_S, Progress, Seen
from activities.routers.rolling_update.writing import desired
from rollout.errors import Misconfigured
from rollout.routes import RollingUpdateRoute
from testbed.kubernetes.api import Object
from testbed.kubernetes.control_plane import ControlPlane
from tests.activities.routers import contract
from tests.activities.routers.contract import OWNER, proven
from tests.activities.routers.rolling_stand import (
    CRASH,
    NEVER,
    NEW,
    OLD,
    PATIENCE_S,
    RollingStand,
    StatefulSetStand,
    eventually,
    seen,
    standing,
)

ROUTE = RollingUpdateRoute(connection="prod-eu", namespace="shop", stateful_set="checkout", image=NEW)
BACK = Write(percent=0, epoch=9, owner=OWNER, release=True)


def go(percent: float, epoch: int = 1, *, pause: bool = False) -> Write:
    return Write(percent=percent, epoch=epoch, owner=OWNER, pause=pause)


def found(image: str = OLD, partition: int = 0, pods: int = 5, **status: Any) -> Object:
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), pods)
    revisions = {"currentRevision": "checkout-old", "updateRevision": "checkout-old"}
    return {
        "metadata": {"name": "checkout", "uid": "u", "resourceVersion": "7", "generation": 3},
        "spec": {
            "replicas": pods,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}},
            "template": {"metadata": {}, "spec": {"containers": [{"name": "app", "image": image}]}},
        },
        "status": {"observedGeneration": 3, **counts, **revisions, **status},
    }


def rolling(percent: float, updated: int, partition: int, *, pause: bool = False, pods: int = 5) -> Object:
    """One that Sluice has begun to roll."""
    patch = desired(found(pods=pods), ROUTE, go(percent, pause=pause), at=1000, revision="checkout-old")
    assert patch is not None
    there = found(NEW, partition, pods, updatedReplicas=updated, updateRevision="checkout-new")
    there["metadata"]["annotations"] = patch[1]["value"]
    return there


def pod(name: str, revision: str, *, ready: bool, **status: Any) -> Object:
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": "1970-01-01T00:10:00Z"}
    labels = {"controller-revision-hash": revision}
    return {"metadata": {"name": name, "labels": labels}, "status": {"conditions": [condition], **status}}


class TestWholePods:
    @given(st.integers(1, 500), st.integers(0, 10_000))
    def test_a_percent_is_the_next_whole_pod_and_only_all_is_all(self, wanted: int, hundredths: int) -> None:
        percent = hundredths / 100
        pods = pods_for(percent, wanted)
        assert 0 <= pods <= wanted
        assert (pods == wanted) == (percent == 100)
        if 0 < percent < 100 and wanted > 1:
            assert pods >= 1
            assert pods == wanted - 1 or share(pods, wanted) >= percent  # never less than asked, where that can be
            assert 100 * (pods - 1) / wanted < percent  # and less than a pod more

    @given(st.integers(1, 500), st.data())
    def test_the_share_of_whole_pods_is_those_pods(self, wanted: int, data: st.DataObject) -> None:
        pods = data.draw(st.integers(0, wanted))
        assert pods_for(share(pods, wanted), wanted) == pods

    @given(st.integers(1, 500), st.integers(0, 10_000), st.integers(0, 10_000))
    def test_more_percent_is_never_fewer_pods(self, wanted: int, one: int, other: int) -> None:
        less, more = sorted((one, other))
        assert pods_for(less / 100, wanted) <= pods_for(more / 100, wanted)

    @pytest.mark.parametrize(("wanted", "smallest"), [(1, 100), (3, 33.33), (5, 20), (6, 16.66), (0, 100)])
    def test_the_finest_percent_is_one_pod(self, wanted: int, smallest: float) -> None:
        assert finest(wanted) == smallest


class TestWhatIsWritten:
    def test_image_partition_and_mark_are_one_patch(self) -> None:
        patch = desired(found(), ROUTE, go(40), at=1, revision="checkout-old")
        assert patch is not None
        assert patch[2:] == [
            {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": NEW},
            {"op": "add", "path": "/spec/updateStrategy/rollingUpdate/partition", "value": 3},
        ]

    def test_the_next_stage_is_a_lower_partition_and_100_is_none(self) -> None:
        for percent, partition in ((60, 2), (100, 0)):
            patch = desired(rolling(40, 2, 3), ROUTE, go(percent, 2), at=1)
            assert patch is not None
            assert [each["value"] for each in patch[2:]] == [partition]

    def test_the_way_back_is_the_template_and_the_partition_that_was_there(self) -> None:
        patch = desired(rolling(40, 2, 3), ROUTE, BACK, at=1)
        assert patch is not None
        assert patch[2:] == [
            {"op": "replace", "path": "/spec/template", "value": found()["spec"]["template"]},
            {"op": "add", "path": "/spec/updateStrategy/rollingUpdate/partition", "value": 0},
        ]

    def test_a_pause_keeps_the_pods_that_are_still_old(self) -> None:
        there = rolling(80, 2, 1)
        patch = desired(there, ROUTE, go(80, 2, pause=True), at=1)
        assert patch is not None
        assert patch[-1]["value"] == 3
        there = rolling(80, 2, 3, pause=True)
        assert (reading(there, ROUTE).percent, reading(there, ROUTE).drift) == (80, None)
        patch = desired(there, ROUTE, go(80, 3), at=1)
        assert patch is not None
        assert patch[-1]["value"] == 1

    def test_fewer_new_pods_are_no_percent_that_can_be_sent(self) -> None:
        with pytest.raises(Misconfigured, match="3 of 5 pods have the candidate's image already, 20 % would be 1"):
            desired(rolling(60, 3, 2), ROUTE, go(20, 2), at=1)

    def test_a_strategy_without_a_partition_gets_one(self) -> None:
        there = found()
        del there["spec"]["updateStrategy"]["rollingUpdate"]
        patch = desired(there, ROUTE, go(40), at=1)
        assert patch is not None
        assert patch[-1] == {"op": "add", "path": "/spec/updateStrategy/rollingUpdate", "value": {"partition": 3}}

    @pytest.mark.parametrize(
        ("strategy", "words"),
        [
            ({"type": "OnDelete"}, "OnDelete: pods are replaced only when somebody deletes them"),
            ({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}, "its partition is 2: somebody rolls it"),
        ],
    )
    def test_no_roll_begins_where_it_cannot(self, strategy: Object, words: str) -> None:
        there = found()
        there["spec"]["updateStrategy"] = strategy
        with pytest.raises(Misconfigured, match=words):
            desired(there, ROUTE, go(40), at=1)


class TestWhatIsSeen:
    def progress(self, there: Object, percent: float, *pods: Object, now: float = 1001) -> Progress:
        return stateful_set.progress(
            Seen(there, [], [*pods]), percent=percent, stable="checkout-old", paused=False, since=1000, now=now
        )

    def test_there_is_when_so_many_are_new_and_all_are_ready(self) -> None:
        assert self.progress(rolling(40, 2, 3), 40).arrived
        assert not self.progress(rolling(40, 1, 3), 40).arrived
        assert not self.progress(rolling(40, 3, 2), 40).arrived
        unready = rolling(40, 2, 3)
        unready["status"]["readyReplicas"] = 4
        assert not self.progress(unready, 40).arrived
        lagging = rolling(40, 5, 3)
        lagging["status"]["updateRevision"] = "checkout-old"  # it has not seen the new template
        assert not self.progress(lagging, 40).arrived
        lagging["status"] |= {"updateRevision": "checkout-new", "updatedReplicas": 2, "observedGeneration": 2}
        assert self.progress(lagging, 40) == (False, "its controller has not seen the change yet", None)

    def test_a_pod_that_crashes_again_and_again_fails_at_once_and_others_after_ten_minutes(self) -> None:
        there = rolling(40, 1, 3)
        waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}}
        crashing = pod(
            "checkout-4", "checkout-new", ready=False, containerStatuses=[{"state": waiting, "restartCount": 3}]
        )
        assert self.progress(there, 40, crashing).failed == "pod checkout-4: CrashLoopBackOff: back-off 40s"
        crashing["status"]["containerStatuses"][0]["restartCount"] = 2  # may be waiting for something
        assert self.progress(there, 40, crashing).failed is None
        late = self.progress(there, 40, crashing, now=1001 + STANDSTILL_S).failed
        assert late == "no new pod has become ready for 601 s; pod checkout-4: CrashLoopBackOff: back-off 40s"

    def test_a_pod_of_stable_is_no_reason_to_blame_the_candidate(self) -> None:
        sick = pod("checkout-0", "checkout-old", ready=False)
        told = self.progress(rolling(40, 1, 3), 40, sick, now=1e6)
        assert told.failed is None
        assert "pod checkout-0: not ready" in told.words

    def test_every_pod_that_becomes_ready_gives_ten_minutes_more(self) -> None:
        there = rolling(40, 1, 3)
        there["spec"]["replicas"] = 5
        ready = pod("checkout-4", "checkout-new", ready=True)
        ready["status"]["conditions"][0]["lastTransitionTime"] = "1970-01-01T00:20:00Z"  # second 1200
        unready = pod("checkout-3", "checkout-new", ready=False)
        assert self.progress(there, 40, ready, unready, now=1200 + STANDSTILL_S - 1).failed is None
        assert self.progress(there, 40, ready, unready, now=1200 + STANDSTILL_S + 1).failed is not None

    def test_only_unready_pods_of_another_template_are_stuck(self) -> None:
        back = found(updatedReplicas=4)
        ending = pod("checkout-1", "checkout-new", ready=False)
        ending["metadata"]["deletionTimestamp"] = "2026-11-29T08:00:00Z"
        pods = [
            pod("checkout-4", "checkout-new", ready=False),
            pod("checkout-3", "checkout-new", ready=True),
            pod("checkout-2", "checkout-old", ready=False),
            ending,
        ]
        assert [each["metadata"]["name"] for each in stateful_set.stuck(back, pods)] == ["checkout-4"]
        not_seen = copy.deepcopy(back)
        not_seen["status"]["observedGeneration"] = 2
        assert stateful_set.stuck(not_seen, pods) == []
        back["spec"]["podManagementPolicy"] = "Parallel"
        assert stateful_set.stuck(back, pods) == []

    def test_a_partition_that_somebody_moved_is_told_apart_from_a_scale(self) -> None:
        by_hand, scaled = rolling(40, 2, 1), rolling(40, 2, 3)
        assert reading(by_hand, ROUTE).percent == 80
        assert "partition is 1, 80 %; Sluice left it at 3" in str(reading(by_hand, ROUTE).drift)
        scaled["spec"]["replicas"] = 10
        assert reading(scaled, ROUTE).percent == 70
        told = str(reading(scaled, ROUTE).drift)
        assert "was scaled from 5 to 10 pods: with partition 3 that is 70 % on the candidate, not 40 %" in told


class OrderedStand(StatefulSetStand):
    """Pods one after the other, also at the start."""

    def manifest(self, name: str) -> Object:
        made = super().manifest(name)
        made["spec"]["podManagementPolicy"] = "OrderedReady"
        return made


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "PROVEN_WITHIN_S", PATIENCE_S)


@pytest.mark.server
class TestRealStatefulSet:
    @pytest.fixture
    async def stand(self, control_plane: ControlPlane, namespace: str) -> AsyncIterator[RollingStand]:
        async with standing(OrderedStand, control_plane, namespace) as stand:
            stand.make("checkout")
            yield stand

    def new(self, stand: RollingStand) -> list[str]:
        pods = stand.pods().items()
        return sorted(name for name, each in pods if each["spec"]["containers"][0]["image"] != OLD)

    async def test_every_stage_is_so_many_of_the_last_pods_and_back(self, stand: RollingStand) -> None:
        router = stand.router()
        stable = (await router.read()).sides
        before = stand.found()["spec"]
        for epoch, percent in enumerate((25, 50, 75, 100), start=1):
            await router.write(go(percent, epoch))
            state = await proven(router, percent)
            assert self.new(stand) == [f"checkout-{number}" for number in range(4 - epoch, 4)]
            assert (state.moving, state.problem, state.failed) == (None, None, None)
            assert state.sides["stable"] == stable["stable"] != state.sides["candidate"]
            hashes = {pod["metadata"]["labels"]["controller-revision-hash"] for pod in stand.pods().values()}
            assert hashes <= set(state.sides.values())
        await router.write(BACK)
        state = await seen(router, lambda state: state.in_force == 0)
        assert (self.new(stand), state.sides) == ([], stable)
        assert stand.found()["spec"] == before

    @pytest.mark.parametrize("image", [CRASH, NEVER])
    async def test_a_bad_pod_that_would_be_stuck_for_ever_is_taken_away_by_the_way_back(
        self, stand: RollingStand, image: str
    ) -> None:
        router = stand.rolling(image=image)
        await router.write(go(50))
        await eventually(stand, lambda: self.new(stand) == ["checkout-3"], "the last pod is new")
        old = {name: each["metadata"]["uid"] for name, each in stand.pods().items() if name != "checkout-3"}
        if image == CRASH:
            state = await seen(router, lambda state: state.failed)
            assert state.failed == "pod checkout-3: CrashLoopBackOff: back-off 40s restarting failed container"
        await router.write(BACK)
        await seen(router, lambda state: state.in_force == 0)
        await eventually(stand, lambda: stand.status("readyReplicas") == 4, "all are ready")
        assert stand.images() == [OLD] * 4
        now = {name: each["metadata"]["uid"] for name, each in stand.pods().items()}
        assert old.items() <= now.items()  # no pod but the bad one was touched

    async def test_an_attempt_that_ended_before_it_freed_the_pod_is_finished_by_the_next(
        self, stand: RollingStand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        router = stand.rolling(image=NEVER)
        await router.write(go(50))
        await eventually(stand, lambda: self.new(stand) == ["checkout-3"], "the last pod is new")
        with monkeypatch.context() as patched:
            patched.setattr(stateful_set, "stuck", lambda found, pods: [])
            await router.write(BACK)
        state = await router.read()
        assert (state.percent, state.in_force) == (0, None)
        assert "1 of the others remain" in str(state.moving) or "not seen" in str(state.moving)
        await router.write(BACK)
        await seen(router, lambda state: state.in_force == 0)

    async def test_half_way_it_is_paused_and_goes_on(self, stand: RollingStand) -> None:
        router = stand.router()
        await router.write(go(100))
        await seen(router, lambda state: "1 of 4 pods are new" in str(state.moving))
        await router.write(go(100, 2, pause=True))
        state = await seen(router, lambda state: str(state.moving).startswith("paused: "))
        assert (state.percent, state.in_force, state.problem, state.failed) == (100, None, None, None)
        await eventually(stand, lambda: stand.status("readyReplicas") == 4, "what was begun is ready")
        partition = stand.found()["spec"]["updateStrategy"]["rollingUpdate"]["partition"]
        assert len(self.new(stand)) in {4 - partition, 5 - partition}  # one may have been under way
        assert OLD in stand.images()
        await router.write(go(100, 3))
        await seen(router, lambda state: state.in_force == 100)

    async def test_a_scale_by_an_autoscaler_is_told_and_the_way_back_is_whole(self, stand: RollingStand) -> None:
        router = stand.router()
        await router.write(go(50))
        await seen(router, lambda state: state.in_force == 50)
        stand.scale(6)
        state = await router.read()
        assert (state.percent, state.in_force) == (66.67, None)
        assert "was scaled from 4 to 6 pods (last set by hpa)" in str(state.problem)
        await router.write(BACK)
        await seen(router, lambda state: state.in_force == 0)
        await eventually(stand, lambda: stand.images() == [OLD] * 6, "six old pods")
