"""The rolling update of a Deployment: there and back with the real controllers."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from activities.kubernetes import ANNOTATION
from activities.ports import Write
from rollout.errors import Drifted, Misconfigured, NotReady, RouterUnreachable
from testbed.kubernetes.api import ApiRefused, Object
from testbed.kubernetes.control_plane import ControlPlane
from tests.activities.routers.contract import OWNER
from tests.activities.routers.rolling_stand import (
    CRASH,
    NEVER,
    NEW,
    OLD,
    THIRD,
    DeploymentStand,
    eventually,
    seen,
    standing,
)

GO, BACK = Write(percent=100, epoch=1, owner=OWNER), Write(percent=0, epoch=2, owner=OWNER, release=True)


class Sampler:
    """The least available and the most pods that the API shows while something runs."""

    def __init__(self, stand: DeploymentStand) -> None:
        self._stand, self._stop = stand, threading.Event()
        self.most, self.least, self.looks = 0, 10**6, 0

    def look(self) -> None:
        while not self._stop.is_set():
            status, pods = self._stand.found()["status"], self._stand.pods()
            self.most = max(self.most, status.get("replicas", 0), len(pods))
            self.least = min(self.least, status.get("availableReplicas", 0))
            self.looks += 1

    @contextmanager
    def looking(self) -> Iterator[None]:
        thread = threading.Thread(target=self.look)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()


@pytest.mark.server
class TestRealDeployment:
    @pytest.fixture
    async def stand(self, control_plane: ControlPlane, namespace: str) -> AsyncIterator[DeploymentStand]:
        async with standing(DeploymentStand, control_plane, namespace) as stand:
            yield stand

    async def test_there_and_back_within_surge_and_unavailable_on_the_pods_of_the_recorded_set(
        self, stand: DeploymentStand
    ) -> None:
        stand.make("checkout")
        router, sampler = stand.router(), Sampler(stand)
        stable = (await router.read()).sides["stable"]
        before = stand.found()["spec"]
        with sampler.looking():
            await router.write(GO)
            moving = await seen(router, lambda state: state.moving)
            assert "of 6 pods are new and available" in str(moving.moving) or "not seen" in str(moving.moving)
            assert (moving.percent, moving.in_force, moving.failed, moving.problem) == (100, None, None, None)
            there = await seen(router, lambda state: state.in_force == 100)
            assert there.sides["stable"] == stable != there.sides["candidate"]
            at_hundred = stand.found()["spec"]
            await router.write(BACK)
            back = await seen(router, lambda state: state.in_force == 0)
        assert sampler.looks > 5
        assert (sampler.most, sampler.least) <= (8, 6)
        assert sampler.least >= 5
        assert back.sides == there.sides  # the old ReplicaSet is used again
        assert stand.found()["spec"] == before  # byte for byte
        at_hundred["template"]["spec"]["containers"][0]["image"] = OLD
        assert at_hundred == before  # one image, and nothing else

    async def test_a_version_that_never_becomes_ready_fails_at_the_deadline_and_goes_back_whole(
        self, stand: DeploymentStand
    ) -> None:
        stand.make("checkout", change=lambda made: made["spec"].update(progressDeadlineSeconds=3))
        router = stand.rolling(image=NEVER)
        old = {pod["metadata"]["uid"] for pod in stand.pods().values()}
        await router.write(GO)
        state = await seen(router, lambda state: state.failed)
        assert "has timed out progressing" in str(state.failed)
        assert "not ready" in str(state.failed)
        assert (state.percent, state.in_force) == (100, None)
        assert state.healthy == {"candidate": 5, "stable": 5}  # of 8, and Kubernetes asks none but these
        await router.write(BACK)
        assert (await router.read()).failed is None
        await seen(router, lambda state: state.in_force == 0)
        await eventually(stand, lambda: stand.images() == [OLD] * 6, "six old pods")
        kept = {pod["metadata"]["uid"] for pod in stand.pods().values()} & old
        assert len(kept) == 5  # maxUnavailable took one at the start, and none since

    async def test_a_crashing_version_is_told_by_its_pods_while_the_deadline_runs(self, stand: DeploymentStand) -> None:
        stand.make("checkout")
        router = stand.rolling(image=CRASH)
        await router.write(GO)
        state = await seen(router, lambda state: "CrashLoopBackOff" in str(state.moving))
        assert "back-off 40s restarting failed container" in str(state.moving)
        assert state.failed is None

    async def test_half_way_it_is_paused_and_goes_on(self, stand: DeploymentStand) -> None:
        slow = {"kwok.test/ready-after": "1s"}
        stand.make("checkout", change=lambda made: made["spec"]["template"]["metadata"]["annotations"].update(slow))
        router = stand.router()
        await router.write(GO)
        await seen(router, lambda state: str(state.moving)[0] in "12345")
        pause = Write(percent=100, epoch=2, owner=OWNER, pause=True)
        await router.write(pause)
        await router.write(pause)
        state = await seen(router, lambda state: str(state.moving).startswith("paused: "))
        assert (state.percent, state.in_force, state.problem, state.epoch) == (100, None, None, 2)
        frozen = stand.images()
        assert {OLD, NEW} == set(frozen)
        assert stand.found()["spec"]["paused"] is True
        await router.write(Write(percent=100, epoch=3, owner=OWNER))
        await seen(router, lambda state: state.in_force == 100)
        assert "paused" not in stand.found()["spec"]

    async def test_a_pause_goes_with_the_way_back(self, stand: DeploymentStand) -> None:
        stand.make("checkout")
        router = stand.router()
        await router.write(Write(percent=100, epoch=1, owner=OWNER, pause=True))
        state = await seen(router, lambda state: "paused" in str(state.moving))
        assert str(state.moving).startswith("paused: 0 of 6 pods are new and available, 6 of the old remain")
        assert [*state.sides] == ["stable"]
        await router.write(BACK)
        await seen(router, lambda state: state.in_force == 0)
        assert "paused" not in stand.found()["spec"]

    async def test_somebody_elses_pause_is_told_and_not_undone_by_the_same_write_again(
        self, stand: DeploymentStand
    ) -> None:
        stand.make("checkout")
        router = stand.rolling(image=NEVER)
        await router.write(GO)
        stand.by_hand({"spec": {"paused": True}}, manager="kubectl-rollout")
        state = await router.read()
        assert (state.percent, state.in_force, state.moving) == (100, None, None)
        assert "somebody paused it, Sluice did not (last set by kubectl-rollout)" in str(state.problem)
        with pytest.raises(Drifted):
            await router.write(GO)
        await router.write(BACK)
        await seen(router, lambda state: state.in_force == 0)

    async def test_an_autoscaler_in_the_middle_of_a_stuck_roll_is_followed_and_the_way_back_is_whole(
        self, stand: DeploymentStand
    ) -> None:
        stand.make("checkout", change=lambda made: made["spec"].update(replicas=10, progressDeadlineSeconds=3))
        router = stand.rolling(image=NEVER)
        await router.write(GO)
        await seen(router, lambda state: state.failed)
        stand.scale(15)
        state = await seen(router, lambda state: "of 15 pods" in str(state.moving))
        await eventually(stand, lambda: stand.status("replicas") == 17, "pods of both are added")
        assert state.in_force is None
        await router.write(BACK)
        await seen(router, lambda state: state.in_force == 0)
        await eventually(stand, lambda: stand.images() == [OLD] * 15, "15 old pods")
        fields = stand.found()["metadata"]["managedFields"]
        ours = [each["fieldsV1"]["f:spec"] for each in fields if each["manager"] == "sluice"]
        assert all("f:replicas" not in each for each in ours)

    async def test_an_unready_stable_pod_does_not_keep_the_way_back(self, stand: DeploymentStand) -> None:
        stand.make("checkout")
        router = stand.rolling(image=NEVER)
        await router.write(GO)
        await eventually(stand, lambda: stand.images().count(NEVER) == 3, "three new pods")
        name = next(name for name, pod in stand.pods().items() if pod["spec"]["containers"][0]["image"] == OLD)
        stand.api.patch("Pod", name, {"metadata": {"annotations": {"kwok.test/ready": "never"}}}, stand.namespace)
        sick = {"type": "Ready", "status": "False", "reason": "ContainersNotReady"}
        stand.api.patch(
            "Pod", name, {"status": {"conditions": [sick]}}, stand.namespace, how="strategic", subresource="status"
        )
        await router.write(BACK)
        state = await seen(router, lambda state: state.in_force == 0)
        assert stand.images().count(NEVER) == 0
        assert "as before and available" in state.proof

    async def test_a_third_image_is_drift_with_its_manager_and_the_way_back_overwrites_it(
        self, stand: DeploymentStand
    ) -> None:
        stand.make("checkout")
        router = stand.router()
        await router.write(GO)
        await seen(router, lambda state: state.in_force == 100)
        label = {"metadata": {"labels": {"argocd.argoproj.io/instance": "shop"}}}
        stand.by_hand(label, manager="argocd-controller")
        stand.push(THIRD, manager="argocd-controller")
        state = await router.read()
        assert (state.percent, state.in_force, state.moving, state.failed) == (0, None, None, None)
        assert f"image is {THIRD} (last set by argocd-controller; Argo CD manages this object" in str(state.problem)
        with pytest.raises(Drifted):
            await router.write(GO)
        await router.write(BACK)
        await seen(router, lambda state: state.in_force == 0)
        await eventually(stand, lambda: stand.images() == [OLD] * 6, "six old pods")

    async def test_an_edited_template_is_drift_too_and_the_old_one_put_back_is_told(
        self, stand: DeploymentStand
    ) -> None:
        stand.make("checkout")
        router = stand.router()
        await router.write(GO)
        env = {"name": "app", "env": [{"name": "DEBUG", "value": "1"}]}
        stand.by_hand({"spec": {"template": {"spec": {"containers": [env]}}}})
        state = await router.read()
        assert (state.percent, state.in_force) == (100, None)
        assert "somebody changed the pod template" in str(state.problem)
        await router.write(Write(percent=100, epoch=2, owner=OWNER))  # a person said: put it right
        await seen(router, lambda state: state.in_force == 100)
        stand.push(OLD)
        state = await router.read()
        assert (state.percent, state.in_force) == (0, None)
        assert "as it was before the rollout (last set by kubectl-set)" in str(state.problem)

    async def test_a_lost_mark_is_told_with_what_to_do_and_nothing_is_guessed(self, stand: DeploymentStand) -> None:
        stand.make("checkout")
        router = stand.router()
        await router.write(GO)
        stand.by_hand({"metadata": {"annotations": {ANNOTATION: None}}})
        before = stand.written()
        with pytest.raises(Misconfigured, match=r"kubectl rollout undo deployment/checkout .* --to-revision=N"):
            await router.write(BACK)
        assert stand.written() == before

    async def test_what_is_gone_is_said(self, stand: DeploymentStand) -> None:
        for asking in (stand.router().read(), stand.router().write(BACK)):
            with pytest.raises(Misconfigured, match=f"there is no Deployment {stand.namespace}/checkout"):
                await asking

    async def test_a_roll_of_somebody_else_keeps_ours_from_beginning(self, stand: DeploymentStand) -> None:
        stand.make("checkout")
        stand.push(NEVER)
        await eventually(stand, lambda: stand.images().count(NEVER) == 3, "it is under way")
        router = stand.rolling(image=THIRD)
        state = await router.read()
        assert (state.percent, state.in_force) == (0, None)
        assert "a rollout of it is under way: 0 of 6 pods are as before and available" in str(state.problem)
        with pytest.raises(NotReady, match="under way already"):
            await router.write(GO)

    async def test_editors_at_the_same_time_lose_nothing_and_meet_no_riddle(self, stand: DeploymentStand) -> None:
        stand.make("checkout")
        router, stop, edits = stand.router(), threading.Event(), 0

        def edit() -> None:
            nonlocal edits
            while not stop.wait(0.2):
                stand.by_hand({"metadata": {"annotations": {"acme.dev/edits": str(edits + 1)}}})
                edits += 1

        editor = threading.Thread(target=edit)
        editor.start()
        try:
            for epoch in range(1, 9):
                write = Write(percent=100 * (epoch % 2), epoch=epoch, owner=OWNER)
                await self._written(router, write)
        finally:
            stop.set()
            editor.join()
        state = await seen(router, lambda state: state.in_force == 0)
        assert state.epoch == 8
        assert stand.found()["metadata"]["annotations"]["acme.dev/edits"] == str(edits)

    async def _written(self, router: Any, write: Write) -> None:
        """As an activity does it: a write that lost every race, or came before the end of the last, comes again."""
        async with asyncio.timeout(60):
            while True:
                try:
                    await router.write(write)
                except (RouterUnreachable, NotReady):
                    await asyncio.sleep(0.05)
                else:
                    return

    async def test_fields_that_sluice_does_not_know_stay_as_they_are(self, stand: DeploymentStand) -> None:
        def enrich(made: Object) -> None:
            made["metadata"]["annotations"] = {"acme.dev/owner": "payments ✓", "acme.dev/json": '{"a":  1}'}
            spec = made["spec"]["template"]["spec"]
            spec["containers"][0] |= {
                "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
                "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
            }
            spec["initContainers"] = [{"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"}]
            spec["hostUsers"] = True
            spec["topologySpreadConstraints"] = [
                {
                    "maxSkew": 1,
                    "topologyKey": "zone",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": {"app": "checkout"}},
                    "matchLabelKeys": ["pod-template-hash"],
                }
            ]

        stand.make("checkout", change=enrich)
        router, before = stand.router(), stand.found()
        await router.write(GO)
        await seen(router, lambda state: state.in_force == 100)
        await router.write(BACK)
        await seen(router, lambda state: state.in_force == 0)
        after = stand.found()
        assert json.dumps(after["spec"]) == json.dumps(before["spec"])
        ours = {ANNOTATION, "deployment.kubernetes.io/revision"}
        kept = [
            {key: value for key, value in each["metadata"]["annotations"].items() if key not in ours}
            for each in (before, after)
        ]
        assert kept[0] == kept[1]

    async def test_a_template_too_big_is_refused_before_the_api_server_does(self, stand: DeploymentStand) -> None:
        value = [{"name": "BLOB", "value": "x" * 260_000}]
        stand.make("checkout", change=lambda made: made["spec"]["template"]["spec"]["containers"][0].update(env=value))
        with pytest.raises(Misconfigured, match="too big to be kept"):
            await stand.router().write(GO)
        with pytest.raises(ApiRefused, match="Too long"):
            stand.by_hand({"metadata": {"annotations": {"acme.dev/copy": "x" * 262_145}}})
