"""The way back passes everything else that is asked of AWS, and is not made to look again by everybody's writes."""

import asyncio
import threading

import pytest

from activities.aws import Json
from activities.aws.pace import Pace
from rollout.errors import RouterUnreachable, Throttled
from tests.activities.fake_aws import AsksFakeAws, Clients, FakeAws, answered
from tests.activities.routers.contract import until

LISTENER = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/app/shop/1/2"
RULE = f"{LISTENER.replace(':listener/', ':listener-rule/')}/3"
OTHER = LISTENER.replace("/2", "/9")


class Slow:
    """A plan that answers no call of these operations before it is let go."""

    def __init__(self, fake: FakeAws, *operations: str) -> None:
        self.asked, self.go_on, self._operations = threading.Event(), threading.Event(), operations
        fake.plan = self

    def __call__(self, request: dict[str, str]) -> tuple[int, str]:
        if request["Action"] in self._operations:
            self.asked.set()
            self.go_on.wait(10)
        return 200, answered(request["Action"])


class TestLane(AsksFakeAws):
    async def test_the_way_back_looks_although_ordinary_looks_have_used_up_their_turns(
        self, fake: FakeAws, connect: Clients
    ) -> None:
        aws = connect(calls_per_second=0.1)
        for _ in range(10):
            await aws.call("elbv2", "describe_rules")
        with pytest.raises(Throttled, match="turn would be in"):
            await aws.call("elbv2", "describe_rules")
        for _ in range(25):
            await aws.call("elbv2", "describe_rules", urgent=True)
        with pytest.raises(Throttled, match="turn would be in"):
            await aws.call("elbv2", "describe_rules", urgent=True)
        assert len(fake.asked) == 35  # both lanes together stay below AWS's 40

    async def test_the_way_back_looks_although_ordinary_looks_hang(self, fake: FakeAws, connect: Clients) -> None:
        slow, aws = Slow(fake, "DescribeRules"), connect(timeout_s=10)
        looks = [asyncio.ensure_future(aws.call("elbv2", "describe_rules")) for _ in range(9)]  # more than threads
        async with asyncio.timeout(5):
            await aws.call("elbv2", "describe_tags", urgent=True, ResourceArns=[RULE])
        assert not any(look.done() for look in looks)
        slow.go_on.set()
        await asyncio.gather(*looks)

    @pytest.mark.parametrize("weigh", ["modify_rule", "modify_listener"])
    async def test_weights_are_written_although_tags_hang(self, fake: FakeAws, connect: Clients, weigh: str) -> None:
        slow, aws = Slow(fake, "AddTags"), connect(timeout_s=10)
        tags = {"ResourceArns": [RULE], "Tags": [{"Key": "a", "Value": "b"}]}
        hanging = [asyncio.ensure_future(aws.call("elbv2", "add_tags", urgent=True, **tags)) for _ in range(20)]
        await asyncio.to_thread(slow.asked.wait, 5)
        named = {"RuleArn": RULE, "Actions": []} if weigh == "modify_rule" else {"ListenerArn": LISTENER}
        async with asyncio.timeout(5):
            await aws.call("elbv2", weigh, **named)
        assert not any(each.done() for each in hanging)
        slow.go_on.set()
        await asyncio.gather(*hanging)

    async def test_a_call_that_had_to_wait_for_a_thread_has_its_whole_time_afterwards(
        self, connect: Clients, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Four threads, and 1.2 s for each call, which takes 0.8: the second round ends after 1.6 s."""
        aws = connect(timeout_s=0.4)
        monkeypatch.setattr(aws, "_ask", lambda *_: {"late": threading.Event().wait(0.8)})
        assert await asyncio.gather(*(aws.call("elbv2", "describe_rules") for _ in range(8))) == [{"late": False}] * 8

    async def test_a_write_that_never_got_a_thread_is_not_sent_later(
        self, connect: Clients, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        aws, go_on, sent = connect(timeout_s=0.2), threading.Event(), list[str]()

        def ask(_: str, operation: str, __: object) -> dict[str, str]:
            sent.append(operation)
            go_on.wait(10)
            return {}

        monkeypatch.setattr(aws, "_ask", ask)
        hanging = [asyncio.ensure_future(aws.call("elbv2", "add_tags", urgent=True)) for _ in range(8)]

        async def all_threads_hang() -> bool:
            return len(sent) == len(hanging)

        await until(all_threads_hang)
        with pytest.raises(RouterUnreachable, match="DeleteRule was not sent: too many others hang"):
            await aws.call("elbv2", "delete_rule", urgent=True)
        go_on.set()
        await asyncio.gather(*hanging, return_exceptions=True)
        await aws.call("elbv2", "add_tags", urgent=True)
        assert sent == ["add_tags"] * 9


async def test_writes_take_turns_but_none_waits_longer_than_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = list[float]()

    async def sleep(seconds: float) -> None:
        waited.append(round(seconds, 3))

    monkeypatch.setattr("activities.aws.pace.time.monotonic", lambda: 1000.0)
    monkeypatch.setattr("activities.aws.pace.asyncio.sleep", sleep)
    pace = Pace("calls", 4)
    for _ in range(15):
        await pace.soon(0.5)
    assert waited == [0] * 10 + [0.25, 0.5, 0.5, 0.5, 0.5]


class TestSharing(AsksFakeAws):
    async def test_who_asks_anew_joins_a_look_that_is_under_way(self, fake: FakeAws, connect: Clients) -> None:
        slow, aws = Slow(fake, "DescribeRules"), connect(timeout_s=10)
        looks = [asyncio.ensure_future(aws.pages("elbv2", "describe_rules", ListenerArn=LISTENER)) for _ in range(5)]
        await asyncio.to_thread(slow.asked.wait, 5)
        slow.go_on.set()
        await asyncio.gather(*looks)
        assert fake.operations() == ["DescribeRules"]
        await aws.pages("elbv2", "describe_rules", ListenerArn=LISTENER)
        assert len(fake.asked) == 2

    async def test_a_look_that_began_before_a_write_is_not_joined_after_it(
        self, fake: FakeAws, connect: Clients
    ) -> None:
        slow, aws = Slow(fake, "DescribeRules"), connect(timeout_s=10)
        early = asyncio.ensure_future(aws.pages("elbv2", "describe_rules", ListenerArn=LISTENER))
        await asyncio.to_thread(slow.asked.wait, 5)
        await aws.call("elbv2", "modify_rule", RuleArn=RULE, Actions=[])
        late = asyncio.ensure_future(aws.pages("elbv2", "describe_rules", ListenerArn=LISTENER))
        await asyncio.sleep(0.1)
        slow.go_on.set()
        await asyncio.gather(early, late)
        assert fake.operations() == ["DescribeRules", "ModifyRule", "DescribeRules"]

    async def test_what_is_urgent_joins_no_ordinary_look(self, fake: FakeAws, connect: Clients) -> None:
        slow, aws = Slow(fake, "DescribeTags"), connect(timeout_s=10)
        ordinary = asyncio.ensure_future(aws.recent("elbv2", "describe_tags", 60, ResourceArns=[RULE]))
        await asyncio.to_thread(slow.asked.wait, 5)
        slow.asked.clear()
        urgent = asyncio.ensure_future(aws.recent("elbv2", "describe_tags", 60, urgent=True, ResourceArns=[RULE]))
        assert await asyncio.to_thread(slow.asked.wait, 5)
        slow.go_on.set()
        await asyncio.gather(ordinary, urgent)

    @pytest.mark.parametrize(
        ("write", "request_", "forgotten"),
        [
            ("modify_rule", {"RuleArn": RULE, "Actions": []}, {"DescribeRules"}),
            ("modify_listener", {"ListenerArn": LISTENER}, {"DescribeRules"}),
            ("delete_rule", {"RuleArn": RULE}, {"DescribeRules", "DescribeTags"}),
            ("add_tags", {"ResourceArns": [RULE], "Tags": [{"Key": "a"}]}, {"DescribeTags"}),
            ("modify_listener", {"ListenerArn": OTHER}, set[str]()),
            ("add_tags", {"ResourceArns": [OTHER], "Tags": [{"Key": "a"}]}, set[str]()),
        ],
    )
    async def test_a_write_forgets_what_it_changed_and_nothing_else(
        self, fake: FakeAws, connect: Clients, write: str, request_: Json, forgotten: set[str]
    ) -> None:
        aws = connect()

        async def look() -> None:
            await aws.pages("elbv2", "describe_rules", 60, ListenerArn=LISTENER)
            await aws.recent("elbv2", "describe_tags", 60, ResourceArns=[LISTENER, RULE])

        await look()
        await aws.call("elbv2", write, **request_)
        fake.asked.clear()
        await look()
        assert set(fake.operations()) == forgotten
