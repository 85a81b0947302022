"""What every flag adapter promises of its switch: off is off for everybody, and nobody but a person turns it on."""

import asyncio

import pytest

from activities.ports import Write
from rollout.errors import Drifted, Misconfigured, RouteRejected, SluiceError
from tests.activities.flags.contract import OWNER, WHY, FlagStand, MisleadingStand, joined, proven


class SwitchContract:
    """Needs a fixture `stand`."""

    @pytest.mark.parametrize("percent", [0, 25, 100])
    async def test_off_is_off_for_everybody_from_any_percent_and_is_proven(
        self, stand: FlagStand, percent: float
    ) -> None:
        flag = stand.flag()
        await flag.write(Write(percent=percent, epoch=4, owner=OWNER))
        await joined(stand, percent)
        assert await flag.turn_off(WHY)
        state = await proven(stand, 0, flag)
        assert (state.on, state.percent) == (False, 0)
        assert (state.epoch, state.owner) == (4, OWNER)
        assert await joined(stand, 0) == set()

    async def test_off_needs_no_rollout_and_no_mark(self, stand: FlagStand) -> None:
        await stand.drift(100)
        await joined(stand, 100)
        await stand.flag().turn_off(WHY)
        state = await proven(stand, 0)
        assert (state.on, state.percent, state.epoch, state.owner) == (False, 0, 0, None)
        assert await joined(stand, 0) == set()

    async def test_off_already_is_fine_and_writes_nothing(self, stand: FlagStand) -> None:
        await stand.flag().write(Write(percent=25, epoch=1, owner=OWNER))
        await stand.flag().turn_off(WHY)
        before = await stand.written()
        assert not await stand.flag().turn_off(WHY)
        assert not await stand.flag().turn_off("another reason")
        assert await stand.written() == before

    async def test_neither_reading_nor_the_way_back_turns_it_on_again(self, stand: FlagStand) -> None:
        flag = stand.flag()
        await flag.write(Write(percent=25, epoch=1, owner=OWNER))
        await flag.turn_off(WHY)
        for _ in range(3):
            assert not (await proven(stand, 0, flag)).on
        for epoch, release in ((2, False), (3, True)):
            back = Write(percent=0, epoch=epoch, owner=OWNER, header=False, release=release)
            await stand.flag().write(back)
            await stand.flag().write(back)
            state = await proven(stand, 0)
            assert (state.on, state.epoch) == (False, epoch)
        assert await joined(stand, 0) == set()

    async def test_a_late_repetition_of_the_last_raise_does_not_turn_it_on_again(self, stand: FlagStand) -> None:
        last = Write(percent=25, epoch=1, owner=OWNER)
        await stand.flag().write(last)
        await proven(stand, 25)
        await stand.flag().turn_off(WHY)
        with pytest.raises((Drifted, RouteRejected)):
            await stand.flag().write(last)
        state = await proven(stand, 0)
        assert (state.on, state.percent) == (False, 0)
        assert await joined(stand, 0) == set()

    @pytest.mark.parametrize("person", [True, False], ids=["by a person", "by us"])
    @pytest.mark.parametrize("found", [True, False], ids=["found on", "found off"])
    async def test_no_newer_raise_of_its_owner_turns_on_what_was_switched_off_since(
        self, stand: FlagStand, person: bool, found: bool
    ) -> None:
        await stand.switch(on=found)
        await stand.flag().write(Write(percent=25, epoch=1, owner=OWNER))
        await proven(stand, 25)
        await (stand.switch(on=False) if person else stand.flag().turn_off(WHY))
        before = await stand.written()
        for epoch, percent in ((1, 25), (2, 25), (3, 50)):
            with pytest.raises((Drifted, RouteRejected), match=r"switched .*off since"):
                await stand.flag().write(Write(percent=percent, epoch=epoch, owner=OWNER))
        assert await stand.written() == before
        await stand.flag().write(Write(percent=0, epoch=4, owner=OWNER))
        with pytest.raises((Drifted, RouteRejected)):
            await stand.flag().write(Write(percent=25, epoch=5, owner=OWNER))
        assert not (await proven(stand, 0)).on
        assert await joined(stand, 0) == set()

    async def test_what_was_found_off_and_not_raised_since_can_be_raised(self, stand: FlagStand) -> None:
        await stand.switch(on=False)
        for epoch, percent in enumerate((0, 5, 0, 25), start=1):
            await stand.flag().write(Write(percent=percent, epoch=epoch, owner=OWNER))
            state = await proven(stand, percent)
            assert (state.on, state.owner) == (percent > 0, OWNER)

    @pytest.mark.parametrize("person", [True, False], ids=["by a person", "by us"])
    @pytest.mark.parametrize("percent", [0, 5, 100])
    async def test_the_way_back_of_a_flag_that_was_switched_off_ends_and_leaves_it_off(
        self, stand: FlagStand, percent: float, person: bool
    ) -> None:
        await stand.flag().write(Write(percent=50, epoch=1, owner=OWNER))
        await (stand.switch(on=False) if person else stand.flag().turn_off(WHY))
        off = await proven(stand, 0)
        back = Write(percent=percent, epoch=2, owner=OWNER, header=False, release=True)
        await stand.flag().write(back)
        written = await stand.written()
        await stand.flag().write(back)
        assert await stand.written() == written
        state = await proven(stand, 0)
        assert (state.on, state.percent, state.epoch, state.owner) == (False, 0, 2, None)
        if not person:
            assert (state.off_since_ms or 0) >= (off.off_since_ms or 0) > 0
        assert await joined(stand, 0) == set()
        await stand.switch(on=True)
        assert (await proven(stand, percent)).on
        await joined(stand, percent)

    async def test_the_way_back_of_a_flag_that_is_off_ends_whatever_is_wrong_with_the_share(
        self, stand: FlagStand
    ) -> None:
        await stand.flag().write(Write(percent=50, epoch=1, owner=OWNER))
        await stand.spoil()
        await stand.flag().turn_off(WHY)
        await stand.flag().write(Write(percent=5, epoch=2, owner=OWNER, header=False, release=True))
        state = await proven(stand, 0)
        assert (state.on, state.epoch, state.owner) == (False, 2, None)

    async def test_a_person_can_turn_it_on_again_and_a_newer_write_moves_it(self, stand: FlagStand) -> None:
        await stand.flag().write(Write(percent=25, epoch=1, owner=OWNER))
        await stand.flag().turn_off(WHY)
        await proven(stand, 0)
        await stand.switch(on=True)
        await stand.flag().write(Write(percent=50, epoch=2, owner=OWNER))
        assert (await proven(stand, 50)).on
        await joined(stand, 50)

    async def test_off_and_a_raise_at_the_same_time_end_whole(self, stand: FlagStand) -> None:
        await stand.flag().write(Write(percent=5, epoch=1, owner=OWNER))
        raising = stand.flag().write(Write(percent=50, epoch=2, owner=OWNER))
        ends = await asyncio.gather(raising, stand.flag().turn_off(WHY), return_exceptions=True)
        assert all(end is None or end is True or isinstance(end, SluiceError) for end in ends)
        if ends[1] is not True:  # a conflict: then it says so, and once more is enough
            await stand.flag().turn_off(WHY)
        state = await stand.flag().read()
        await proven(stand, state.percent)  # off before the raise, or after it; nothing in between

    async def test_an_empty_or_long_reason_is_fine(self, stand: FlagStand) -> None:
        await stand.flag().turn_off("")
        await stand.switch(on=True)
        await stand.flag().turn_off('"why" – ' + 200 * "a long story\n")
        assert not (await proven(stand, 0)).on


class MisleadingContract:
    """A service where off can mean the candidate; needs a fixture `stand` that gives a `MisleadingStand`."""

    async def test_off_that_would_not_mean_stable_is_refused(self, stand: MisleadingStand) -> None:
        await stand.flag().write(Write(percent=25, epoch=1, owner=OWNER))
        await stand.mislead()
        before = await stand.written()
        with pytest.raises(Misconfigured):
            await stand.flag().turn_off(WHY)
        assert await stand.written() == before
        assert (await stand.flag().read()).locked
