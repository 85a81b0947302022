import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from activities.kubernetes import ANNOTATION
from activities.ports import Write
from rollout.errors import Drifted, Misconfigured, NotReady, RouteRejected, RouterUnreachable, Superseded
from testbed.kubernetes import ControlPlane, objects
from tests.activities.routers.cancelled_contract import CancelledContract
from tests.activities.routers.contract import OWNER, ForcedHeaderContract, RouterContract, canaries, proven, until
from tests.activities.routers.gateway_stand import (
    ALLOWED,
    FORCED,
    Deaf,
    GatewayStand,
    Older,
    delivered,
    denied,
    furnished,
)
from tests.activities.routers.kubernetes_stand import CANDIDATE, STABLE, Grounds, prepared


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory, control_plane: ControlPlane) -> Iterator[Grounds]:
    control_plane.install("gateway-api")
    with prepared(tmp_path_factory.mktemp("gateway-api"), control_plane, "gateway-api", ALLOWED) as ready:
        yield ready


@pytest.fixture
async def stand(grounds: Grounds) -> AsyncIterator[GatewayStand]:
    with ThreadPoolExecutor(16) as threads:
        stand = GatewayStand(grounds, threads)
        stand.again(delivered("checkout"), delivered("search"))

        async def fit() -> bool:
            states = await asyncio.gather(stand.router().read(), stand.other_router().read())
            return all(state.in_force == 0 and state.problem is None for state in states)

        await until(fit)
        yield stand
        await stand.cluster.aclose()


@pytest.mark.server
class TestGatewayApi(RouterContract, ForcedHeaderContract, CancelledContract):
    async def test_everything_but_two_weights_and_the_mark_stays(self, stand: GatewayStand) -> None:
        """Flagger writes the whole spec anew: filters of its users were gone."""
        stand.again(furnished())
        before = stand.found()
        await stand.made(rule="pay").write(Write(percent=25, epoch=1, owner=OWNER, header=False))
        after = stand.found()
        weights = {each["name"]: each.pop("weight") for each in after["spec"]["rules"][1]["backendRefs"]}
        for each in before["spec"]["rules"][1]["backendRefs"]:
            del each["weight"]
        assert weights == {CANDIDATE: 25, STABLE: 75}
        assert after["metadata"]["annotations"].pop(ANNOTATION)
        for found in (before, after):
            for ours in ("generation", "resourceVersion", "managedFields"):
                del found["metadata"][ours]
            found.pop("status", None)
        assert after == before

    async def test_forced_rules_copy_all_that_the_rule_has_and_leave_as_they_came(self, stand: GatewayStand) -> None:
        stand.again(furnished())
        router, before = stand.made(rule="pay"), stand.found()["spec"]["rules"]
        write = Write(percent=5, epoch=1, owner=OWNER)
        await router.write(write)
        rules = stand.found()["spec"]["rules"]
        assert [rule.get("name") for rule in rules] == [
            "images", "pay", "sluice-candidate-pay", "sluice-stable-pay", "all",
        ]  # fmt: skip
        assert rules[2]["filters"] == rules[1]["filters"]
        assert rules[2]["timeouts"] == rules[1]["timeouts"]
        assert [each["name"] for each in rules[2]["backendRefs"]] == [CANDIDATE]
        for match, forced in zip(rules[1]["matches"], rules[2]["matches"], strict=True):
            assert forced == {**match, "headers": [*match.get("headers", []), FORCED]}
        marked = stand.written()
        await router.write(write)  # what the API server has filled in is not taken for a change
        assert stand.written() == marked
        await router.write(Write(percent=0, epoch=2, owner=OWNER, release=True))
        assert [rule.get("name") for rule in stand.found()["spec"]["rules"]] == [rule.get("name") for rule in before]

    async def test_two_rules_of_one_route_move_with_one_rollout(self, stand: GatewayStand) -> None:
        stand.again(furnished())
        routers = [stand.made(rule=place) for place in ("pay", 2)]
        for epoch, percent in enumerate((0, 5, 50), start=1):
            for router in routers:
                await router.write(Write(percent=percent, epoch=epoch, owner=OWNER))
                assert (await proven(router, percent)).forced
        for router in routers:
            await router.write(Write(percent=0, epoch=9, owner=OWNER, header=False, release=True))
        assert [rule.get("name") for rule in stand.found()["spec"]["rules"]] == ["images", "pay", "all"]
        assert await canaries(stand, 20) == 0

    async def test_what_the_controller_does_not_take_is_not_in_force(self, stand: GatewayStand) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        await proven(router, 5)
        stand.plane.refuse = True
        try:
            await router.write(Write(percent=25, epoch=2, owner=OWNER))

            async def said() -> bool:
                state = await router.read()
                assert state.in_force is None
                return "not accepted (UnsupportedValue: refused by the test bed)" in str(state.problem)

            await until(said)
        finally:
            stand.plane.refuse = False
        await router.write(Write(percent=0, epoch=3, owner=OWNER, header=False, release=True))
        await proven(router, 0)
        assert await canaries(stand, 20) == 0

    async def test_a_proof_waits_for_the_controller(self, stand: GatewayStand) -> None:
        router = stand.router()
        stand.plane.delay_s = 1
        try:
            await router.write(Write(percent=100, epoch=1, owner=OWNER))
            await proven(router, 100)
            assert await canaries(stand, 20) == 20
        finally:
            stand.plane.delay_s = 0

    async def test_the_way_back_is_proven_although_the_service_is_gone(self, stand: GatewayStand) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        await proven(router, 5)
        gone = stand.api.get("Service", CANDIDATE, stand.namespace)
        stand.api.delete("Service", CANDIDATE, stand.namespace)
        try:

            async def told() -> bool:
                state = await router.read()
                return state.in_force is None and "BackendNotFound: no Service checkout-canary" in str(state.problem)

            await until(told)
            await router.write(Write(percent=0, epoch=2, owner=OWNER, header=False, release=True))
            state = await proven(router, 0)
            assert "BackendNotFound" in str(state.problem)  # enough to refuse the next start
            assert state.healthy == {"stable": 1}
            assert await canaries(stand, 20) == 0
            with pytest.raises(Misconfigured, match=r"there is no Service .*/checkout-canary for the candidate"):
                await router.write(Write(percent=5, epoch=3, owner=OWNER))
        finally:
            stand.api.create(objects.service(CANDIDATE, gone["spec"]["selector"]), stand.namespace)

    async def test_who_changed_it_is_named(self, stand: GatewayStand) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        await stand.drift(40)
        at = f"rule 0 of HTTPRoute {stand.namespace}/checkout is at 40 %, Sluice wrote 5 %"
        assert (await router.read()).problem == f"{at} (last set by kubectl-edit)"

    async def test_a_gitops_tool_that_puts_its_own_weights_back_is_named(self, stand: GatewayStand) -> None:
        manifest = delivered("checkout")
        manifest["metadata"]["annotations"] = {"argocd.argoproj.io/tracking-id": "shop"}

        def sync() -> None:
            stand.api.patch(
                "HTTPRoute", "checkout", manifest, stand.namespace,
                how="apply", fieldManager="argocd-controller", force="true",
            )  # fmt: skip

        sync()
        router = stand.router()
        await router.write(Write(percent=25, epoch=1, owner=OWNER))
        sync()
        state = await router.read()
        assert (state.percent, state.in_force, state.owner) == (0, None, OWNER)
        assert "is at 0 %, Sluice wrote 25 % (last set by argocd-controller; Argo CD manages" in str(state.problem)

    async def test_forced_rules_that_went_at_zero_are_missed(self, stand: GatewayStand) -> None:
        """A probe through the header would be answered by stable, and pass."""
        router = stand.router()
        await router.write(Write(percent=0, epoch=1, owner=OWNER))
        await proven(router, 0)
        stand.by_hand("HTTPRoute", "checkout", {"op": "remove", "path": "/spec/rules/1"})
        state = await router.read()
        assert (state.in_force, state.forced) == (None, False)
        assert "the forced-header rules that Sluice wrote are gone" in str(state.problem)
        await router.write(Write(percent=0, epoch=1, owner=OWNER))
        assert (await proven(router, 0)).forced

    async def test_another_backend_with_a_share_is_named_kept_and_taken_back_at_the_end(
        self, stand: GatewayStand
    ) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        third = {"name": "nobody", "port": 80, "weight": 100}
        stand.by_hand("HTTPRoute", "checkout", {"op": "add", "path": "/spec/rules/0/backendRefs/-", "value": third})
        state = await router.read()
        assert (state.percent, state.in_force) == (52.5, None)
        assert "also sends to nobody (weight 100), neither candidate nor stable" in str(state.problem)
        before = stand.written()
        with pytest.raises(Drifted, match="nothing was written"):
            await router.write(Write(percent=25, epoch=2, owner=OWNER))
        assert stand.written() == before
        await router.write(Write(percent=0, epoch=3, owner=OWNER, header=False, release=True))
        await proven(router, 0)
        assert await canaries(stand, 20) == 0

    async def test_a_candidate_without_ready_pods_gets_nothing_more(self, stand: GatewayStand) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        before = stand.written()
        stand.scale(CANDIDATE, 0)
        try:

            async def empty() -> bool:
                return (await router.read()).healthy == {"candidate": 0, "stable": 1}

            await until(empty)
            with pytest.raises(NotReady, match=r"no endpoint of Service .*/checkout-canary is ready"):
                await router.write(Write(percent=25, epoch=2, owner=OWNER))
            assert stand.written() == before
            await router.write(Write(percent=0, epoch=3, owner=OWNER, header=False, release=True))
            await proven(router, 0)
        finally:
            stand.scale(CANDIDATE, 1)

    async def test_what_an_admission_policy_denies_leaves_everything_as_it_was(self, stand: GatewayStand) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        await proven(router, 5)
        async with denied(stand):
            before = stand.written()
            for percent in (25, 0):
                with pytest.raises(RouteRejected, match="denied request: no changes on Fridays; nothing was written"):
                    await router.write(Write(percent=percent, epoch=2, owner=OWNER))
            assert stand.written() == before
        await router.write(Write(percent=0, epoch=2, owner=OWNER, header=False, release=True))
        await proven(router, 0)

    async def test_of_many_workers_the_newest_is_what_stays(self, stand: GatewayStand) -> None:
        workers = [stand.worker() for _ in range(6)]
        writes = [Write(percent=epoch, epoch=epoch, owner=OWNER) for epoch in range(1, 7)]
        asked = (stand.made(worker).write(each) for worker, each in zip(workers, writes, strict=True))
        done = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(each) for each in done} <= {type(None), Superseded}
        assert (await proven(stand.router(), 6)).epoch == 6
        for worker in workers:
            await worker.aclose()

    async def test_an_answer_that_was_lost_is_found_done_by_the_next_attempt(self, stand: GatewayStand) -> None:
        deaf = Deaf(stand.cluster.connection, stand._threads)
        write = Write(percent=25, epoch=1, owner=OWNER)
        with pytest.raises(RouterUnreachable, match="lost"):
            await stand.made(deaf).write(write)
        before = stand.written()
        await stand.made(deaf).write(write)
        assert stand.written() == before
        assert (await proven(stand.router(), 25)).epoch == 1
        await deaf.aclose()

    async def test_rules_that_would_lose_their_names_are_not_written(self, stand: GatewayStand) -> None:
        older, before = Older(stand.cluster.connection, stand._threads), stand.written()
        with pytest.raises(Misconfigured, match=r"no names of rules.*nothing was written"):
            await stand.made(older).write(Write(percent=5, epoch=1, owner=OWNER))
        assert stand.written() == before
        await stand.made(older, header=None).write(Write(percent=5, epoch=1, owner=OWNER))
        await proven(stand.router(), 5)
        await older.aclose()

    async def test_a_rule_that_was_moved_is_the_same_rule(self, stand: GatewayStand) -> None:
        """Otherwise the way back would be proven by a rule that never sent anything to the candidate."""
        router = stand.router()
        await router.write(Write(percent=25, epoch=1, owner=OWNER))
        path = {"path": {"type": "PathPrefix", "value": "/new"}}
        first = {"matches": [path], "backendRefs": [{"name": STABLE, "port": 80}]}
        stand.by_hand("HTTPRoute", "checkout", {"op": "add", "path": "/spec/rules/0", "value": first})
        await proven(router, 25)
        await router.write(Write(percent=0, epoch=2, owner=OWNER, header=False, release=True))
        await proven(stand.router(), 0)
        assert await canaries(stand, 20) == 0

    async def test_a_rule_whose_matches_were_changed_is_told_until_it_is_written_again(
        self, stand: GatewayStand
    ) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        path = {"op": "replace", "path": "/spec/rules/0/matches/0/path/value", "value": "/pay"}
        stand.by_hand("HTTPRoute", "checkout", path)
        state = await router.read()
        assert (state.percent, state.in_force) == (5, None)
        assert "no longer has the matches that it had when Sluice wrote" in str(state.problem)
        await router.write(Write(percent=5, epoch=2, owner=OWNER))
        await proven(router, 5)
