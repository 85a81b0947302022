from collections.abc import Iterator
from typing import Any

import pytest

from activities.ports import Write
from rollout.errors import Misconfigured, NotReady
from testbed.kubernetes import ControlPlane, objects
from tests.activities.routers.contract import OWNER, proven
from tests.activities.routers.kubernetes_stand import (
    CANDIDATE,
    STABLE,
    Grounds,
)
from tests.activities.routers.replicas_stand import (
    TOTAL,
    Delivered,
    ReplicasStand,
    eventually,
    serving,
)


@pytest.fixture(scope="module")
def grounds(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    with serving(control_plane, tmp_path_factory.mktemp("replicas")) as grounds:
        yield grounds


@pytest.mark.server
class TestOtherHands(Delivered):
    """Others who scale: named, never adopted, refused where they would undo every step."""

    async def test_who_scaled_is_named(self, stand: ReplicasStand) -> None:
        await stand.router().write(Write(percent=50, epoch=1, owner=OWNER))
        await proven(stand.router(), 50)
        stand.kubectl_scale(STABLE, 6, by="kubectl-scale")
        state = await stand.router().read()
        assert (state.percent, state.in_force) == (25, None)
        assert state.problem == "Deployment checkout has 6 replicas, we wrote 2 (last set by kubectl-scale)"
        stand.api.create(objects.hpa("busy", STABLE, least=1, most=9), stand.namespace)
        told = (await stand.router().read()).problem or ""
        assert told.endswith("; HorizontalPodAutoscaler busy scales Deployment checkout")

    async def test_the_same_ratio_of_other_numbers_is_a_change_too(self, stand: ReplicasStand) -> None:
        await stand.router().write(Write(percent=50, epoch=1, owner=OWNER))
        for name in (CANDIDATE, STABLE):
            stand.kubectl_scale(name, 3)
        state = await stand.router().read()
        assert (state.percent, state.in_force) == (50, None)
        assert "checkout-canary has 3 replicas, we wrote 2" in (state.problem or "")

    async def test_the_way_back_leaves_as_many_pods_as_somebody_thought_needed(self, stand: ReplicasStand) -> None:
        await stand.router().write(Write(percent=50, epoch=1, owner=OWNER))
        stand.kubectl_scale(STABLE, 6)
        await stand.router().write(Write(percent=0, epoch=2, owner=OWNER, release=True))
        await proven(stand.router(), 0)
        assert stand.replicas() == (0, 8)

    async def refused(self, stand: ReplicasStand, words: str, **fields: Any) -> None:
        before, router = stand.written(), stand.made(**fields)
        assert words in ((await router.read()).problem or "")
        with pytest.raises(Misconfigured, match="nothing was written") as refusal:
            await router.write(Write(percent=25, epoch=1, owner=OWNER))
        assert words in str(refusal.value)
        assert stand.written() == before
        await router.write(Write(percent=0, epoch=1, owner=OWNER, release=True))
        await proven(router, 0)

    @pytest.mark.parametrize("target", [CANDIDATE, STABLE])
    async def test_an_autoscaler_of_either(self, stand: ReplicasStand, target: str) -> None:
        stand.api.create(objects.hpa("busy", target, least=1, most=9), stand.namespace)
        await self.refused(stand, f"HorizontalPodAutoscaler busy scales Deployment {target} and would undo every step")

    async def test_one_that_is_paused(self, stand: ReplicasStand) -> None:
        stand.api.patch("Deployment", STABLE, {"spec": {"paused": True}}, stand.namespace)
        await self.refused(stand, "Deployment checkout is paused")

    async def test_a_service_that_sees_only_one_of_them(self, stand: ReplicasStand) -> None:
        await self.refused(stand, f"Service {stand.namespace}/{STABLE} selects app=shop, track=stable", service=STABLE)

    async def test_a_service_that_is_not_there(self, stand: ReplicasStand) -> None:
        await self.refused(stand, f"there is no Service {stand.namespace}/nothing", service="nothing")

    async def test_pods_of_somebody_else_behind_the_same_service(self, stand: ReplicasStand) -> None:
        await stand.router().write(Write(percent=25, epoch=1, owner=OWNER))
        await proven(stand.router(), 25)
        stand.add("third", "stable", 1)
        await stand.has("third", 1)

        async def noticed() -> bool:
            state = await stand.router().read()
            return state.in_force is None and "has 5 ready pods, the two Deployments have 4" in (state.problem or "")

        await eventually(noticed)
        await stand.router().write(Write(percent=0, epoch=2, owner=OWNER, release=True))
        await proven(stand.router(), 0)

    async def test_a_deployment_that_is_being_rolled_out(self, stand: ReplicasStand) -> None:
        stand.add("rolled", "stable", TOTAL)
        await stand.has("rolled", TOTAL)
        stand.kubectl_scale(STABLE, 0)
        await stand.has(STABLE, 0)
        never = {"spec": {"template": {"metadata": {"annotations": {"kwok.test/ready": "never"}}}}}
        stand.api.patch("Deployment", "rolled", never, stand.namespace)
        router = stand.made(stable="rolled")

        async def told() -> bool:
            return "Deployment rolled is being rolled out" in ((await router.read()).problem or "")

        await eventually(told)
        with pytest.raises(NotReady, match="is being rolled out"):
            await router.write(Write(percent=25, epoch=1, owner=OWNER))
        assert stand.replicas()[0] == 0

    async def test_a_stable_that_does_not_exist_has_no_place_for_the_mark(self, stand: ReplicasStand) -> None:
        router = stand.made(stable="nothing")
        for asking in (router.read(), router.write(Write(percent=0, epoch=1, owner=OWNER))):
            with pytest.raises(Misconfigured, match=r"there is no Deployment .*/nothing \(stable\)"):
                await asking
