import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest

from activities.kubernetes import ANNOTATION, Cluster, Conflict, Json, Kind
from activities.ports import Write
from activities.routers.ingress_nginx import IngressNginxRouter
from rollout.errors import Misconfigured, Superseded
from rollout.routes import ForcedHeader, IngressNginxRoute
from testbed.kubernetes import ControlPlane, objects
from testbed.kubernetes.objects import NGINX
from tests.activities.routers.cancelled_contract import CancelledContract
from tests.activities.routers.contract import OWNER, ForcedHeaderContract, RouterContract, canaries, proven
from tests.activities.routers.kubernetes_stand import (
    CANDIDATE,
    STABLE,
    Door,
    Grounds,
    KubernetesStand,
    prepared,
)

RULES = (("networking.k8s.io", "ingresses", ("list", "create", "patch")),)
CANARY, OTHER = "checkout-canary", "search"


def other_ingress() -> Json:
    """Stable's Ingress of another service, on the same host."""
    made = objects.ingress(OTHER, STABLE)
    made["spec"]["rules"][0]["http"]["paths"][0]["path"] = "/search"
    return made


class IngressStand(KubernetesStand):
    header = ForcedHeader(candidate="always", stable="never")
    proves_by_itself = False

    def made(self, cluster: Cluster | None = None, **fields: Any) -> IngressNginxRouter:
        asked = {"ingress": "checkout", "candidate": CANDIDATE, "stable": STABLE, "header": self.header, **fields}
        route = IngressNginxRoute(connection="prod", namespace=self.namespace, **asked)
        return IngressNginxRouter(route, cluster or self.cluster)

    def other_router(self) -> IngressNginxRouter:
        return self.made(ingress=OTHER)

    def written(self) -> object:
        found = {each["metadata"]["name"]: each for each in self.api.list("Ingress", self.namespace)}
        return found[CANARY]["metadata"]["resourceVersion"] if CANARY in found else None

    async def drift(self, percent: float) -> None:
        self.annotate(CANARY, **{"canary-weight": str(round(percent * 100))})

    def canary(self) -> dict[str, Any]:
        return self.api.get("Ingress", CANARY, self.namespace)

    def annotate(self, ingress: str, **annotations: str | None) -> None:
        """What a person changes with kubectl."""
        named = {f"{NGINX}{key}": value for key, value in annotations.items()}
        changed = {"metadata": {"annotations": named}}
        self.api.patch("Ingress", ingress, changed, self.namespace, fieldManager="kubectl-edit")


@pytest.fixture(scope="module")
def grounds(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    with prepared(tmp_path_factory.mktemp("ingress-nginx"), control_plane, "ingress-nginx", RULES) as grounds:
        yield grounds


@pytest.fixture
async def stand(grounds: Grounds) -> AsyncIterator[IngressStand]:
    with ThreadPoolExecutor(16) as threads:
        stand = IngressStand(grounds, threads)
        for each in grounds.api.list("Ingress", stand.namespace):
            grounds.api.delete("Ingress", each["metadata"]["name"], stand.namespace)
        stand.again(objects.ingress("checkout", STABLE), other_ingress())
        yield stand
        await stand.cluster.aclose()


@pytest.mark.server
class TestIngressNginx(RouterContract, ForcedHeaderContract, CancelledContract):
    pass


@pytest.mark.server
class TestCanaryIngress:
    """What only this router has: an Ingress that comes and goes, and annotations that anybody may write."""

    async def test_it_is_made_at_the_first_write_and_stays_at_the_end_as_the_fence(self, stand: IngressStand) -> None:
        router, main = stand.made(), stand.api.get("Ingress", "checkout", stand.namespace)
        assert stand.written() is None
        await router.write(Write(percent=5.25, epoch=1, owner=OWNER))
        metadata, spec = stand.canary()["metadata"], stand.canary()["spec"]
        assert metadata["labels"] == {"app.kubernetes.io/managed-by": "sluice"}
        assert "ownerReferences" not in metadata
        mark = metadata["annotations"].pop(ANNOTATION)
        assert mark.startswith(f'{{"epoch":1,"owner":"{OWNER}","percent":5.25,"at":')
        assert metadata["annotations"] == {
            f"{NGINX}canary": "true",
            f"{NGINX}canary-weight": "525",
            f"{NGINX}canary-weight-total": "10000",
            f"{NGINX}canary-by-header": "X-Canary",
            f"{NGINX}affinity-canary-behavior": "legacy",
        }
        main["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] = CANDIDATE
        assert spec == main["spec"]
        await router.write(Write(percent=0, epoch=2, owner=OWNER, header=False, release=True))
        assert f"{NGINX}canary-by-header" not in stand.canary()["metadata"]["annotations"]
        with pytest.raises(Superseded):
            await router.write(Write(percent=5, epoch=1, owner=OWNER))

    async def test_one_that_was_deleted_is_noticed_and_made_anew_by_the_next_write(self, stand: IngressStand) -> None:
        router = stand.made()
        await router.write(Write(percent=100, epoch=1, owner=OWNER))
        await proven(router, 100)
        stand.api.delete("Ingress", CANARY, stand.namespace)
        state = await router.read()
        assert (state.percent, state.epoch, state.owner) == (0, 0, None)
        await router.write(Write(percent=100, epoch=2, owner=OWNER))
        assert (await proven(router, 100)).owner == OWNER
        assert await canaries(stand, 20) == 20

    async def test_one_that_is_deleted_while_it_is_written_is_made_anew(self, stand: IngressStand) -> None:
        await stand.made().write(Write(percent=5, epoch=1, owner=OWNER))

        class Deleting(Door):
            async def patch(self, kind: Kind, namespace: str, name: str, *rest: Any, **more: Any) -> Json:
                stand.api.delete(kind.name, name, namespace)
                return await super().patch(kind, namespace, name, *rest, **more)

        deleting = Deleting(stand.cluster.connection, stand._threads)
        await stand.made(deleting).write(Write(percent=25, epoch=2, owner=OWNER))
        await deleting.aclose()
        assert (await proven(stand.made(), 25)).epoch == 2

    async def test_the_operators_own_keeps_everything_that_is_not_ours(self, stand: IngressStand) -> None:
        own = objects.ingress(CANARY, CANDIDATE, canary={"canary-weight": "0", "canary-by-cookie": "qa"})
        own["metadata"]["labels"] = {"team": "shop"}
        own["metadata"]["annotations"]["example.com/note"] = "kept"
        own["spec"]["tls"] = [{"hosts": ["shop.test"], "secretName": "other"}]
        before = stand.api.create(own, stand.namespace)
        router = stand.made()
        await router.write(Write(percent=25, epoch=1, owner=OWNER))
        await proven(router, 25)
        assert stand.canary()["metadata"]["annotations"][f"{NGINX}canary-by-cookie"] == "qa"
        await router.write(Write(percent=0, epoch=2, owner=OWNER, header=False, release=True))
        after = stand.canary()
        annotations = after["metadata"]["annotations"]
        assert (annotations["example.com/note"], f"{NGINX}canary-by-cookie" in annotations) == ("kept", False)
        for found in (before, after):
            for key in ("annotations", "managedFields", "resourceVersion"):
                found["metadata"].pop(key)
        assert after == before

    async def test_one_without_any_annotation_gets_all_of_them_at_once(self, stand: IngressStand) -> None:
        router = stand.made()
        await router.write(Write(percent=25, epoch=1, owner=OWNER))
        stand.by_hand("Ingress", CANARY, {"op": "remove", "path": "/metadata/annotations"})
        state = await router.read()
        assert (state.percent, state.in_force, state.epoch) == (0, None, 0)
        assert "not marked as a canary" in (state.problem or "")
        await router.write(Write(percent=25, epoch=2, owner=OWNER))
        await proven(router, 25)

    async def test_rules_that_were_changed_are_renewed_by_the_next_write(self, stand: IngressStand) -> None:
        router = stand.made()
        await router.write(Write(percent=50, epoch=1, owner=OWNER))
        await proven(router, 50)
        stand.by_hand("Ingress", "checkout", {"op": "replace", "path": "/spec/rules/0/host", "value": "new.test"})
        state = await router.read()
        assert (state.percent, state.in_force) == (50, None)
        assert "does not have the rules that Ingress checkout has now" in (state.problem or "")
        await router.write(Write(percent=50, epoch=1, owner=OWNER))
        await proven(router, 50)
        assert stand.canary()["spec"]["rules"][0]["host"] == "new.test"
        assert 0 < await canaries(stand, 60) < 60

    @pytest.mark.parametrize(
        ("annotations", "percent", "words"),
        [
            ({"canary-weight": "250", "canary-weight-total": None}, 100, "takes for 100 %"),
            ({"canary-weight": "half"}, 0, "'half', which ingress-nginx takes for 0"),
            ({"canary-weight": "-5"}, 0, "'-5' of 10000, which ingress-nginx takes for 0 %"),
            ({"canary-weight-total": "50"}, 100, "'50', which ingress-nginx takes for 100"),
            ({"canary": "false"}, 0, "not marked as a canary"),
            ({"canary-weight": "40", "canary-weight-total": "100"}, 40, "gives 40 %, we wrote 5 %"),
        ],
    )
    async def test_whatever_a_person_writes_is_told_with_what_it_does_and_who_it_was(
        self, stand: IngressStand, annotations: dict[str, str | None], percent: float, words: str
    ) -> None:
        router = stand.made()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        stand.annotate(CANARY, **annotations)
        state = await router.read()
        assert (state.percent, state.in_force) == (percent, None)
        assert words in (state.problem or "")
        assert "kubectl-edit" in (state.problem or "")
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        await proven(router, 5)

    async def test_a_gitops_tool_that_puts_the_weight_back_is_named(self, stand: IngressStand) -> None:
        own = objects.ingress(CANARY, CANDIDATE, canary={"canary-weight": "0"})
        own["metadata"]["labels"] = {"kustomize.toolkit.fluxcd.io/name": "shop"}
        stand.api.create(own, stand.namespace)
        router = stand.made()
        await router.write(Write(percent=50, epoch=1, owner=OWNER))
        mine = {**own, "metadata": {key: own["metadata"][key] for key in ("name", "annotations", "labels")}}
        query = {"fieldManager": "kustomize-controller", "force": "true"}
        stand.api.patch("Ingress", CANARY, mine, stand.namespace, how="apply", **query)
        state = await router.read()
        assert (state.percent, state.in_force) == (0, None)
        assert "kustomize-controller" in (state.problem or "")
        assert "Flux manages this object" in (state.problem or "")

    async def test_workers_that_know_nothing_of_each_other_leave_the_newest(self, stand: IngressStand) -> None:
        workers = [stand.worker() for _ in range(6)]
        writes = [Write(percent=epoch, epoch=epoch, owner=OWNER) for epoch in range(1, 7)]
        sent = [stand.made(worker).write(each) for worker, each in zip(workers, writes, strict=True)]
        done = await asyncio.gather(*sent, return_exceptions=True)
        assert {type(each) for each in done} <= {type(None), Superseded}
        assert (await proven(stand.made(), 6)).epoch == 6
        for worker in workers:
            await worker.aclose()

    async def test_a_write_that_others_are_quicker_than_is_decided_anew(self, stand: IngressStand) -> None:
        await stand.made().write(Write(percent=5, epoch=1, owner=OWNER))
        quicker = stand.made(other := stand.worker())

        class Late(Door):
            late: ClassVar[list[str]] = []

            async def patch(self, kind: Kind, namespace: str, name: str, *rest: Any, **more: Any) -> Json:
                if not self.late:
                    await quicker.write(Write(percent=0, epoch=3, owner=OWNER))
                try:
                    return await super().patch(kind, namespace, name, *rest, **more)
                except Conflict as conflict:
                    self.late.append(str(conflict))
                    raise

        slow = Late(stand.cluster.connection, stand._threads)
        with pytest.raises(Superseded):
            await stand.made(slow).write(Write(percent=50, epoch=2, owner=OWNER))
        assert len(Late.late) == 1
        assert (await proven(stand.made(), 0)).epoch == 3
        await slow.aclose()
        await other.aclose()

    async def test_nothing_is_believed_before_its_time_and_a_look_says_how_long_it_takes(
        self, stand: IngressStand
    ) -> None:
        patient = stand.worker(settle=600)
        router = stand.made(patient)
        assert (await router.read()).in_force == 0
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        state = await router.read()
        assert (state.percent, state.in_force, state.proves_after_s) == (5, None, 600)
        assert "believed after 600 s" in (state.problem or "")
        assert await router.in_flight("candidate") is None
        await patient.aclose()


@pytest.mark.server
class TestRefusals:
    """What would not split as asked is refused before anything is written, and never keeps the way back."""

    async def refused(self, stand: IngressStand, words: str, **fields: Any) -> None:
        before, router = stand.written(), stand.made(**fields)
        assert words in ((await router.read()).problem or "")
        with pytest.raises(Misconfigured, match="nothing was written") as refusal:
            await router.write(Write(percent=5, epoch=1, owner=OWNER))
        assert words in str(refusal.value)
        assert stand.written() == before

    async def test_somebody_elses_canary_of_the_same_requests(self, stand: IngressStand) -> None:
        stand.api.create(objects.ingress("theirs", "theirs", canary={"canary-weight": "10"}), stand.namespace)
        await self.refused(stand, "Ingress theirs is a canary of Ingress")
        await stand.made().write(Write(percent=0, epoch=2, owner=OWNER, release=True))
        await proven(stand.made(), 0)

    async def test_somebody_elses_canary_that_leads_to_the_candidate_leaves_no_percent_proven(
        self, stand: IngressStand
    ) -> None:
        stand.api.create(objects.ingress("theirs", CANDIDATE, canary={"canary-weight": "10"}), stand.namespace)
        await self.refused(stand, "leads to Service checkout-canary: delete it")
        assert (await stand.made().read()).in_force is None

    async def test_users_who_are_kept_on_a_pod_by_a_cookie(self, stand: IngressStand) -> None:
        await stand.made().write(Write(percent=50, epoch=1, owner=OWNER))
        stand.annotate("checkout", affinity="cookie")
        state = await stand.made().read()
        assert (state.percent, state.in_force) == (50, None)
        await stand.made().write(Write(percent=0, epoch=2, owner=OWNER, header=False, release=True))
        await proven(stand.made(), 0)
        stand.api.delete("Ingress", CANARY, stand.namespace)
        await self.refused(stand, "comes before every weight")

    async def test_a_port_that_the_candidates_service_does_not_have(self, stand: IngressStand) -> None:
        stand.api.create(objects.service("narrow", {"app": "shop"}, port=81), stand.namespace)
        await self.refused(stand, "Service", candidate="narrow")
        stand.api.delete("Service", "narrow", stand.namespace)

    async def test_an_ingress_that_does_not_lead_to_stable_or_is_not_there(self, stand: IngressStand) -> None:
        await self.refused(stand, "leads to Service old: name the Service", stable="old")
        await self.refused(stand, "there is no Ingress", ingress="nothing", candidate_ingress="nothing-new")
        nothing = stand.made(ingress="nothing", candidate_ingress="nothing-new")
        with pytest.raises(Misconfigured, match="Ingress nothing-new cannot be made: there is no Ingress"):
            await nothing.write(Write(percent=0, epoch=1, owner=OWNER))

    async def test_stables_ingress_that_somebody_leads_to_the_candidate_proves_nothing(
        self, stand: IngressStand
    ) -> None:
        await stand.made().write(Write(percent=0, epoch=1, owner=OWNER))
        await proven(stand.made(), 0)
        place = "/spec/rules/0/http/paths/0/backend/service/name"
        stand.by_hand("Ingress", "checkout", {"op": "replace", "path": place, "value": CANDIDATE})
        for write in (Write(percent=0, epoch=2, owner=OWNER), Write(percent=0, epoch=3, owner=OWNER, release=True)):
            await stand.made().write(write)
            state = await stand.made().read()
            assert (state.percent, state.in_force) == (0, None)
            assert "itself leads shop.test/ to the candidate's Service" in (state.problem or "")

    async def test_the_operators_own_that_is_for_other_requests(self, stand: IngressStand) -> None:
        own = objects.ingress(CANARY, CANDIDATE, canary={"canary-weight": "0"}, host="other.test")
        stand.api.create(own, stand.namespace)
        await self.refused(stand, "does not lead shop.test/ to Service checkout-canary")
