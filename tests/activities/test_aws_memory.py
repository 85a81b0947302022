"""Every page is read, and what was just described is not asked for again."""

import asyncio
import threading

import pytest

from rollout.errors import RouterUnreachable
from tests.activities.fake_aws import AsksFakeAws, Clients, FakeAws, answered, paged, refused


class TestMemory(AsksFakeAws):
    async def test_every_page_is_read(self, fake: FakeAws, connect: Clients) -> None:
        fake.plan = paged
        found = await connect().pages("elbv2", "describe_rules", ListenerArn="arn")
        assert [rule["RuleArn"] for rule in found] == [f"rule-{number}" for number in range(7)]
        assert {asked["ListenerArn"] for asked in fake.asked} == {"arn"}

    async def test_many_who_ask_the_same_at_once_ask_aws_once(self, fake: FakeAws, connect: Clients) -> None:
        aws = connect()
        await asyncio.gather(*(aws.recent("elbv2", "describe_tags", 60, ResourceArns=["a"]) for _ in range(10)))
        await aws.recent("elbv2", "describe_tags", 60, ResourceArns=["a"])
        assert fake.operations() == ["DescribeTags"]
        await aws.recent("elbv2", "describe_tags", 60, ResourceArns=["b"])
        await aws.recent("elbv2", "describe_tags", 0, ResourceArns=["b"])
        assert len(fake.asked) == 3

    async def test_a_write_makes_forget_what_was_described_but_not_what_lasts(
        self, fake: FakeAws, connect: Clients
    ) -> None:
        aws = connect()

        async def look() -> None:
            await aws.pages("elbv2", "describe_load_balancers", 60, lasting=True)
            await aws.pages("elbv2", "describe_rules", 60)

        await look()
        await aws.call("elbv2", "delete_rule", RuleArn="arn")
        await look()
        described = ["DescribeLoadBalancers", "DescribeRules"]
        assert fake.operations() == [*described, "DeleteRule", "DescribeRules"]
        aws.forget("elbv2", lasting=True)
        await look()
        assert fake.operations()[-2:] == described

    async def test_what_was_under_way_during_a_write_is_not_remembered(self, fake: FakeAws, connect: Clients) -> None:
        asked, go_on = threading.Event(), threading.Event()

        def plan(request: dict[str, str]) -> tuple[int, str]:
            if request["Action"] == "DescribeRules":
                asked.set()
                go_on.wait(5)
            return 200, answered(request["Action"])

        fake.plan = plan
        aws = connect(timeout_s=5)
        early = asyncio.ensure_future(aws.pages("elbv2", "describe_rules", 60))
        await asyncio.to_thread(asked.wait, 5)
        await aws.call("elbv2", "delete_rule", RuleArn="arn")
        go_on.set()
        await early
        await aws.pages("elbv2", "describe_rules", 60)
        assert fake.operations() == ["DescribeRules", "DeleteRule", "DescribeRules"]

    async def test_a_failure_is_not_remembered(self, fake: FakeAws, connect: Clients) -> None:
        aws = connect()
        fake.plan = lambda _: (500, refused("InternalFailure"))
        with pytest.raises(RouterUnreachable):
            await aws.pages("elbv2", "describe_rules", 60)
        fake.plan = paged
        assert len(await aws.pages("elbv2", "describe_rules", 60)) == 7

    async def test_who_is_cancelled_takes_nobody_elses_answer_away(self, fake: FakeAws, connect: Clients) -> None:
        asked, go_on = threading.Event(), threading.Event()

        def plan(request: dict[str, str]) -> tuple[int, str]:
            asked.set()
            go_on.wait(5)
            return 200, answered(request["Action"])

        fake.plan = plan
        aws = connect(timeout_s=5)
        first = asyncio.ensure_future(aws.pages("elbv2", "describe_rules", 60))
        await asyncio.to_thread(asked.wait, 5)
        second = asyncio.ensure_future(aws.pages("elbv2", "describe_rules", 60))
        await asyncio.sleep(0)
        first.cancel()
        go_on.set()
        assert await second == []
        assert fake.operations() == ["DescribeRules"]
