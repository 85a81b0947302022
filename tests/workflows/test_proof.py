"""Written is not in force: what happens on the way up when a router does not do its part."""

from datetime import timedelta

import pytest

from rollout import names
from rollout.happened import Phase
from tests.workflows.skipping import skipping
from tests.workflows.stories import story
from tests.workflows.trial import LASTING, Trial, Trials, eventually


async def shifting(trial: Trial, **spoilt: object) -> None:
    """End the bake and spoil the router when the next shift has begun: in a bake it would be noticed by the watch."""
    trial.router.reachable = False
    await trial.update(names.ADVANCE)
    await trial.until_phase(Phase.SHIFTING)
    for name, value in spoilt.items():
        setattr(trial.router, name, value)
    trial.router.reachable = True


@story
async def test_a_percent_that_is_not_proven_holds_with_the_reason_and_a_resume_goes_on(trials: Trials) -> None:
    trial = trials.trial(LASTING, policy={"prove_within": "1s"})
    await trial.start()
    await trial.until_baking()
    trial.router.proves = False
    await trial.update(names.ADVANCE)
    held = await trial.until_phase(Phase.HELD)
    assert held.percent == 5
    assert held.reason is not None
    assert held.reason.startswith("could not prove 100 %")
    assert "still shows 5 %" in held.reason
    trial.router.proves = True
    await trial.update(names.RESUME)
    result = await trial.promoted()
    assert list(result.percents_seen) == [5, 100]


@story
async def test_a_slow_router_is_waited_for_and_written_once(trials: Trials) -> None:
    trial = trials.trial(policy={"prove_within": "1h"})
    trial.router.proof_takes_s = 1.5
    await trial.start()
    await trial.promoted()
    assert trial.router.percents == [5, 100, 100]


@story
async def test_a_router_that_is_away_for_a_moment_is_asked_again(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    trial.router.reachable = False
    await trial.update(names.ADVANCE)
    await trial.until_phase(Phase.SHIFTING)
    assert trial.router.percents == [5]
    trial.router.reachable = True
    await trial.promoted()


@story
async def test_a_refused_configuration_holds_at_once(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    trial.router.rejects = "weights must sum to something"
    await trial.update(names.ADVANCE)
    held = await trial.until_phase(Phase.HELD)
    assert held.reason is not None
    assert "weights must sum to something" in held.reason
    assert trial.router.percents == [5]
    trial.router.rejects = None
    await trial.update(names.RESUME)
    await trial.promoted()


@story
async def test_nothing_is_sent_to_a_candidate_without_a_healthy_member_and_its_return_is_enough(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    await shifting(trial, healthy={"candidate": 0, "stable": 2})
    looked = trial.router.reads
    await eventually(lambda: trial.router.reads > looked + 1, "it was looked at again")
    assert trial.router.percents == [5]
    trial.router.healthy["candidate"] = 1
    await trial.promoted()


@story
@pytest.mark.parametrize(
    "spoilt",
    [{"healthy": {"candidate": 0, "stable": 2}}, {"breaks_with": KeyError("a bug in an adapter")}],
    ids=["candidate unhealthy", "adapter broken"],
)
async def test_after_two_minutes_in_vain_it_is_held(trials: Trials, spoilt: dict[str, object]) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    await shifting(trial, **spoilt)
    async with skipping(trial, timedelta(seconds=121)):
        held = await trial.until_phase(Phase.HELD)
        assert (held.reason or "").startswith("could not prove 100 %")
        assert trial.router.percents == [5]
        trial.router.breaks_with = None
        await trial.signal(names.ABORT)
        await trial.went_back(Phase.ABORTED)


@story
async def test_one_route_of_several_that_is_not_proven_holds_the_others_where_they_are(trials: Trials) -> None:
    trial = trials.trial(LASTING, routes=2, policy={"prove_within": "1s"})
    await trial.start()
    await trial.until_baking()
    trial.routers[1].proves = False
    await trial.update(names.ADVANCE)
    held = await trial.until_phase(Phase.HELD)
    assert [router.percent for router in trial.routers] == [100, 100]
    assert held.percent == 100  # the highest that any route has proven
    await trial.signal(names.ABORT)
    trial.routers[1].proves = True
    await trial.went_back(Phase.ABORTED)
