import asyncio
from collections.abc import Iterator

import pytest

from activities.kubernetes import mark_of
from activities.ports import Write
from rollout.errors import NotReady, Superseded
from testbed.kubernetes import ControlPlane
from tests.activities.routers.contract import OWNER, RouterContract, Stand, canaries, proven
from tests.activities.routers.kubernetes_stand import (
    CANDIDATE,
    STABLE,
    Grounds,
)
from tests.activities.routers.replicas_stand import (
    TOTAL,
    Delivered,
    ReplicasStand,
    Retried,
    eventually,
    serving,
    watched,
)


@pytest.fixture(scope="module")
def grounds(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    with serving(control_plane, tmp_path_factory.mktemp("replicas")) as grounds:
        yield grounds


@pytest.mark.server
class TestReplicas(Delivered, RouterContract):
    async def test_a_route_that_nobody_touched_has_no_candidate_and_no_owner(self, stand: Stand) -> None:
        state = await stand.router().read()
        assert (state.percent, state.in_force, state.epoch, state.owner, state.forced) == (0, 0, 0, None, False)
        assert state.healthy == {"candidate": 1, "stable": TOTAL}  # it has no pods and can have some
        assert (state.problem, state.finest) == (None, 25)
        assert await stand.router().in_flight("stable") is None


@pytest.mark.server
class TestMoves(Delivered):
    """Make before break, whoever goes on with it."""

    async def test_stable_is_lowered_only_when_the_candidates_pods_are_ready(self, stand: ReplicasStand) -> None:
        cluster, order = watched(stand), []

        async def look(name: str, replicas: int | None) -> None:
            order.append((name, replicas))
            if (name, replicas) == (STABLE, 2):
                assert stand.deployment(CANDIDATE)["status"]["readyReplicas"] == 2

        cluster.before = look
        with pytest.raises(NotReady, match="0 of 2 pods of checkout-canary are ready"):
            await stand.made(cluster).write(Write(percent=50, epoch=1, owner=OWNER))
        assert stand.replicas() == (2, TOTAL)
        state = await stand.made().read()
        assert (state.percent, state.in_force, state.owner) == (50, None, OWNER)
        await Retried(stand.made(cluster)).write(Write(percent=50, epoch=1, owner=OWNER))
        assert order == [(STABLE, None), (CANDIDATE, 2), (STABLE, 2)]
        assert stand.replicas() == (2, 2)
        proof = (await proven(stand.made(), 50)).proof
        assert proof == "2 of 4 ready pods are the candidate's: 50 %; epoch 1"
        await cluster.aclose()

    async def test_what_whole_pods_give_is_told_beside_what_was_asked(self, stand: ReplicasStand) -> None:
        await stand.router().write(Write(percent=30, epoch=1, owner=OWNER))
        proof = (await proven(stand.made(), 30)).proof
        assert proof == "2 of 4 ready pods are the candidate's: 50 %, asked 30 %; epoch 1"

    async def test_another_worker_goes_on_where_one_stopped(self, stand: ReplicasStand) -> None:
        with pytest.raises(NotReady):
            await stand.made().write(Write(percent=25, epoch=1, owner=OWNER))
        other = stand.worker()
        await Retried(stand.made(other)).write(Write(percent=25, epoch=1, owner=OWNER))
        await proven(stand.made(other), 25)
        assert "from" not in mark_of(stand.deployment(STABLE)).more
        await other.aclose()

    async def test_a_step_whose_caller_is_cancelled_is_finished(self, stand: ReplicasStand) -> None:
        cluster, marked = watched(stand), asyncio.Event()

        async def look(name: str, replicas: int | None) -> None:
            marked.set()
            await asyncio.sleep(0.05)

        cluster.before = look
        writing = asyncio.ensure_future(stand.made(cluster).write(Write(percent=25, epoch=1, owner=OWNER)))
        await marked.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing

        async def is_scaled() -> bool:
            return stand.replicas() == (1, TOTAL) and mark_of(stand.deployment(STABLE)).percent == 25

        await eventually(is_scaled)
        await cluster.aclose()

    async def test_pods_that_crash_leave_stable_as_it_was_and_are_taken_away_at_once(
        self, stand: ReplicasStand
    ) -> None:
        stand.add("broken", "canary", ready="crash")
        router = stand.made(candidate="broken")
        told = ""

        async def is_told() -> bool:
            nonlocal told
            with pytest.raises(NotReady) as late:
                await router.write(Write(percent=50, epoch=1, owner=OWNER))
            told = str(late.value)
            return "2 × CrashLoopBackOff" in told

        await eventually(is_told)
        assert told.endswith("0 of 2 pods of broken are ready (2 × CrashLoopBackOff)")
        assert stand.replicas("broken") == (2, TOTAL)
        state = await router.read()
        assert (state.percent, state.in_force) == (50, None)
        assert state.healthy == {"candidate": 0, "stable": TOTAL}
        await router.write(Write(percent=0, epoch=2, owner=OWNER, release=True))
        await proven(router, 0)
        assert stand.replicas("broken") == (0, TOTAL)

    async def test_the_way_back_follows_stables_pods_and_never_leaves_too_few(self, stand: ReplicasStand) -> None:
        stand.add("slow", "stable", TOTAL, ready_after="0.5s", max_unavailable=0)
        await stand.has("slow", TOTAL)
        stand.kubectl_scale(STABLE, 0)
        await stand.has(STABLE, 0)
        await Retried(stand.made(stable="slow")).write(Write(percent=75, epoch=1, owner=OWNER))
        cluster, order = watched(stand), []

        async def look(name: str, replicas: int | None) -> None:
            if replicas is None:
                return
            order.append((name, replicas))
            if name == CANDIDATE:
                assert stand.deployment("slow")["status"]["readyReplicas"] + replicas >= TOTAL

        cluster.before = look
        await Retried(stand.made(cluster, stable="slow")).write(Write(percent=0, epoch=2, owner=OWNER, release=True))
        await proven(stand.made(stable="slow"), 0)
        assert order[0] == ("slow", TOTAL)
        assert order[-1] == (CANDIDATE, 0)

    async def test_a_late_attempt_cannot_scale_up_what_a_way_back_has_left_at_nothing(
        self, stand: ReplicasStand
    ) -> None:
        late, other = watched(stand), stand.worker()

        async def way_back(name: str, replicas: int | None) -> None:
            if (name, replicas) == (CANDIDATE, 2):
                late.before = None
                await stand.made(other).write(Write(percent=0, epoch=2, owner=OWNER, release=True))

        late.before = way_back
        with pytest.raises(Superseded):
            await stand.made(late).write(Write(percent=50, epoch=1, owner=OWNER))
        assert stand.replicas() == (0, TOTAL)
        assert (await proven(stand.made(), 0)).epoch == 2
        await late.aclose()
        await other.aclose()

    async def test_what_changed_between_look_and_write_is_decided_anew(self, stand: ReplicasStand) -> None:
        cluster = watched(stand)

        async def somebody(name: str, replicas: int | None) -> None:
            cluster.before = None
            stand.api.patch("Deployment", name, {"metadata": {"labels": {"team": "shop"}}}, stand.namespace)

        cluster.before = somebody
        await Retried(stand.made(cluster)).write(Write(percent=25, epoch=1, owner=OWNER))
        await proven(stand.made(), 25)
        assert stand.deployment(STABLE)["metadata"]["labels"]["team"] == "shop"
        await cluster.aclose()

    async def test_no_visitor_is_lost_on_any_way(self, stand: ReplicasStand) -> None:
        done = asyncio.Event()

        async def visitors() -> int:
            came = 0
            while not done.is_set():
                came += len(await Stand.visit(stand, 10))  # every one must be answered
            return came

        crowd = asyncio.ensure_future(visitors())
        for epoch, percent in enumerate((50, 100, 25, 0), start=1):
            await stand.router().write(Write(percent=percent, epoch=epoch, owner=OWNER))
            await proven(stand.router(), percent)
        done.set()
        assert await crowd > 0
        assert await canaries(stand, 20) == 0

    async def test_the_next_rollout_goes_the_other_way(self, stand: ReplicasStand) -> None:
        await stand.router().write(Write(percent=100, epoch=3, owner=OWNER))
        await stand.router().write(Write(percent=100, epoch=4, owner=OWNER, release=True))
        await proven(stand.router(), 100)
        swapped = Retried(stand.made(candidate=STABLE, stable=CANDIDATE))
        state = await swapped.read()
        assert (state.percent, state.in_force, state.epoch, state.owner) == (0, 0, 4, None)
        assert state.problem is None
        await swapped.write(Write(percent=50, epoch=5, owner="rollout:prod/next"))
        assert (await proven(swapped, 50)).finest == 25
