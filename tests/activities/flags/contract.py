"""What every flag adapter promises, run against the real service and a real application that evaluates the flag.

A backend joins by a file `test_contract_<backend>.py`: a `FlagStand` that has a flag and an application with the
service's own SDK, a fixture `stand` that gives it, and a class that inherits `FlagContract`, `SwitchContract`,
`TroubleContract` and, where off can mean something else, `MisleadingContract`. Nothing in here knows any service.
"""

import asyncio
import math
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

import pytest

from activities.ports import FlagService, FlagState, Write
from rollout.errors import Misconfigured, RouteOwned, SluiceError, Superseded

OWNER = "rollout:prod/checkout"
USERS = tuple(f"user-{number}" for number in range(1000))
WHY = "error rate 6 % in checkout"


class FlagStand(ABC):
    """A service with a flag, and an application that evaluates it.

    The flag begins switched on (whatever that is there), with both variations, and gives everybody stable's; it has as
    much of what is none of Sluice's business (rules, targets, tags, other strategies) as the service knows and the
    users `USERS` are not caught by. No user of `USERS` is a probe key of an adapter.

    Attributes:
        candidate: variation of those who see the feature, as `served` names it.
        stable: variation of everybody else.
        percents: what is asked for, in order; every one is proven.
        within_s: how long a proof, and an application's next look, may take; seconds.
        users: for whom the flag is evaluated; fewer where an evaluation is slow, at least 200.
        us: what is in `changed_by` after a write of ours, None if the service does not tell.
        troubles: what can be wrong with the way to the service, and the error that must be raised then by `write` and
            `turn_off`. Every one must be gone at once when it is over.
        off_works: those of `troubles` in which `turn_off` must work all the same.
        unreadable: those of `troubles` in which `read` must raise the same.
        secrets: what must be in no error and in no log line: tokens, SDK keys, passwords.
    """

    candidate: ClassVar[str] = "on"
    stable: ClassVar[str] = "off"
    percents: ClassVar[tuple[float, ...]] = (0, 1, 5, 25, 50, 99, 100, 0)
    within_s: ClassVar[float] = 5.0
    users: ClassVar[tuple[str, ...]] = USERS
    us: ClassVar[str | None] = None
    troubles: ClassVar[Mapping[str, type[SluiceError]]]
    off_works: ClassVar[frozenset[str]] = frozenset()
    unreadable: ClassVar[frozenset[str]]
    secrets: tuple[str, ...] = ()

    @abstractmethod
    def flag(self) -> FlagService:
        """A new adapter for the flag."""

    @abstractmethod
    def other_flag(self) -> FlagService:
        """The adapter for another flag of the same project (file, environment), with the same variations."""

    @abstractmethod
    def unknown_flag(self) -> FlagService:
        """The adapter for a flag `ghost-flag`, which is not there."""

    @abstractmethod
    def unknown_variation(self) -> FlagService:
        """The adapter for the flag, with a candidate `ghost`, which is no variation of it."""

    @abstractmethod
    async def served(self, keys: Sequence[str], *, other: bool = False) -> dict[str, str]:
        """User → variation that an application with the service's real SDK gives now, of the flag or of the other."""

    @abstractmethod
    async def written(self) -> object:
        """Something that is equal as long as nobody writes to the service, not even the same again."""

    @abstractmethod
    async def rest(self) -> object:
        """All that is configured there, also other flags and environments, without percent, switch and Sluice's marks.

        Order counts where it means something to the service.
        """

    @abstractmethod
    async def drift(self, percent: float) -> None:
        """Somebody else gives the candidate to a percent of users, by hand, as people do there; it is then on."""

    @abstractmethod
    async def switch(self, *, on: bool) -> None:
        """A person switches the flag on or off, by hand; nothing else is changed."""

    @abstractmethod
    async def spoil(self) -> None:
        """A person makes the share something that this adapter does not place; the switch is not touched."""

    @abstractmethod
    def trouble(self, name: str) -> AbstractAsyncContextManager[None]:
        """One of `troubles` lasts."""


class MisleadingStand(FlagStand):
    """A service where "off" can be made to mean the candidate, or nothing that is known."""

    @abstractmethod
    async def mislead(self) -> None:
        """Make it so: from now on, off does not give everybody stable's variation."""


async def until(holds: Callable[[], Awaitable[bool]], within_s: float) -> None:
    """Ask again and again, for a while."""
    async with asyncio.timeout(within_s):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.02)


async def proven(stand: FlagStand, percent: float, flag: FlagService | None = None) -> FlagState:
    """Read until the flag proves the percent."""
    asked, seen = flag or stand.flag(), list[FlagState]()

    async def shows_it() -> bool:
        seen.append(await asked.read())
        return seen[-1].in_force == percent

    try:
        await until(shows_it, stand.within_s)
    except TimeoutError:
        pytest.fail(f"{percent} % never came into force: {seen[-1]!r}")
    return seen[-1]


async def joined(stand: FlagStand, percent: float, *, other: bool = False) -> set[str]:
    """Who sees the feature, once the application has noticed: as many as the percent says, within 5 sigma."""
    count, share = len(stand.users), percent / 100
    least, seen = 5 * math.sqrt(count * share * (1 - share)), set[str]()

    async def look() -> set[str]:
        served = await stand.served(stand.users, other=other)
        assert set(served.values()) <= {stand.candidate, stand.stable}
        return {user for user, variation in served.items() if variation == stand.candidate}

    async def noticed() -> bool:
        seen.clear()
        seen.update(await look())
        if abs(len(seen) - count * share) > least:
            return False
        # An application that notices in the middle of a look has given some the old percent and some the new.
        return share in {0, 1} or await look() == seen

    try:
        await until(noticed, stand.within_s)
    except TimeoutError:
        pytest.fail(f"{len(seen)} of {count} users see the feature at {percent} %")
    return set(seen)


def told(error: BaseException) -> str:
    """All that may be shown of an error: its own words, those of its causes, and what they hold."""
    chain, one = list[str](), error.__cause__ or error.__context__
    while one is not None:
        chain.append(f"{one!r} {one} {one.args!r}")
        one = one.__cause__ or one.__context__
    return "\n".join([repr(error), *chain, *traceback.format_exception(error)])


class FlagContract:
    """Subclass it, mark the subclass with `server`, and give it a fixture `stand`."""

    async def test_a_flag_that_nobody_touched_gives_everybody_stable_and_has_no_owner(self, stand: FlagStand) -> None:
        state = await proven(stand, 0)
        assert (state.percent, state.on, state.epoch, state.owner, state.forced) == (0, True, 0, None, False)
        assert state.healthy == {"candidate": 1, "stable": 1}
        assert (state.problem, state.locked, state.moving, state.failed) == (None, None, None, None)
        assert [await stand.flag().in_flight(pool) for pool in ("candidate", "stable")] == [0, 0]
        assert await joined(stand, 0) == set()

    async def test_every_percent_comes_into_force_and_the_application_sees_it(self, stand: FlagStand) -> None:
        flag = stand.flag()
        for epoch, percent in enumerate(stand.percents, start=1):
            await flag.write(Write(percent=percent, epoch=epoch, owner=OWNER))
            state = await proven(stand, percent, flag)
            assert (state.percent, state.epoch, state.owner, state.on) == (percent, epoch, OWNER, True)
            assert state.proof
            await joined(stand, percent)

    async def test_users_only_ever_join_as_the_percent_rises_and_stay_between(self, stand: FlagStand) -> None:
        flag, before = stand.flag(), set[str]()
        for epoch, percent in enumerate((5, 25, 50, 99, 100), start=1):
            await flag.write(Write(percent=percent, epoch=epoch, owner=OWNER))
            await proven(stand, percent, flag)
            now = await joined(stand, percent)
            assert before < now
            assert await joined(stand, percent) == now
            before = now

    async def test_the_same_write_again_writes_nothing(self, stand: FlagStand) -> None:
        flag, write = stand.flag(), Write(percent=25, epoch=1, owner=OWNER)
        await flag.write(write)
        before = await stand.written()
        await flag.write(write)
        await proven(stand, 25)
        await stand.flag().write(write)
        assert await stand.written() == before

    async def test_a_late_write_is_fenced_off(self, stand: FlagStand) -> None:
        flag = stand.flag()
        await flag.write(Write(percent=5, epoch=7, owner=OWNER))
        before = await stand.written()
        with pytest.raises(Superseded):
            await flag.write(Write(percent=50, epoch=6, owner=OWNER))
        assert await stand.written() == before

    async def test_a_flag_that_another_owner_holds_is_left_alone(self, stand: FlagStand) -> None:
        flag = stand.flag()
        await flag.write(Write(percent=5, epoch=1, owner=OWNER))
        before = await stand.written()
        with pytest.raises(RouteOwned, match=OWNER):
            await flag.write(Write(percent=0, epoch=2, owner="rollout:prod/other"))
        assert await stand.written() == before
        await flag.write(Write(percent=0, epoch=2, owner=OWNER))
        await proven(stand, 0)

    async def test_release_takes_the_owner_off_and_keeps_percent_and_fence(self, stand: FlagStand) -> None:
        flag = stand.flag()
        await flag.write(Write(percent=100, epoch=3, owner=OWNER))
        await flag.write(Write(percent=100, epoch=4, owner=OWNER, release=True))
        state = await proven(stand, 100)
        assert (state.owner, state.on, state.epoch) == (None, True, 4)
        with pytest.raises(Superseded):
            await flag.write(Write(percent=5, epoch=3, owner=OWNER))
        await flag.write(Write(percent=5, epoch=5, owner="rollout:prod/next"))
        assert (await proven(stand, 5)).owner == "rollout:prod/next"

    async def test_all_else_in_the_flag_and_around_it_stays_as_it_was(self, stand: FlagStand) -> None:
        flag, before = stand.flag(), await stand.rest()
        for epoch, percent in enumerate((5, 50, 100, 0), start=1):
            await flag.write(Write(percent=percent, epoch=epoch, owner=OWNER, release=not percent))
            assert await stand.rest() == before, percent
        await flag.turn_off(WHY)
        assert await stand.rest() == before

    @pytest.mark.parametrize("found", [True, False], ids=["found on", "found off"])
    async def test_the_way_back_leaves_the_switch_as_it_was_found(self, stand: FlagStand, found: bool) -> None:
        flag = stand.flag()
        await stand.switch(on=found)
        assert (await proven(stand, 0)).on is found
        for epoch, percent in enumerate((5, 50), start=1):
            await flag.write(Write(percent=percent, epoch=epoch, owner=OWNER))
            assert (await proven(stand, percent)).on
            await joined(stand, percent)
        await flag.write(Write(percent=0, epoch=3, owner=OWNER, header=False, release=True))
        state = await proven(stand, 0)
        assert (state.on, state.owner, state.epoch) == (found, None, 3)
        assert await joined(stand, 0) == set()

    async def test_a_change_by_hand_is_noticed_and_put_right_by_the_next_write(self, stand: FlagStand) -> None:
        flag = stand.flag()
        await flag.write(Write(percent=5, epoch=1, owner=OWNER))
        ours = await proven(stand, 5)
        await stand.drift(40)

        async def noticed() -> bool:
            state = await flag.read()
            assert state.in_force in {None, 40} or state.percent == state.in_force == 5
            return state.percent == 40 or (state.percent == 5 and state.in_force is None and state.problem is not None)

        await until(noticed, stand.within_s)
        if stand.us:
            assert stand.us in (ours.changed_by or "")
            assert stand.us not in ((await flag.read()).changed_by or "")
        await flag.write(Write(percent=5, epoch=2, owner=OWNER))
        assert (await proven(stand, 5)).epoch == 2

    async def test_who_changed_it_last_and_since_when_it_is_off(self, stand: FlagStand) -> None:
        await stand.flag().write(Write(percent=5, epoch=1, owner=OWNER))
        state = await proven(stand, 5)
        assert (stand.us or "") in (state.changed_by or "")
        assert state.off_since_ms is None
        began_ms = time.time() * 1000
        await stand.flag().turn_off(WHY)
        state = await proven(stand, 0)
        assert state.off_since_ms is not None
        assert began_ms - 1000 <= state.off_since_ms <= time.time() * 1000 + 1000
        assert (stand.us or "") in (state.changed_by or "")
        assert OWNER not in (state.changed_by or "")  # who holds it need not be who switched it off
        await stand.switch(on=True)
        assert (await proven(stand, 5)).off_since_ms is None

    async def test_off_by_a_person_is_never_said_to_be_by_us(self, stand: FlagStand) -> None:
        await stand.flag().write(Write(percent=5, epoch=1, owner=OWNER))
        await stand.flag().turn_off(WHY)
        await stand.drift(40)  # on again, and not quite as it was
        began_ms = time.time() * 1000
        await stand.switch(on=False)
        state = await proven(stand, 0)
        assert (stand.us or "sluice") not in (state.changed_by or "")
        assert state.off_since_ms is None or state.off_since_ms >= began_ms - 1000

    async def test_off_is_proven_whatever_is_wrong_with_the_share(self, stand: FlagStand) -> None:
        await stand.flag().write(Write(percent=25, epoch=1, owner=OWNER))
        await proven(stand, 25)  # a new flag that applications have never been given cannot be proven off
        await stand.spoil()
        state = await stand.flag().read()
        assert (state.on, state.in_force, state.locked) == (True, None, None)
        assert state.problem
        assert await stand.flag().turn_off(WHY)
        state = await proven(stand, 0)
        assert (state.on, state.percent, state.locked) == (False, 0, None)
        assert state.proof

        async def nobody() -> bool:
            return set((await stand.served(stand.users)).values()) == {stand.stable}

        await until(nobody, stand.within_s)

    @pytest.mark.parametrize("percent", [0, 1, 50, 100])
    async def test_every_state_can_be_brought_back_to_stable(self, stand: FlagStand, percent: float) -> None:
        flag = stand.flag()
        await flag.write(Write(percent=percent, epoch=1, owner=OWNER))
        await stand.drift(60)
        await flag.write(Write(percent=0, epoch=2, owner=OWNER, header=False, release=True))
        state = await proven(stand, 0)
        assert (state.owner, state.epoch) == (None, 2)
        assert await joined(stand, 0) == set()

    async def test_two_rollouts_move_two_flags_at_once_and_leave_each_other_alone(self, stand: FlagStand) -> None:
        flags = (stand.flag(), stand.other_flag())
        for epoch, percents in enumerate(((5, 50), (25, 0), (50, 100), (0, 0)), start=1):
            writes = [Write(percent=each, epoch=epoch, owner=f"{OWNER}-{n}") for n, each in enumerate(percents)]
            await asyncio.gather(*(flag.write(each) for flag, each in zip(flags, writes, strict=True)))
            for n, (flag, each) in enumerate(zip(flags, writes, strict=True)):
                assert (await proven(stand, each.percent, flag)).owner == each.owner
                await joined(stand, each.percent, other=bool(n))

    async def test_a_percent_finer_than_the_service_knows_is_refused(self, stand: FlagStand) -> None:
        flag, before = stand.flag(), await stand.written()
        finest = (await flag.read()).finest
        with pytest.raises(Misconfigured):
            await flag.write(Write(percent=finest / 2, epoch=1, owner=OWNER))
        assert await stand.written() == before
        await flag.write(Write(percent=finest, epoch=1, owner=OWNER))
        await proven(stand, finest)

    async def test_a_flag_that_is_not_there_is_misconfigured_and_is_never_made(self, stand: FlagStand) -> None:
        flag, before = stand.unknown_flag(), await stand.written()
        write = Write(percent=5, epoch=1, owner=OWNER)
        for asking in (flag.read, lambda: flag.write(write), lambda: flag.turn_off(WHY)):
            with pytest.raises(Misconfigured, match="ghost-flag"):
                await asking()
        assert await stand.written() == before

    async def test_a_variation_that_is_not_there_is_given_to_nobody_but_can_be_left(self, stand: FlagStand) -> None:
        flag, before = stand.unknown_variation(), await stand.written()
        assert (await flag.read()).healthy == {"stable": 1}
        with pytest.raises(Misconfigured, match="ghost"):
            await flag.write(Write(percent=5, epoch=1, owner=OWNER))
        assert await stand.written() == before
        await flag.write(Write(percent=0, epoch=1, owner=OWNER, release=True))
        await proven(stand, 0, flag)
