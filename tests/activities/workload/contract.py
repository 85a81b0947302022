"""What every workload adapter promises, run against the real thing and against the fake.

A backend joins by a `WorkloadStand`, a fixture `stand` that gives it, and a class that inherits `WorkloadContract`.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from activities.ports import Capacity, Workloads, Write
from rollout.errors import Drifted, Misconfigured, NotReady, RouteOwned, Superseded

OWNER = "rollout:prod/checkout"
WITHIN_S = 30.0
STABLE = 4

T = TypeVar("T")


class WorkloadStand(ABC):
    """A candidate without pods and a stable with `STABLE` ready ones."""

    @abstractmethod
    def workloads(self, *, keep: bool = False, spare: float = 0) -> Workloads:
        """The adapter, or one whose spec says that the candidate's pods are kept."""

    @abstractmethod
    def replicas(self) -> int:
        """Pods that the candidate shall have."""

    @abstractmethod
    def written(self) -> object:
        """Something that is equal as long as nobody writes to the candidate, not even the same again."""

    @abstractmethod
    async def scaled_by_hand(self, replicas: int, *, stable: bool = False) -> None:
        """Somebody else says how many pods the candidate, or stable, shall have; it has them when this returns."""

    @abstractmethod
    async def autoscaled(self, least: int, most: int) -> None:
        """An autoscaler decides from now on how many pods the candidate has; it wants as few as it may."""

    @abstractmethod
    async def lost(self, *, stable: bool = False) -> None:
        """The candidate, or stable, is deleted."""


def order(percent: float, epoch: int = 1, owner: str = OWNER, *, release: bool = False) -> Write:
    return Write(percent=percent, epoch=epoch, owner=owner, release=release)


async def until_ready(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again and again while pods are not ready."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                return await ask()
            except NotReady:
                await asyncio.sleep(0.05)


async def prepared(stand: WorkloadStand, write: Write) -> Capacity:
    return await until_ready(lambda: stand.workloads().prepare(write))


class WorkloadContract:
    """Give it a fixture `stand`."""

    async def test_pods_are_counted(self, stand: WorkloadStand) -> None:
        found = await stand.workloads().capacity()
        assert (found.candidate_ready, found.candidate_desired) == (0, 0)
        assert (found.stable_ready, found.stable_desired, found.whole) == (STABLE, STABLE, STABLE)
        assert (found.epoch, found.owner, found.notes) == (0, None, ())

    @pytest.mark.parametrize(("percent", "pods"), [(0, 1), (5, 1), (25, 1), (26, 2), (50, 2), (100, 4)])
    async def test_the_candidate_gets_its_share_of_stables_pods(
        self, stand: WorkloadStand, percent: float, pods: int
    ) -> None:
        found = await prepared(stand, order(percent))
        assert (found.candidate_ready, found.candidate_desired, stand.replicas()) == (pods, pods, pods)

    async def test_spare_pods_come_on_top(self, stand: WorkloadStand) -> None:
        found = await until_ready(lambda: stand.workloads(spare=50).prepare(order(50)))
        assert found.candidate_ready == 3

    async def test_no_percent_is_given_before_its_pods_are_ready(self, stand: WorkloadStand) -> None:
        with pytest.raises(NotReady, match=r"^0 of 2 candidate pods are ready"):
            await stand.workloads().prepare(order(50))
        assert stand.replicas() == 2

    async def test_pods_are_never_taken_away_while_a_rollout_goes_on(self, stand: WorkloadStand) -> None:
        await prepared(stand, order(100))
        await prepared(stand, order(5, epoch=2))
        assert stand.replicas() == STABLE

    async def test_preparing_the_same_again_writes_nothing(self, stand: WorkloadStand) -> None:
        await prepared(stand, order(25))
        before = stand.written()
        for _ in range(3):
            await stand.workloads().prepare(order(25))
        assert stand.written() == before

    async def test_pods_that_are_enough_for_the_next_percent_are_marked_and_not_waited_for(
        self, stand: WorkloadStand
    ) -> None:
        await prepared(stand, order(25))
        assert (await stand.workloads().prepare(order(25, epoch=2))).candidate_ready == 1
        with pytest.raises(Superseded):
            await stand.workloads().prepare(order(100, epoch=1))

    async def test_stable_is_remembered_as_large_as_it_was(self, stand: WorkloadStand) -> None:
        await prepared(stand, order(50))
        await stand.scaled_by_hand(2, stable=True)  # as an autoscaler does when half of the traffic has left
        assert (await prepared(stand, order(100, epoch=2))).candidate_ready == STABLE

    async def test_another_rollout_counts_stable_anew(self, stand: WorkloadStand) -> None:
        await prepared(stand, order(50))
        await stand.workloads().remove_candidate(order(0, epoch=2, release=True))
        await stand.scaled_by_hand(2, stable=True)
        assert (await prepared(stand, order(100, epoch=3))).candidate_desired == 2

    async def test_a_late_preparation_is_fenced_off(self, stand: WorkloadStand) -> None:
        await prepared(stand, order(5, epoch=7))
        before = stand.written()
        with pytest.raises(Superseded):
            await stand.workloads().prepare(order(100, epoch=6))
        with pytest.raises(Superseded):
            await stand.workloads().remove_candidate(order(0, epoch=6))
        assert stand.written() == before

    async def test_a_candidate_that_another_rollout_holds_is_left_alone(self, stand: WorkloadStand) -> None:
        await prepared(stand, order(5))
        before = stand.written()
        with pytest.raises(RouteOwned, match=OWNER):
            await stand.workloads().prepare(order(100, epoch=2, owner="rollout:prod/other"))
        with pytest.raises(RouteOwned, match=OWNER):
            await stand.workloads().remove_candidate(order(0, epoch=2, owner="rollout:prod/other"))
        assert stand.written() == before

    async def test_release_takes_the_owner_off_and_keeps_pods_and_fence(self, stand: WorkloadStand) -> None:
        await prepared(stand, order(50, epoch=3))
        await stand.workloads().prepare(order(100, epoch=4, release=True))
        assert stand.replicas() == 2
        found = await stand.workloads().capacity()
        assert (found.epoch, found.owner) == (4, None)
        with pytest.raises(Superseded):
            await stand.workloads().prepare(order(100, epoch=3))
        await prepared(stand, order(5, epoch=5, owner="rollout:prod/next"))

    async def test_the_candidate_is_removed_by_taking_its_pods_away(self, stand: WorkloadStand) -> None:
        await prepared(stand, order(50))
        assert "from 2 to 0" in await stand.workloads().remove_candidate(order(0, epoch=2, release=True))
        assert stand.replicas() == 0
        before = stand.written()
        await stand.workloads().remove_candidate(order(0, epoch=2, release=True))
        assert stand.written() == before

    async def test_a_preparation_that_comes_after_the_removal_brings_no_pods_back(self, stand: WorkloadStand) -> None:
        await prepared(stand, order(50))
        await stand.workloads().remove_candidate(order(0, epoch=2, release=True))
        with pytest.raises(Superseded):
            await stand.workloads().prepare(order(50))
        assert stand.replicas() == 0

    async def test_a_candidate_that_is_to_be_looked_at_keeps_its_pods(self, stand: WorkloadStand) -> None:
        await prepared(stand, order(50))
        told = await stand.workloads(keep=True).remove_candidate(order(0, epoch=2, release=True))
        assert "as the spec says" in told
        assert stand.replicas() == 2
        await prepared(stand, order(5, epoch=3, owner="rollout:prod/next"))

    async def test_an_autoscaler_is_waited_for_and_never_overruled(self, stand: WorkloadStand) -> None:
        await stand.scaled_by_hand(1)
        await stand.autoscaled(1, 3)
        found = await prepared(stand, order(100))
        assert (found.candidate_ready, stand.replicas()) == (1, 1)
        assert [note for note in found.notes if "100 % needs 4 pods" in note]
        assert "decides" in await stand.workloads().remove_candidate(order(0, epoch=2, release=True))
        assert stand.replicas() == 1

    async def test_who_takes_pods_away_again_and_again_is_not_fought_for_ever(self, stand: WorkloadStand) -> None:
        await prepared(stand, order(100))
        for _ in range(3):
            await stand.scaled_by_hand(1)
            assert [note for note in (await stand.workloads().capacity()).notes if "Sluice wants 4" in note]
            await prepared(stand, order(100))
        await stand.scaled_by_hand(1)
        with pytest.raises(Drifted, match="taken away every time"):
            await stand.workloads().prepare(order(100))
        assert stand.replicas() == 1
        assert (await prepared(stand, order(100, epoch=2))).candidate_ready == STABLE  # a person resumed

    async def test_ready_pods_of_stable_carry_a_quarter_more_than_their_share(self, stand: WorkloadStand) -> None:
        assert await stand.workloads().carries() == 100
        await prepared(stand, order(50))
        await stand.scaled_by_hand(2, stable=True)
        assert await stand.workloads().carries() == 62.5
        await stand.scaled_by_hand(0, stable=True)
        assert await stand.workloads().carries() == 0

    async def test_the_way_back_works_although_the_candidate_is_gone(self, stand: WorkloadStand) -> None:
        await prepared(stand, order(25))
        await stand.lost()
        assert await stand.workloads().carries() == 100
        assert "does not exist" in await stand.workloads().remove_candidate(order(0, epoch=2, release=True))
        with pytest.raises(Misconfigured, match="canary"):
            await stand.workloads().prepare(order(25, epoch=3))
        with pytest.raises(Misconfigured, match="canary"):
            await stand.workloads().capacity()

    async def test_a_stable_that_is_gone_carries_nothing_and_starts_nothing(self, stand: WorkloadStand) -> None:
        await stand.lost(stable=True)
        assert await stand.workloads().carries() == 0
        for ask in (stand.workloads().capacity, lambda: stand.workloads().prepare(order(5))):
            with pytest.raises(Misconfigured, match="stable"):
                await ask()
        assert stand.replicas() == 0
        await stand.workloads().prepare(order(100, epoch=2, release=True))
