"""The fake keeps the contract of the real adapter."""

from typing import cast

import pytest

from activities.ports import Workloads
from rollout.errors import RouterUnreachable
from tests.activities.workload.contract import WorkloadContract, WorkloadStand, order
from tests.fakes.workloads import FakeWorkloads


class FakeStand(WorkloadStand):
    """The fake itself."""

    def __init__(self) -> None:
        self.fake = FakeWorkloads()

    def workloads(self, *, keep: bool = False, spare: float = 0) -> Workloads:
        self.fake.keep, self.fake.spare = keep, spare
        return self.fake

    def replicas(self) -> int:
        return cast("int", self.fake.replicas)

    def written(self) -> object:
        return len(self.fake.writes)

    async def scaled_by_hand(self, replicas: int, *, stable: bool = False) -> None:
        if stable:
            self.fake.stable = replicas
        else:
            self.fake.replicas = self.fake.ready = replicas

    async def autoscaled(self, least: int, most: int) -> None:
        self.fake.autoscaler = (least, most)

    async def lost(self, *, stable: bool = False) -> None:
        if stable:
            self.fake.stable = None
        else:
            self.fake.replicas = None


@pytest.fixture
def stand() -> FakeStand:
    return FakeStand()


class TestFake(WorkloadContract):
    async def test_pods_that_cannot_be_counted_are_nothing_to_rely_on(self, stand: FakeStand) -> None:
        stand.fake.reachable = False
        for ask in (stand.fake.capacity, stand.fake.carries, lambda: stand.fake.prepare(order(5))):
            with pytest.raises(RouterUnreachable):
                await ask()
