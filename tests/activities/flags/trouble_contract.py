"""What every flag adapter promises when the way to the service is bad, or the caller goes away in the middle."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from datetime import timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities.finishing import all_finished
from activities.ports import FlagService, Router, Write
from activities.traffic import TrafficActivities
from rollout.errors import NotRestored, Permanent, SluiceError
from rollout.messages import RestoreTraffic, ShiftTraffic
from rollout.routes import EnvoyRoute, FlagRoute, Route
from tests.activities.flags.contract import OWNER, WHY, FlagStand, joined, proven, told, until
from tests.fakes.connections import FakeConnections

PLACE = EnvoyRoute(connection="edge-1", service="checkout")  # for messages only: the stand has its own


class Only(FakeConnections):
    """Connections whose every route is the flag of a stand."""

    def __init__(self, stand: FlagStand) -> None:
        super().__init__()
        self._stand = stand

    def router(self, route: Route) -> Router:
        assert route == PLACE
        return self._stand.flag()

    def flag(self, flag: FlagRoute) -> FlagService:
        return self._stand.flag()


async def refused(asking: Coroutine[object, object, object], error: type[SluiceError]) -> str:
    """All that may be shown of the error, which must be raised and say something."""
    with pytest.raises(error) as caught:
        await asking
    assert len(str(caught.value)) > len("it did not answer")
    return told(caught.value)


class TroubleContract:
    """Needs a fixture `stand`."""

    async def test_what_is_wrong_with_the_way_there_has_the_right_name_and_tells_no_secret(
        self, stand: FlagStand, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        await stand.flag().write(Write(percent=5, epoch=1, owner=OWNER))
        await proven(stand, 5)
        for number, (name, error) in enumerate(stand.troubles.items(), start=1):
            before = await stand.written()
            raising = Write(percent=75, epoch=2 * number, owner=OWNER)
            seen = list[str]()
            async with stand.trouble(name):
                flag = stand.flag()
                seen.append(await refused(flag.write(raising), error))
                if name in stand.unreadable:
                    seen.append(await refused(flag.read(), error))
                if name in stand.off_works:
                    await flag.turn_off(WHY)
                else:
                    seen.append(await refused(flag.turn_off(WHY), error))
            assert not [secret for secret in stand.secrets for text in (*seen, caplog.text) if secret in text], name
            if issubclass(error, Permanent) and name not in stand.off_works:
                assert await stand.written() == before, name
            await all_finished(stand.within_s)
            state = await stand.flag().read()  # what was sent and not answered may have arrived: whole, or not at all
            assert (state.percent, state.on, state.owner) in {(5, True, OWNER), (75, True, OWNER), (0, False, OWNER)}
            await stand.switch(on=True)
            await stand.flag().write(Write(percent=5, epoch=2 * number + 1, owner=OWNER))
            assert (await proven(stand, 5)).on

    async def test_no_secret_is_in_a_state_or_in_any_words(self, stand: FlagStand) -> None:
        flag = stand.flag()
        await flag.write(Write(percent=25, epoch=1, owner=OWNER))
        state = await proven(stand, 25)
        for text in (repr(state), repr(flag), str(flag)):
            assert not [secret for secret in stand.secrets if secret in text]

    async def test_a_way_back_that_met_trouble_ends_when_the_trouble_is_over(self, stand: FlagStand) -> None:
        hands = TrafficActivities(Only(stand))
        for epoch, name in enumerate(stand.troubles):
            await stand.flag().write(Write(percent=50, epoch=3 * epoch + 1, owner=OWNER))
            await proven(stand, 50)
            order = RestoreTraffic(
                routes=(PLACE,), epoch=3 * epoch + 2, owner=OWNER, prove_within=timedelta(seconds=stand.within_s)
            )
            hasty = order.model_copy(update={"prove_within": timedelta(seconds=0.3)})
            async with stand.trouble(name):
                with suppress(NotRestored):  # some troubles do not keep the way back
                    await ActivityEnvironment().run(hands.restore_traffic, hasty)
            with suppress(NotRestored):  # what was in the way may be remembered for a moment
                await ActivityEnvironment().run(hands.restore_traffic, hasty)
            await ActivityEnvironment().run(hands.restore_traffic, order)
            assert await joined(stand, 0) == set(), name

    async def test_the_activity_that_moves_traffic_moves_users(self, stand: FlagStand) -> None:
        hands, expected = TrafficActivities(Only(stand)), 0.0
        for epoch, percent in enumerate((25.0, 100.0), start=1):
            order = ShiftTraffic(
                routes=(PLACE,),
                percent=percent,
                expected=expected,
                epoch=epoch,
                owner=OWNER,
                prove_within=timedelta(seconds=stand.within_s),
            )
            done = await ActivityEnvironment().run(hands.shift_traffic, order)
            again = await ActivityEnvironment().run(hands.shift_traffic, order)
            assert (len(done.written), again.written) == (1, ())
            assert done.proof[0]
            await joined(stand, percent)
            expected = percent

    @pytest.mark.parametrize("turns", [0, 1, 3, 10, 30])
    async def test_a_cancelled_write_is_finished_or_leaves_nothing(self, stand: FlagStand, turns: int) -> None:
        await stand.flag().write(Write(percent=5, epoch=1, owner=OWNER))
        writing = asyncio.ensure_future(stand.flag().write(Write(percent=25, epoch=2, owner=OWNER)))
        for _ in range(turns):
            await asyncio.sleep(0)
        writing.cancel()
        with suppress(asyncio.CancelledError, SluiceError):
            await writing
        await all_finished(stand.within_s)

        async def whole() -> bool:
            state = await stand.flag().read()
            assert (state.percent, state.epoch) in {(5, 1), (25, 2)}
            return state.in_force == state.percent

        await until(whole, stand.within_s)
        await stand.flag().write(Write(percent=50, epoch=3, owner=OWNER))
        await proven(stand, 50)
