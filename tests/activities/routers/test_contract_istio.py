import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from activities.kubernetes import ANNOTATION, Cluster
from activities.ports import Write
from activities.routers.istio import IstioRouter
from rollout.errors import Misconfigured, NotReady
from rollout.routes import IstioRoute
from testbed.kubernetes import ControlPlane, objects, wait_available
from testbed.processes import wait_until
from tests.activities.routers.cancelled_contract import CancelledContract
from tests.activities.routers.contract import (
    HEADER,
    OWNER,
    ForcedHeaderContract,
    RouterContract,
    canaries,
    proven,
    until,
)
from tests.activities.routers.kubernetes_stand import APP, CANDIDATE, STABLE, Grounds, KubernetesStand, pods, prepared

GROUP = "networking.istio.io"
ALLOWED = ((GROUP, "virtualservices", ("get", "patch")), (GROUP, "destinationrules", ("list",)))
SUBSETS = {"v2": {"version": "canary"}, "v1": {"version": "stable"}}


def rule(**labels: dict[str, str]) -> dict[str, Any]:
    """The DestinationRule of the Service that has the pods of both."""
    return objects.destination_rule(APP, APP, {**SUBSETS, **labels})


class IstioStand(KubernetesStand):
    proves_by_itself = False

    @property
    def names(self) -> dict[str, Any]:
        return {"host": APP, "candidate": "v2", "stable": "v1"}

    def made(self, cluster: Cluster | None = None, **fields: Any) -> IstioRouter:
        asked = {"virtual_service": "checkout", "header": HEADER, **self.names, **fields}
        return IstioRouter(IstioRoute(connection="prod", namespace=self.namespace, **asked), cluster or self.cluster)

    def other_router(self) -> IstioRouter:
        return self.made(virtual_service="search")

    def delivered(self, name: str) -> dict[str, Any]:
        """A VirtualService as an operator applies it: everything to stable."""
        weights = {self.names["candidate"]: 0, self.names["stable"]: 100}
        return objects.virtual_service(name, weights, host=self.names.get("host"))

    def found(self) -> dict[str, Any]:
        return self.api.get("VirtualService", "checkout", self.namespace)

    def written(self) -> object:
        found = self.found()
        return found["metadata"]["resourceVersion"], (found["metadata"].get("annotations") or {}).get(ANNOTATION)

    def split(self) -> int:
        """Position of the HTTP route that splits."""
        [position] = [n for n, each in enumerate(self.found()["spec"]["http"]) if each["name"] == "primary"]
        return position

    async def drift(self, percent: float) -> None:
        path = f"/spec/http/{self.split()}/route"
        weights = enumerate((percent, 100 - percent))
        changes = ({"op": "add", "path": f"{path}/{n}/weight", "value": round(each)} for n, each in weights)
        self.by_hand("VirtualService", "checkout", *changes)
        await self.settled()


class TwoHosts(IstioStand):
    @property
    def names(self) -> dict[str, Any]:
        return {"candidate": f"{CANDIDATE}.{self.namespace}.svc.cluster.local", "stable": STABLE}


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory, control_plane: ControlPlane) -> Iterator[Grounds]:
    control_plane.install("istio")
    folder, both = tmp_path_factory.mktemp("istio"), objects.service(APP, {"app": APP})
    with prepared(folder, control_plane, "istio", ALLOWED, (both, rule())) as ready:
        yield ready


class Delivered:
    """A stand that starts as it was delivered; needs a fixture `grounds`."""

    kind: type[IstioStand] = IstioStand

    @pytest.fixture
    async def stand(self, grounds: Grounds) -> AsyncIterator[IstioStand]:
        with ThreadPoolExecutor(16) as threads:
            stand = self.kind(grounds, threads)
            stand.again(stand.delivered("checkout"), stand.delivered("search"), rule())

            async def fit() -> bool:
                states = await asyncio.gather(stand.router().read(), stand.other_router().read())
                return all((state.in_force, state.problem, len(state.healthy)) == (0, None, 2) for state in states)

            await until(fit)
            yield stand
            await stand.cluster.aclose()


@pytest.mark.server
class TestSubsets(Delivered, RouterContract, ForcedHeaderContract, CancelledContract):
    async def test_a_subset_that_no_rule_defines_gets_nothing(self, stand: IstioStand) -> None:
        before = stand.written()
        stand.api.delete("DestinationRule", APP, stand.namespace)
        assert (await stand.router().read()).healthy == {}
        with pytest.raises(Misconfigured, match=r"subset v2 of shop \(candidate\).* no DestinationRule defines it"):
            await stand.router().write(Write(percent=5, epoch=1, owner=OWNER))
        assert stand.written() == before

    async def test_the_way_back_needs_neither_subset_nor_service(self, stand: IstioStand) -> None:
        await stand.router().write(Write(percent=50, epoch=1, owner=OWNER))
        only_stable = {name: labels for name, labels in SUBSETS.items() if name == "v1"}
        stand.again(objects.destination_rule(APP, APP, only_stable))
        await stand.router().write(Write(percent=0, epoch=2, owner=OWNER, header=False, release=True))
        await proven(stand.router(), 0)
        assert await canaries(stand, 20) == 0

    async def test_an_empty_subset_gets_nothing(self, stand: IstioStand) -> None:
        """Argo Rollouts 4564, 4639: the labels of the subset moved on before its weight was taken away."""
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        before = stand.written()
        stand.again(rule(v2={"version": "canary", "rollouts-pod-template-hash": "not-yet-there"}))
        assert (await router.read()).healthy == {"candidate": 0, "stable": 1}
        with pytest.raises(NotReady, match="subset v2 of shop has no ready pod"):
            await router.write(Write(percent=25, epoch=2, owner=OWNER))
        assert stand.written() == before
        await router.write(Write(percent=0, epoch=3, owner=OWNER, header=False, release=True))
        await proven(router, 0)

    async def test_pods_count_for_the_subset_whose_labels_they_have_now(self, stand: IstioStand) -> None:
        """Argo Rollouts 4612: weight was set although what it led to had not been switched."""
        stand.api.create(pods("idle", "other", replicas=2), stand.namespace)
        try:
            wait_available(stand.api, stand.namespace, "idle", 2)

            async def counted() -> bool:
                return (await stand.router().read()).healthy == {"candidate": 2, "stable": 1}

            assert (await stand.router().read()).healthy == {"candidate": 1, "stable": 1}
            stand.again(rule(v2={"version": "other"}))
            await until(counted)
        finally:
            stand.api.delete("Deployment", "idle", stand.namespace)
            wait_until(lambda: len(stand.api.list("Pod", stand.namespace)) == 2, within_s=30, what="its pods are gone")

    async def test_the_forced_routes_come_right_before_the_split_and_after_what_the_operator_put_there(
        self, stand: IstioStand
    ) -> None:
        admin = {
            "name": "admin",
            "match": [{"uri": {"prefix": "/admin"}}],
            "route": [{"destination": {"host": STABLE}}],
        }
        stand.by_hand("VirtualService", "checkout", {"op": "add", "path": "/spec/http/0", "value": admin})
        router = stand.made(http="primary")
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        await proven(router, 5)
        shown = [each["name"] for each in stand.found()["spec"]["http"]]
        assert shown == ["admin", "sluice-candidate-primary", "sluice-stable-primary", "primary"]
        by_position = await stand.made(http=1).read()
        assert by_position.percent == 5
        await router.write(Write(percent=0, epoch=2, owner=OWNER, release=True))
        assert [each["name"] for each in stand.found()["spec"]["http"]] == ["admin", "primary"]

    async def test_istio_is_believed_where_it_tells(self, stand: IstioStand) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        await proven(router, 5)
        self.tells(stand, "False", "1/2 complete")
        state = await router.read()
        assert (state.in_force, state.problem) == (None, "not every proxy has it yet, Istio says: 1/2 complete")
        self.tells(stand, "True", "2/2 complete")
        state = await router.read()
        assert (state.in_force, state.problem, state.proves_after_s) == (5, None, 0)
        assert state.proof.endswith("reconciled, says Istio")
        await router.write(Write(percent=25, epoch=2, owner=OWNER))
        state = await router.read()
        assert (state.percent, state.in_force) == (25, None)
        assert "Istio's status is about generation" in str(state.problem)
        self.tells(stand, "True", "2/2 complete")
        await proven(router, 25)

    @staticmethod
    def tells(stand: IstioStand, status: str, message: str) -> None:
        """Istio writes its status about what is there now."""
        generation = str(stand.found()["metadata"]["generation"])
        condition = {"type": "Reconciled", "status": status, "message": message, "observedGeneration": generation}
        body = {"status": {"conditions": [condition]}}
        stand.api.patch("VirtualService", "checkout", body, stand.namespace, subresource="status")

    async def test_a_write_is_believed_only_after_it_had_time_to_get_everywhere(self, stand: IstioStand) -> None:
        patient, other = (stand.worker(settle="1h") for _ in range(2))
        assert (await stand.made(patient).read()).in_force == 0  # nobody's, so nothing is on its way
        await stand.made(patient).write(Write(percent=5, epoch=1, owner=OWNER))
        for worker in (patient, other):
            state = await stand.made(worker).read()
            assert (state.percent, state.in_force, state.proves_after_s) == (5, None, 3600)
            assert "it is believed after 3600 s: Istio confirms nothing" in str(state.problem)
        await stand.made(patient).write(Write(percent=0, epoch=2, owner=OWNER, release=True))
        state = await stand.made(patient).read()
        assert (state.in_force, state.problem) == (None, None)  # nothing speaks against the next rollout
        await patient.aclose()
        await other.aclose()

    async def test_who_changed_it_is_named(self, stand: IstioStand) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        await stand.drift(40)
        assert (await router.read()).problem == (
            f"http 0 of VirtualService {stand.namespace}/checkout is at 40 %, Sluice wrote 5 % "
            "(last set by kubectl-edit)"
        )


@pytest.mark.server
class TestHosts(Delivered, RouterContract, ForcedHeaderContract):
    kind = TwoHosts
