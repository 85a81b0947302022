"""The pace at which AWS is asked."""

import asyncio
import threading

import pytest

from activities.aws.pace import Pace
from rollout.errors import Throttled
from tests.activities.fake_aws import AsksFakeAws, Clients, FakeAws, answered, paged, refused


class TestPace(AsksFakeAws):
    async def test_after_a_throttling_nobody_asks_before_its_time(self, fake: FakeAws, connect: Clients) -> None:
        aws = connect(calls_per_second=0.5, timeout_s=1)
        fake.plan = lambda _: (400, refused("Throttling"))
        with pytest.raises(Throttled, match="was asked too often"):
            await aws.call("elbv2", "describe_rules")
        fake.plan = paged
        with pytest.raises(Throttled, match=r"at 0\.25 a second, slowed down because AWS"):
            await aws.call("elbv2", "describe_listeners")
        assert fake.operations() == ["DescribeRules"]

    async def test_a_throttled_look_does_not_hold_up_a_write_or_another_service(
        self, fake: FakeAws, connect: Clients
    ) -> None:
        aws = connect(calls_per_second=0.5)
        fake.plan = lambda asked: (
            (400, refused("Throttling")) if asked["Action"] == "DescribeRules" else (200, answered("X"))
        )
        with pytest.raises(Throttled):
            await aws.call("elbv2", "describe_rules")
        fake.plan = lambda asked: (200, answered(asked["Action"]))
        await aws.call("elbv2", "delete_rule", RuleArn="arn")
        assert fake.operations() == ["DescribeRules", "DeleteRule"]

    async def test_a_write_does_not_queue_behind_looks_that_hang(self, fake: FakeAws, connect: Clients) -> None:
        go_on = threading.Event()

        def plan(request: dict[str, str]) -> tuple[int, str]:
            if request["Action"] == "DescribeRules":
                go_on.wait(10)
            return 200, answered(request["Action"])

        fake.plan = plan
        aws = connect(timeout_s=10)
        looks = [asyncio.ensure_future(aws.call("elbv2", "describe_rules")) for _ in range(9)]  # more than threads
        async with asyncio.timeout(5):
            await aws.call("elbv2", "delete_rule", RuleArn="arn")
        assert not any(look.done() for look in looks)
        go_on.set()
        await asyncio.gather(*looks)

    async def test_a_throttled_write_may_be_tried_again_at_once(self, fake: FakeAws, connect: Clients) -> None:
        aws = connect(calls_per_second=0.1)
        fake.plan = lambda _: (400, refused("Throttling"))
        for _ in range(3):
            with pytest.raises(Throttled, match="was asked too often"):
                await aws.call("elbv2", "delete_rule", RuleArn="arn")
        assert len(fake.asked) == 3


async def waits(pace: Pace, turns: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each of so many turns waits, at a clock that only waiting moves."""
    now, found = [1000.0], list[float]()

    async def sleep(seconds: float) -> None:
        now[0] += seconds
        found.append(round(seconds, 6))

    with monkeypatch.context() as patch:
        patch.setattr("activities.aws.pace.time.monotonic", lambda: now[0])
        patch.setattr("activities.aws.pace.asyncio.sleep", sleep)
        pace.__init__("calls", 4)  # type: ignore[misc]  # begins at the patched clock
        for _ in range(turns):
            await pace.turn(60)
    return found


async def test_ten_calls_go_at_once_and_then_four_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await waits(Pace("calls", 4), 14, monkeypatch)
    assert found == [0] * 10 + [0.25] * 4


async def test_the_pace_comes_back_after_good_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = Pace("calls", 4)
    for _ in range(10):
        pace.slower()
    assert pace._rate == 0.25
    for _ in range(40):
        pace.faster()
    assert pace._rate == 4
