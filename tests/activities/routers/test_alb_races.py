"""Writes that are carried out late, in the wrong order, or without a look; and what others do in between."""

import asyncio
import time
from typing import Any

import pytest

from activities.aws import AwsClients
from activities.routers.alb import AlbRouter
from rollout.errors import RouterUnreachable, Superseded, Throttled
from testbed.aws.simulated import SimulatedAws
from tests.activities.routers.alb_incidents import AlbIncidents, Workers, back, done, marks, raised, weights
from tests.activities.routers.alb_stand import OTHER, AlbStand, alb_route
from tests.activities.routers.contract import canaries, proven, until

pytestmark = pytest.mark.server


class Late:
    """Holds the first call of an operation back until `go` is set."""

    def __init__(self, api: AwsClients, operation: str) -> None:
        self.came, self.go = asyncio.Event(), asyncio.Event()
        self._ask, self._operation = api.call, operation
        api.call = self._call  # type: ignore[method-assign]

    async def _call(self, service: str, operation: str, /, **request: Any) -> dict[str, Any]:
        if operation == self._operation and not self.came.is_set():
            self.came.set()
            await self.go.wait()
        return await self._ask(service, operation, **request)


class TestLateWrites(AlbIncidents):
    async def test_a_raise_that_is_carried_out_after_the_way_back_gives_way_and_nothing_was_proven_before(
        self, aws: SimulatedAws, worker: Workers, stand: AlbStand
    ) -> None:
        api = worker()
        router = AlbRouter(alb_route(header=None), api)
        await router.write(raised(5))
        await proven(router, 5)
        late = Late(api, "modify_listener")
        rising = asyncio.ensure_future(router.write(raised(100, 2)))
        await late.came.wait()
        await router.write(back(3))
        await asyncio.sleep(0.2)  # longer than `settle`
        state = await router.read()
        assert (state.percent, state.in_force) == (0, None)
        assert state.problem == "the older write of epoch 2 is still under way and may change it yet"
        late.go.set()
        with pytest.raises(Superseded, match="carries epoch 3: epoch 2 was too late, and gave way"):
            await rising
        assert weights(aws)["checkout-green"] == 0
        assert (await proven(router, 0)).epoch == 3
        assert await canaries(stand, 20) == 0
        assert "sluice:epoch-2" not in marks(aws)

    async def test_a_raise_of_another_worker_that_is_carried_out_late_gives_way(
        self, aws: SimulatedAws, worker: Workers, stand: AlbStand
    ) -> None:
        first, second = worker(), worker()
        router = AlbRouter(alb_route(header=None), first)
        await router.write(raised(5))
        late = Late(first, "modify_listener")
        rising = asyncio.ensure_future(router.write(raised(100, 2)))
        await late.came.wait()
        await AlbRouter(alb_route(header=None), second).write(back(3))
        late.go.set()
        with pytest.raises(Superseded):
            await rising
        assert weights(aws)["checkout-green"] == 0
        assert await canaries(stand, 20) == 0

    async def test_a_raise_without_an_answer_keeps_the_way_back_from_being_proven_for_a_while(
        self, aws: SimulatedAws, worker: Workers
    ) -> None:
        router = AlbRouter(alb_route(header=None), worker(timeout_s=0.6))
        await router.write(raised(5))
        aws.fault(hang=["ModifyListener"])
        with pytest.raises(RouterUnreachable):
            await router.write(raised(100, 2))
        lost = time.monotonic()
        aws.heal()
        await router.write(back(3))
        await asyncio.sleep(0.2)
        assert (await router.read()).in_force is None
        await proven(router, 0)
        assert time.monotonic() - lost > 1  # two timeouts

    async def test_a_raise_that_aws_carries_out_long_after_its_time_was_over_is_never_behind_a_proof_of_zero(
        self, aws: SimulatedAws, worker: Workers, stand: AlbStand
    ) -> None:
        router = AlbRouter(alb_route(header=None), worker(timeout_s=0.8))
        await router.write(raised(5))
        await proven(router, 5)
        aws.forget_calls()
        aws.fault(delay_effect=["ModifyListener"], delay_effect_s=2)
        rising = asyncio.ensure_future(router.write(raised(100, 2)))

        async def sent() -> bool:
            return bool(done(aws, "ModifyListener"))

        await until(sent)
        aws.heal()
        await router.write(back(3))
        with pytest.raises((RouterUnreachable, Superseded)):
            await rising
        proofs = []

        async def carried_out() -> bool:
            proofs.append((await router.read()).in_force)
            return (await router.read()).percent == 100

        await until(carried_out)
        assert set(proofs) == {None}
        await router.write(back(3))
        await proven(router, 0)
        assert await canaries(stand, 20) == 0

    async def test_the_next_attempt_of_a_raise_that_could_not_look_gives_way(
        self, aws: SimulatedAws, worker: Workers
    ) -> None:
        api = worker()
        router = AlbRouter(alb_route(header=None), api)
        await router.write(raised(5))
        late = Late(api, "modify_listener")
        rising = asyncio.ensure_future(router.write(raised(100, 2)))
        await late.came.wait()
        await AlbRouter(alb_route(header=None), worker()).write(back(3))
        aws.fault(throttle=["DescribeTags"])
        late.go.set()
        with pytest.raises(RouterUnreachable, match="written, but not looked at"):
            await rising
        aws.heal()
        assert weights(aws)["checkout-green"] == 1
        with pytest.raises(Superseded):
            await router.write(raised(100, 2))
        assert weights(aws)["checkout-green"] == 0

    async def test_a_way_back_whose_end_was_lost_writes_only_the_end_again(
        self, aws: SimulatedAws, worker: Workers
    ) -> None:
        api = worker()
        router = AlbRouter(alb_route(header=None), api)
        await router.write(raised(50))
        ask = api.call

        async def loses(service: str, operation: str, /, **request: Any) -> dict[str, Any]:
            if operation == "add_tags" and "written" in request["Tags"][0]["Value"]:
                raise Throttled("AddTags")
            return await ask(service, operation, **request)

        api.call = loses  # type: ignore[method-assign]
        with pytest.raises(Throttled):
            await router.write(back(2))
        api.call = ask  # type: ignore[method-assign]
        aws.forget_calls()
        await router.write(back(2))
        assert done(aws, "Modify") == []
        assert done(aws, "AddTags") == ["AddTags"]
        assert done(aws, "DescribeRules") == ["DescribeRules"]
        await proven(router, 0)

    async def test_the_weights_of_the_way_back_are_sent_before_its_tag(
        self, aws: SimulatedAws, worker: Workers
    ) -> None:
        api = worker()
        router = AlbRouter(alb_route(header=None), api)
        await router.write(raised(50))
        ask, sent = api.call, []

        async def noted(service: str, operation: str, /, **request: Any) -> dict[str, Any]:
            sent.append(operation)
            return await ask(service, operation, **request)

        api.call = noted  # type: ignore[method-assign]
        await router.write(back(2))
        assert sent.index("modify_listener") < sent.index("add_tags")


class TestBlind(AlbIncidents):
    async def test_what_is_not_of_this_rollout_is_not_written_blind(self, aws: SimulatedAws, worker: Workers) -> None:
        router = AlbRouter(alb_route(), worker())
        await router.read()  # nobody's
        aws.fault(throttle=["Describe*"])
        with pytest.raises(Throttled):
            await router.write(back(1))
        assert done(aws, "Modify") == []

    async def test_what_was_described_long_ago_is_not_written_blind(
        self, aws: SimulatedAws, worker: Workers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        router = AlbRouter(alb_route(), worker())
        await router.write(raised(50))
        monkeypatch.setattr("activities.routers.alb.memory._BELIEVED_S", 0)
        aws.forget_calls()
        aws.fault(throttle=["Describe*"])
        with pytest.raises(Throttled):
            await router.write(back(2))
        assert done(aws, "Modify") == []

    async def test_a_blind_way_back_says_so_in_its_proof(self, aws: SimulatedAws, worker: Workers) -> None:
        router = AlbRouter(alb_route(), worker())
        await router.write(raised(50))
        aws.fault(throttle=["Describe*"])
        with pytest.raises(RouterUnreachable):
            await router.write(back(2))
        aws.heal()
        await router.write(back(2))
        assert "written unseen, over what others may have changed" in (await proven(router, 0)).proof

    async def test_a_blind_way_back_that_came_too_late_gives_way_to_the_newer_rollout(
        self, aws: SimulatedAws, worker: Workers
    ) -> None:
        late, newer = (AlbRouter(alb_route(header=None), worker()) for _ in range(2))
        await late.write(raised(5))
        await newer.write(back(2))
        await newer.write(raised(25, 3))
        before = weights(aws)
        find, refused = late._find, list[int]()

        async def throttled_once(*given: Any, **named: Any) -> Any:
            if not refused:
                refused.append(1)
                raise Throttled("DescribeRules")
            return await find(*given, **named)

        late._find = throttled_once  # type: ignore[method-assign]
        with pytest.raises(Superseded):
            await late.write(back(2))
        assert weights(aws) == before


class TestDeletedRules(AlbIncidents):
    async def test_a_rule_of_others_that_is_deleted_while_we_look_stops_nobody(
        self, aws: SimulatedAws, worker: Workers
    ) -> None:
        api = worker()
        router = AlbRouter(alb_route(header=None), api)
        await router.write(raised(5))
        arn = by_header(aws)
        ask = api.call

        async def gone(service: str, operation: str, /, **request: Any) -> dict[str, Any]:
            if operation == "describe_tags" and arn in request["ResourceArns"]:
                aws.client("elbv2").delete_rule(RuleArn=arn)
            return await ask(service, operation, **request)

        api.call = gone  # type: ignore[method-assign]
        await router.write(back(2))
        await proven(router, 0)

    async def test_rules_that_are_always_gone_are_trouble_with_aws_and_the_way_back_is_written(
        self, aws: SimulatedAws, worker: Workers, stand: AlbStand
    ) -> None:
        api = worker()
        router = AlbRouter(alb_route(header=None), api)
        await router.write(raised(100))
        await proven(router, 100)
        ask = api.call

        async def ghost(service: str, operation: str, /, **request: Any) -> dict[str, Any]:
            if operation == "describe_tags":
                request["ResourceArns"] = [*request["ResourceArns"], f"{ghostly}"]
            return await ask(service, operation, **request)

        ghostly = stand.add_other_rule()
        aws.client("elbv2").delete_rule(RuleArn=ghostly)
        api.call = ghost  # type: ignore[method-assign]
        with pytest.raises(RouterUnreachable, match="deleted while they were looked at"):
            await router.read()
        with pytest.raises(RouterUnreachable, match="the weights were written"):
            await router.write(back(2))
        assert await canaries(stand, 20) == 0


class TestReleased(AlbIncidents):
    async def test_stickiness_that_is_switched_on_after_the_release_is_noticed(
        self, aws: SimulatedAws, router: AlbRouter
    ) -> None:
        await router.write(raised(50))
        await router.write(back(2))
        await proven(router, 0)
        aws.set_weights_by_hand({"checkout-blue": 1, "checkout-green": 0}, sticky_s=3600)
        state = await router.read()
        assert (state.percent, state.in_force) == (0, None)
        assert "stickiness of its rule is on for 3600 s" in str(state.problem)
        await router.write(back(3))
        await proven(router, 0)

    async def test_traffic_that_is_moved_after_the_release_is_noticed_until_it_is_back(
        self, aws: SimulatedAws, router: AlbRouter
    ) -> None:
        await router.write(raised(50))
        await router.write(back(2))
        aws.set_weights_by_hand({"checkout-blue": 60, "checkout-green": 40})
        state = await router.read()
        assert (state.percent, state.in_force) == (40, None)
        assert "epoch 2 left 0 %" in str(state.problem)
        aws.set_weights_by_hand({"checkout-blue": 7, "checkout-green": 0})
        assert (await proven(router, 0)).problem is None


def by_header(aws: SimulatedAws) -> str:
    """A rule of somebody else's that could be a forced one, by its shape."""
    made = aws.client("elbv2").create_rule(
        ListenerArn=aws.listener_arn,
        Priority=OTHER,
        Conditions=[{"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "X-Theirs", "Values": ["yes"]}}],
        Actions=[{"Type": "forward", "TargetGroupArn": aws.group_arn("checkout-blue")}],
    )
    return str(made["Rules"][0]["RuleArn"])
