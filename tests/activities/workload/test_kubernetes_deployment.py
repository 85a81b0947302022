"""The workload adapter against real Deployments, scaled by the real controller."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from activities.aws import AwsConnection
from activities.kubernetes import ANNOTATION, Cluster, KubernetesConnection
from activities.ports import Workloads, Write
from activities.shared import Shared
from activities.workload import workload_for
from activities.workload.kubernetes_deployment import KubernetesDeployments
from rollout.errors import Misconfigured, NotReady
from rollout.workloads import KubernetesDeploymentWorkload
from testbed.kubernetes import ControlPlane, objects
from testbed.kubernetes.api import Object
from testbed.processes import wait_until_async
from tests.activities.workload.contract import STABLE, WorkloadContract, WorkloadStand, order, prepared, until_ready

CANARY, STABLE_NAME = "shop-canary", "shop-stable"


class KubernetesStand(WorkloadStand):
    """Two Deployments in a namespace of their own."""

    def __init__(self, plane: ControlPlane, namespace: str, cluster: Cluster) -> None:
        self.plane, self.namespace, self.cluster = plane, namespace, cluster
        self.api = plane.api

    def workload(self, *, keep: bool = False, spare: float = 0) -> KubernetesDeploymentWorkload:
        return KubernetesDeploymentWorkload(
            connection="prod-eu",
            namespace=self.namespace,
            candidate=CANARY,
            stable=STABLE_NAME,
            spare=spare,
            remove_candidate=not keep,
        )

    def workloads(self, *, keep: bool = False, spare: float = 0) -> Workloads:
        return KubernetesDeployments(self.workload(keep=keep, spare=spare), self.cluster)

    def replicas(self) -> int:
        return int(self.candidate()["spec"]["replicas"])

    def written(self) -> object:
        found = self.candidate()  # the mark tells when it was written
        return found["metadata"].get("annotations", {}).get(ANNOTATION), found["spec"]["replicas"]

    async def scaled_by_hand(self, replicas: int, *, stable: bool = False) -> None:
        name = STABLE_NAME if stable else CANARY
        self.api.patch("Deployment", name, {"spec": {"replicas": replicas}}, self.namespace, fieldManager="kubectl")
        await self.available(name, replicas)

    async def autoscaled(self, least: int, most: int) -> None:
        self.api.create(objects.hpa("by-load", CANARY, least=least, most=most), self.namespace)

    async def lost(self, *, stable: bool = False) -> None:
        self.api.delete("Deployment", STABLE_NAME if stable else CANARY, self.namespace)

    def candidate(self) -> Object:
        return self.api.get("Deployment", CANARY, self.namespace)

    async def available(self, name: str, count: int) -> None:
        await asyncio.to_thread(objects.wait_available, self.api, self.namespace, name, count)


@pytest.fixture
async def stand(control_plane: ControlPlane, namespace: str) -> AsyncIterator[KubernetesStand]:
    cluster = Cluster(KubernetesConnection(kubeconfig=control_plane.kubeconfig))
    found = KubernetesStand(control_plane, namespace, cluster)
    found.api.create(objects.deployment(STABLE_NAME, replicas=STABLE, version="stable"), namespace)
    found.api.create(objects.deployment(CANARY, replicas=0, version="canary"), namespace)
    await found.available(STABLE_NAME, STABLE)
    await found.available(CANARY, 0)
    yield found
    await cluster.aclose()


async def until_told(stand: KubernetesStand, write: Write, words: str) -> str:
    """Prepare again and again until the reason is told; pods never are ready meanwhile."""
    told: list[str] = []

    async def is_told() -> bool:
        with pytest.raises(NotReady) as refused:
            await stand.workloads().prepare(write)
        told.append(str(refused.value))
        return words in told[-1]

    await wait_until_async(is_told, within_s=30, what=words)
    return told[-1]


@pytest.mark.server
class TestKubernetesDeployments(WorkloadContract):
    async def test_fields_that_are_newer_than_us_and_foreign_annotations_stay(self, stand: KubernetesStand) -> None:
        body = {"metadata": {"annotations": {"team": "shop"}}, "spec": {"revisionHistoryLimit": 3}}
        before = stand.api.patch("Deployment", CANARY, body, stand.namespace)
        await prepared(stand, order(50))
        after = stand.candidate()
        assert after["metadata"]["annotations"]["team"] == "shop"
        assert {**after["spec"], "replicas": 0} == before["spec"]

    async def test_a_deadline_that_has_passed_is_told(self, stand: KubernetesStand) -> None:
        bad = objects.deployment(CANARY, "shop:bad", 2, version="canary", ready="never", progress_deadline_s=1)
        stand.api.replace(bad, stand.namespace)
        await until_told(stand, order(50), "has timed out progressing")

    async def test_pods_that_crash_are_waited_for_and_it_is_told(self, stand: KubernetesStand) -> None:
        stand.api.replace(objects.deployment(CANARY, replicas=0, version="canary", ready="crash"), stand.namespace)
        told = await until_told(stand, order(50), "2 of 2 pods: CrashLoopBackOff: back-off")
        assert told.startswith(f"0 of 2 candidate pods are ready (Deployment {stand.namespace}/{CANARY}: ")

    async def test_pods_of_a_former_release_do_not_count(self, stand: KubernetesStand) -> None:
        await stand.scaled_by_hand(2)
        slow = objects.deployment(CANARY, "shop:2", 2, version="canary", ready="never", max_surge=1, max_unavailable=0)
        stand.api.replace(slow, stand.namespace)

        await until_told(stand, order(50), "2 pods of its former template are being replaced")
        assert (await stand.workloads().capacity()).candidate_ready == 0

    async def test_a_paused_candidate_with_another_template_is_not_ready(self, stand: KubernetesStand) -> None:
        await stand.scaled_by_hand(1)
        stand.api.patch("Deployment", CANARY, {"spec": {"paused": True}}, stand.namespace)
        image = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "shop:2"}]}}}}
        stand.api.patch("Deployment", CANARY, image, stand.namespace, how="strategic")

        await until_told(stand, order(5), "it is paused")

    async def test_who_lowered_the_replicas_is_named(self, stand: KubernetesStand) -> None:
        await prepared(stand, order(50))
        found = stand.candidate()
        found["spec"]["replicas"] = 1
        found["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] = "shop:apps/Deployment:shop/shop-canary"
        path = f"/apis/apps/v1/namespaces/{stand.namespace}/deployments/{CANARY}"
        stand.api.request("PUT", path, found, fieldManager="argocd-controller")
        notes = (await stand.workloads().capacity()).notes
        assert f"Argo CD manages {CANARY}: leave `replicas` out of its manifest, or let it ignore the field" in notes
        assert (
            f"Deployment {CANARY} has 1 replicas, Sluice wants 2 (last set by argocd-controller; "
            "Argo CD manages this object: let it ignore what Sluice writes)"
        ) in notes

    async def test_an_autoscaler_of_stable_is_told_because_the_way_back_will_wait_for_it(
        self, stand: KubernetesStand
    ) -> None:
        stand.api.create(objects.hpa("by-load", STABLE_NAME, least=2, most=9), stand.namespace)
        first, second = (await stand.workloads().capacity()).notes
        assert first.startswith(
            "HorizontalPodAutoscaler by-load (2 to 9) will shrink shop-stable as its traffic leaves"
        )
        assert second.startswith("shop-canary has no autoscaler")

    async def test_an_autoscaler_that_zero_replicas_switch_off_is_explained(self, stand: KubernetesStand) -> None:
        await stand.autoscaled(1, 5)
        with pytest.raises(NotReady, match=r"0 replicas switch HorizontalPodAutoscaler by-load .* off"):
            await stand.workloads().prepare(order(5))
        assert stand.replicas() == 0

    async def test_an_autoscaler_that_wants_more_pods_is_followed(self, stand: KubernetesStand) -> None:
        await stand.scaled_by_hand(1)
        await stand.autoscaled(3, 5)
        found = await prepared(stand, order(50))
        assert found.candidate_ready >= 2
        await wait_until_async(lambda: stand.replicas() == 3, within_s=60, what="the autoscaler scales")

    async def test_a_budget_that_blocks_evictions_is_only_a_note(self, stand: KubernetesStand) -> None:
        stand.api.create(objects.pdb("all-of-them", {"app": STABLE_NAME}, min_available=STABLE), stand.namespace)

        async def is_told() -> bool:
            told = (await stand.workloads().capacity()).notes
            return told == (f"PodDisruptionBudget all-of-them lets no pod of {STABLE_NAME} be evicted now",)

        await wait_until_async(is_told, within_s=30, what="the budget is told")
        await prepared(stand, order(5))

    async def test_a_preparation_whose_caller_is_cancelled_is_finished_or_never_began(
        self, stand: KubernetesStand
    ) -> None:
        asking = asyncio.ensure_future(stand.workloads().prepare(order(50)))
        await wait_until_async(lambda: stand.replicas() == 2 or asking.done(), within_s=30, what="it is written")
        asking.cancel()
        with pytest.raises((asyncio.CancelledError, NotReady)):
            await asking
        await prepared(stand, order(50))

    async def test_writers_at_the_same_time_leave_the_newest(self, stand: KubernetesStand) -> None:
        writes = [order(25 * epoch, epoch=epoch) for epoch in range(1, 5)]
        await asyncio.gather(*(stand.workloads().prepare(each) for each in writes), return_exceptions=True)
        assert (await prepared(stand, writes[-1])).candidate_ready == STABLE

    async def test_nine_of_ten_ready_pods_carry_everything(self, stand: KubernetesStand) -> None:
        await stand.scaled_by_hand(10, stable=True)
        pod = stand.api.list("Pod", stand.namespace, labels=f"app={STABLE_NAME}")[0]["metadata"]["name"]
        stand.api.patch("Pod", pod, {"metadata": {"annotations": {"kwok.test/ready": "never"}}}, stand.namespace)
        ready = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
        stand.api.patch("Pod", pod, ready, stand.namespace, how="strategic", subresource="status")

        async def nine() -> bool:
            return (await stand.workloads().capacity()).stable_ready == 9

        await wait_until_async(nine, within_s=30, what="one pod of stable is not ready")
        assert await stand.workloads().carries() == 100

    async def test_the_adapter_of_a_workload_shares_the_cluster_of_its_connection(self, stand: KubernetesStand) -> None:
        connection = KubernetesConnection(kubeconfig=stand.plane.kubeconfig)
        with ThreadPoolExecutor(2) as threads:
            async with httpx.AsyncClient() as http:
                shared = Shared(http, threads)
                found = await until_ready(workload_for(stand.workload(), connection, shared).capacity)
                assert found.stable_ready == STABLE
                with pytest.raises(Misconfigured, match=r"'prod-eu' is of kind aws, .* wants kubernetes"):
                    workload_for(stand.workload(), AwsConnection(region="eu-west-1"), shared)
                await shared.aclose()
