"""Others who write the same rule, and writes that are refused, cut off or cancelled."""

import asyncio

import pytest

from activities.routers.alb import AlbRouter
from rollout.errors import Drifted, Misconfigured, NotPermitted, RouterUnreachable, Superseded, Throttled
from testbed.aws.simulated import SimulatedAws
from tests.activities.routers.alb_incidents import AlbIncidents, Workers, back, done, marks, raised
from tests.activities.routers.alb_stand import AlbStand, alb_route
from tests.activities.routers.contract import canaries, proven, until

pytestmark = pytest.mark.server


class TestWriters(AlbIncidents):
    async def test_somebody_who_writes_after_us_is_noticed_at_once(self, aws: SimulatedAws, router: AlbRouter) -> None:
        aws.fault(writer_every=1, writer_weights={"checkout-blue": 60, "checkout-green": 40})
        with pytest.raises(Drifted, match="checkout-blue 60, checkout-green 40 when epoch 1 was written"):
            await router.write(raised(5))
        state = await router.read()
        assert (state.percent, state.in_force, state.epoch) == (40, None, 1)
        assert "epoch 1 wrote checkout-blue 19, checkout-green 1" in str(state.problem)

    async def test_the_way_back_overrules_somebody_who_writes_once(
        self, aws: SimulatedAws, router: AlbRouter, stand: AlbStand
    ) -> None:
        aws.fault(writer_every=2, writer_weights={"checkout-blue": 60, "checkout-green": 40})
        await router.write(raised(5))
        await router.write(back(2))
        await proven(router, 0)
        assert await canaries(stand, 20) == 0

    async def test_somebody_who_always_writes_is_never_taken_for_a_way_back(
        self, aws: SimulatedAws, router: AlbRouter
    ) -> None:
        await router.write(raised(5))
        await proven(router, 5)
        aws.fault(writer_every=1, writer_weights={"checkout-blue": 60, "checkout-green": 40})
        await router.write(back(2))
        assert (await router.read()).in_force != 0
        aws.heal()
        await router.write(back(2))
        await proven(router, 0)

    @pytest.mark.parametrize("trouble", ["hang", "drop", "lose_answer"])
    async def test_a_write_whose_end_is_unknown_is_not_in_force_and_repaired_by_the_next_attempt(
        self, aws: SimulatedAws, router: AlbRouter, trouble: str
    ) -> None:
        await router.write(raised(5))
        await proven(router, 5)
        aws.fault(**{trouble: ["ModifyListener"]})
        with pytest.raises(RouterUnreachable):
            await router.write(raised(50, 2))
        aws.heal()
        state = await router.read()
        assert (state.in_force, state.epoch) == (None, 1)
        assert state.problem == "the write of epoch 2 (50 %) began and did not end"
        await router.write(raised(50, 2))
        assert (await proven(router, 50)).epoch == 2

    @pytest.mark.parametrize("operation", ["ModifyListener", "CreateRule"])
    async def test_a_write_that_aws_refuses_leaves_nothing_behind(
        self, aws: SimulatedAws, router: AlbRouter, operation: str
    ) -> None:
        for trouble, error in (("deny", NotPermitted), ("throttle", Throttled)):
            aws.fault(**{trouble: [operation]})
            with pytest.raises(error) as caught:
                await router.write(raised(5))
            aws.heal()
            if error is NotPermitted:
                assert f"elasticloadbalancing:{operation}" in str(caught.value)
            state = await router.read()
            assert (state.percent, state.in_force, state.epoch, state.problem) == (0, 0, 0, None)
            assert len(aws.rules()) == 1

    async def test_a_late_writer_of_another_worker_finds_the_newer_mark_and_stops(
        self, aws: SimulatedAws, worker: Workers, stand: AlbStand
    ) -> None:
        late, newer = (AlbRouter(alb_route(), worker(timeout_s=5)) for _ in range(2))
        await late.write(raised(5))
        aws.fault(delay=["AddTags"], delay_s=0.5)
        rising = asyncio.ensure_future(late.write(raised(50, 2)))

        async def begun() -> bool:
            return any("writing" in value for value in marks(aws).values())

        await until(begun)
        aws.fault(delay=[])
        await newer.write(back(3))
        with pytest.raises(Superseded):
            await rising
        state = await proven(newer, 0)
        assert (state.epoch, state.owner) == (3, None)
        assert await canaries(stand, 20) == 0

    async def test_a_cancelled_write_is_finished_all_the_same(self, aws: SimulatedAws, router: AlbRouter) -> None:
        aws.fault(delay=["AddTags"], delay_s=0.5)  # so that it surely is under way when it is cancelled
        writing = asyncio.ensure_future(router.write(back(1)))

        async def begun() -> bool:
            return bool(done(aws, "AddTags"))

        await until(begun)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing

        async def ended() -> bool:
            return (await router.read()).epoch == 1

        await until(ended)

    async def test_a_rise_that_is_cancelled_while_it_looks_at_health_never_comes(
        self, aws: SimulatedAws, worker: Workers
    ) -> None:
        router = AlbRouter(alb_route(), worker(healthy_for=0.3))
        rising = asyncio.ensure_future(router.write(raised(50)))

        async def looked() -> bool:
            return bool(done(aws, "DescribeTargetHealth"))

        await until(looked)
        rising.cancel()
        with pytest.raises(asyncio.CancelledError):
            await rising
        await router.write(back(2))
        await proven(router, 0)
        assert "sluice:epoch-1" not in marks(aws)
        assert [call["params"] for call in aws.calls("ModifyListener")] == []

    async def test_a_load_balancer_of_the_kubernetes_controller_is_refused_but_the_way_back_works(
        self, aws: SimulatedAws, router: AlbRouter
    ) -> None:
        await router.write(raised(5))
        tags = [{"Key": "elbv2.k8s.aws/cluster", "Value": "prod"}]
        aws.client("elbv2").add_tags(ResourceArns=[aws.load_balancer_arn], Tags=tags)
        with pytest.raises(Misconfigured, match="owned by the AWS load balancer controller"):
            await router.write(raised(50, 2))
        await router.write(back(3))
        state = await proven(router, 0)
        assert "AWS load balancer controller" in str(state.problem)  # preflight refuses

    async def test_what_terraform_puts_back_is_named(self, aws: SimulatedAws, router: AlbRouter) -> None:
        await router.write(raised(25))
        await proven(router, 25)
        tags = [{"Key": "ManagedBy", "Value": "Terraform"}]
        aws.client("elbv2").add_tags(ResourceArns=[aws.load_balancer_arn], Tags=tags)
        aws.set_weights_by_hand({"checkout-blue": 1, "checkout-green": 0})
        state = await router.read()
        assert (state.percent, state.in_force) == (0, None)
        assert "ignore_changes = [default_action]" in str(state.problem)
