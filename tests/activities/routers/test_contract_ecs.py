import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from activities.aws import AwsClients
from activities.ports import Router, Write
from activities.routers.alb import AlbRouter
from activities.routers.ecs import EcsRouter
from rollout.errors import Misconfigured, NotReady, RouteOwned, RouterUnreachable, Superseded
from rollout.routes import EcsRoute
from testbed.aws.simulated import SimulatedAws
from tests.activities.routers.alb_stand import OTHER, AlbStand, account, clients
from tests.activities.routers.contract import OWNER, ForcedHeaderContract, RouterContract, canaries, proven, until

BLUE, GREEN = "checkout-blue", "checkout-green"


def step(percent: float, epoch: int, owner: str = OWNER) -> Write:
    return Write(percent=percent, epoch=epoch, owner=owner)


class EcsStand(AlbStand):
    """The load balancer's stand, with two services that run the targets."""

    def __init__(self, aws: SimulatedAws, api: AwsClients) -> None:
        super().__init__(aws, api)
        self._told = aws.ecs_route("cloud")
        self._ecs = aws.client("ecs")

    def router(self, *, unknown_candidate: bool = False) -> Router:
        return self.of(**({"candidate": "ghost"} if unknown_candidate else {}))

    def other_router(self) -> Router:
        return self.of(rule=OTHER)

    def of(self, **more: Any) -> EcsRouter:
        """The adapter for a route with other fields."""
        route = EcsRoute.model_validate({**self._told, **more})
        return EcsRouter(route, self.api, AlbRouter(route, self.api))

    def written(self) -> object:
        return super().written(), self.counts()

    def counts(self) -> dict[str, tuple[int, int]]:
        """Service → tasks wanted and running."""
        found = self._ecs.describe_services(cluster="shop", services=[BLUE, GREEN])["services"]
        return {each["serviceName"]: (each["desiredCount"], each["runningCount"]) for each in found}

    async def run(self, **tasks: int) -> None:
        """Let so many tasks run of each service, as an operator does, and be healthy."""
        for color, count in tasks.items():
            self._ecs.update_service(cluster="shop", service=f"checkout-{color}", desiredCount=count)

        async def they_run() -> bool:
            return all(
                self.counts()[f"checkout-{color}"] == (count, count)
                and sorted(state for state in self.aws.states(f"checkout-{color}") if state != "draining")
                == ["healthy"] * count
                for color, count in tasks.items()
            )

        await until(they_run)

    def configure(self, name: str, **configuration: str) -> None:
        """Deploy a service in another way."""
        self._ecs.update_service(cluster="shop", service=name, deploymentConfiguration=configuration)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedAws]:
    with account(tmp_path_factory.mktemp("ecs")) as bed:
        bed.ecs_route("cloud")
        yield bed


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine answers late, and here nothing is in a hurry."""
    monkeypatch.setattr("activities.routers.ecs.router._LOOK_S", 10.0)


@pytest.fixture
async def stand(aws: SimulatedAws) -> AsyncIterator[EcsStand]:
    aws.reset()
    with ThreadPoolExecutor(8) as threads:
        stand = EcsStand(aws, clients(aws, threads))
        stand.add_other_rule()
        for name in (BLUE, GREEN):
            stand.configure(name, strategy="ROLLING")
        await stand.run(blue=1, green=1)
        aws.forget_calls()
        yield stand
        aws.heal()
        await stand.api.aclose()


@pytest.mark.server
class TestEcs(RouterContract, ForcedHeaderContract):
    pass


@pytest.mark.server
class TestTasks:
    async def test_a_raise_scales_the_candidate_once_and_moves_the_rule_when_the_tasks_run(
        self, stand: EcsStand
    ) -> None:
        await stand.run(blue=4)
        stand.aws.fault(ecs_delay_s=1.0)
        stand.aws.forget_calls()
        router, refusals = stand.router(), list[str]()

        async def moved() -> bool:
            try:
                await router.write(step(75, 1))
            except NotReady as error:
                refusals.append(str(error))
                assert (await router.read()).percent == 0
                assert await canaries(stand, 4) == 0
                return False
            return True

        await until(moved)
        assert refusals[0].startswith(
            "ecs cloud/shop:80 rule default: 75 % needs 3 tasks of checkout-green; 1 of 3 run"
        )
        [scaled] = stand.aws.calls("UpdateService")
        assert (scaled["params"]["service"], scaled["params"]["desiredCount"]) == (GREEN, 3)
        assert stand.counts() == {BLUE: (4, 4), GREEN: (3, 3)}
        state = await proven(router, 75)
        assert "3 of 3 tasks of checkout-green run" in state.proof

    async def test_the_last_step_needs_as_many_tasks_as_stable(self, stand: EcsStand) -> None:
        await stand.run(blue=3)
        with pytest.raises(NotReady, match="100 % needs 3 tasks"):
            await stand.router().write(step(100, 1))
        assert stand.counts()[GREEN][0] == 3

    async def test_a_candidate_with_more_tasks_than_needed_keeps_them(self, stand: EcsStand) -> None:
        await stand.run(blue=2, green=3)
        stand.aws.forget_calls()
        await stand.router().write(step(50, 1))
        await stand.router().write(step(25, 2))
        await proven(stand.router(), 25)
        assert stand.aws.calls("UpdateService") == []

    @pytest.mark.parametrize("fault", ["throttle", "deny", "hang"])
    async def test_the_way_back_needs_nothing_of_ecs_and_leaves_its_tasks(self, stand: EcsStand, fault: str) -> None:
        await stand.run(green=2)
        await stand.router().write(step(100, 1))
        await proven(stand.router(), 100)
        operations = ["DescribeServices", "UpdateService"]
        stand.aws.forget_calls()
        stand.aws.fault(**{fault: operations})
        await stand.router().write(Write(percent=0, epoch=2, owner=OWNER, header=False, release=True))
        assert not [call for call in stand.aws.calls() if call["operation"] in operations]
        state = await proven(stand.router(), 0)
        assert (state.owner, state.forced) == (None, False)
        assert state.healthy["candidate"] == 0  # nobody knows, so nothing may be sent there
        assert "ecs DescribeServices" in str(state.problem)
        assert await canaries(stand, 20) == 0
        stand.aws.heal()
        assert stand.counts()[GREEN] == (2, 2)

    async def test_the_proof_of_the_rule_does_not_wait_for_ecs(
        self, stand: EcsStand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.undo()
        await stand.router().write(step(50, 1))
        with ThreadPoolExecutor(8) as threads:
            api = clients(stand.aws, threads, timeout_s=30)
            route = EcsRoute.model_validate(stand.aws.ecs_route("cloud"))
            stand.aws.fault(hang=["DescribeServices"])
            async with asyncio.timeout(15):
                state = await proven(EcsRouter(route, api, AlbRouter(route, api)), 50)
            stand.aws.heal()
            await api.aclose()
        assert state.healthy["candidate"] == 0

    async def test_the_way_back_is_as_blind_as_that_of_the_rule(self, stand: EcsStand) -> None:
        await stand.router().write(step(50, 1))
        back = Write(percent=0, epoch=2, owner=OWNER, header=False, release=True)
        stand.aws.fault(throttle=["Describe*"])
        with pytest.raises(RouterUnreachable, match="the weights were written"):
            await stand.router().write(back)
        assert await canaries(stand, 20) == 0
        stand.aws.heal()
        await stand.router().write(back)
        await proven(stand.router(), 0)

    async def test_less_traffic_waits_for_no_tasks(self, stand: EcsStand) -> None:
        await stand.run(blue=4, green=3)
        await stand.router().write(step(75, 1))
        await proven(stand.router(), 75)
        await stand.run(blue=8)  # stable was scaled up meanwhile: half of it would be 4 tasks
        stand.aws.forget_calls()
        await stand.router().write(step(50, 2))
        await proven(stand.router(), 50)
        assert stand.aws.calls("UpdateService") == []

    async def test_a_service_without_running_tasks_is_not_healthy_although_its_targets_look_so(
        self, stand: EcsStand
    ) -> None:
        await stand.run(green=0)
        stand.aws.register(GREEN, 1)  # somebody's own target, not the service's

        async def looks_healthy() -> bool:
            return "healthy" in stand.aws.states(GREEN)

        await until(looks_healthy)
        state = await stand.router().read()
        assert state.healthy == {"candidate": 0, "stable": 1}
        assert "service checkout-green (candidate) runs no task" in str(state.problem)
        assert state.in_force == 0
        stand.aws.register(GREEN, 0)

    @pytest.mark.parametrize("name", [BLUE, GREEN])
    @pytest.mark.parametrize("strategy", ["CANARY", "LINEAR", "BLUE_GREEN"])
    async def test_a_rule_that_ecs_moves_itself_is_left_to_it(self, stand: EcsStand, name: str, strategy: str) -> None:
        stand.configure(name, strategy=strategy)
        await stand.run(blue=1, green=1)
        assert f"ECS deploys {name} by {strategy}" in str((await stand.router().read()).problem)
        before = stand.written()
        with pytest.raises(Misconfigured, match="set its strategy to ROLLING"):
            await stand.router().write(step(5, 1))
        assert stand.written() == before

    async def test_a_rollout_that_runs_can_go_back_although_ecs_has_taken_over(self, stand: EcsStand) -> None:
        await stand.router().write(step(50, 1))
        await proven(stand.router(), 50)
        stand.configure(GREEN, strategy="CANARY")
        state = await stand.router().read()
        assert (state.in_force, state.problem) == (50, None)
        await stand.router().write(Write(percent=0, epoch=2, owner=OWNER, release=True))
        await proven(stand.router(), 0)

    @pytest.mark.parametrize(
        ("names", "words"),
        [
            ({"candidate_service": "ghost"}, "no active service ghost"),
            ({"stable_service": "ghost"}, "no active service ghost"),
            ({"cluster": "nowhere"}, "no cluster nowhere"),
        ],
    )
    async def test_a_name_that_is_wrong_is_said_before_anything_is_written(
        self, stand: EcsStand, names: dict[str, str], words: str
    ) -> None:
        router, before = stand.of(**names), stand.written()
        state = await router.read()
        assert words in str(state.problem)
        assert not state.healthy.get("candidate") or not state.healthy.get("stable")
        with pytest.raises(Misconfigured, match=words):
            await router.write(step(5, 1))
        assert stand.written() == before
        await router.write(step(0, 2))  # the way back does not look

    async def test_a_write_that_is_fenced_off_scales_nothing(self, stand: EcsStand) -> None:
        await stand.run(blue=4, green=2)
        await stand.router().write(step(25, 7))
        before = stand.written()
        with pytest.raises(Superseded):
            await stand.router().write(step(100, 6))
        with pytest.raises(RouteOwned):
            await stand.router().write(step(100, 8, owner="rollout:prod/other"))
        assert stand.written() == before

    async def test_two_writers_scale_to_the_higher_of_what_they_need(self, stand: EcsStand) -> None:
        await stand.run(blue=4)
        stand.aws.fault(ecs_delay_s=0.5)
        done = await asyncio.gather(
            *(stand.router().write(step(percent, 1)) for percent in (50, 75)), return_exceptions=True
        )
        assert {type(each) for each in done} == {NotReady}
        assert stand.counts()[GREEN][0] == 3

    async def test_tasks_that_still_drain_are_in_flight(self, stand: EcsStand) -> None:
        await stand.run(green=2)
        await stand.run(green=1)
        assert await stand.router().in_flight("candidate") not in {0, None}

        async def drained() -> bool:
            return await stand.router().in_flight("candidate") == 0

        await until(drained)
