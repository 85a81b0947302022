"""Silence is not health."""

import pytest

from rollout import names
from rollout.happened import Phase
from tests.fakes.metrics import GONE
from tests.workflows.stories import story
from tests.workflows.trial import LASTING, Trials, ladder


@story
async def test_missing_data_are_announced_stop_the_bake_clock_and_are_forgotten_when_they_return(
    trials: Trials,
) -> None:
    trial = await trials.trial(ladder(100, bake="8s")).start()
    await trial.until_baking()
    trial.metrics.say(GONE)
    blind = await trial.until(lambda now: now.progress.blind, "it is announced")
    assert blind.phase is Phase.BAKING
    assert "health cannot be seen" in blind.details
    assert blind.baked.total_seconds() < 8
    trial.metrics.say(0)
    await trial.until(lambda now: not now.progress.blind, "it is forgotten")
    result = await trial.promoted()
    assert result.stages[0].arrived_at
    whole, baked = result.ended_at - result.stages[0].arrived_at, result.stages[0].baked
    assert baked.total_seconds() >= 8
    assert (whole - baked).total_seconds() > 14


@story
async def test_an_outage_of_the_metrics_server_is_filled_in_afterwards(trials: Trials) -> None:
    trial = await trials.trial(ladder(100, bake="8s")).start()
    await trial.until_baking()
    trial.metrics.reachable = False
    asked = len(trial.metrics.asked)
    held = await trial.update(names.HOLD)  # a hold during an outage is nothing special
    assert held.startswith("hold: held")
    await trial.until_phase(Phase.HELD)
    await trial.update(names.RESUME)
    await trial.until_baking()
    assert len(trial.metrics.asked) == asked
    trial.metrics.reachable = True
    result = await trial.promoted()
    assert result.stages[0].baked.total_seconds() >= 8
    ticks = [tick for first, last in trial.metrics.asked for tick in range(first, last + 1, 1000)]
    assert len(ticks) == len(set(ticks)), "a tick was folded twice"


@story
@pytest.mark.parametrize("answer", [GONE, {"": float("nan")}], ids=["nothing", "NaN"])
async def test_missing_data_send_the_traffic_back_after_their_hold(trials: Trials, answer: dict[str, float]) -> None:
    trial = trials.trial(LASTING, policy={"no_data": {"hold": "2s", "then": "rollback"}})
    await trial.start()
    await trial.until_baking()
    trial.metrics.say(answer)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert result.reason.startswith("no data: gate errors")
    assert result.gate is None


@story
async def test_an_outage_sends_the_traffic_back_after_the_hold(trials: Trials) -> None:
    trial = trials.trial(LASTING, policy={"no_data": {"hold": "2s", "then": "rollback"}})
    await trial.start()
    await trial.until_baking()
    trial.metrics.reachable = False
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert "the metrics server does not answer" in result.reason


@story
async def test_missing_data_hold_if_policy_says_so_and_a_resume_goes_on_with_data(trials: Trials) -> None:
    trial = trials.trial(LASTING, policy={"no_data": {"hold": "2s", "then": "hold"}})
    await trial.start()
    await trial.until_baking()
    trial.metrics.say(GONE)
    held = await trial.until_phase(Phase.HELD)
    assert held.percent == 5
    assert (held.reason or "").startswith("no data: gate errors")
    trial.metrics.say(0)
    await trial.update(names.RESUME)
    await trial.until_baking()
    await trial.update(names.ADVANCE)
    await trial.promoted()


@story
async def test_a_route_that_cannot_be_read_is_missing_data_too(trials: Trials) -> None:
    trial = trials.trial(LASTING, policy={"no_data": {"hold": "2s", "then": "hold"}})
    await trial.start()
    await trial.until_baking()
    trial.router.reachable = False
    held = await trial.until_phase(Phase.HELD)
    assert "does not answer" in (held.reason or "")
    trial.router.reachable = True
    await trial.update(names.RESUME)
    await trial.until_baking()
    await trial.update(names.ADVANCE)
    await trial.promoted()


@story
async def test_a_gate_without_data_does_not_let_a_bake_pass(trials: Trials) -> None:
    trial = trials.trial(ladder(100))
    trial.metrics.say(GONE)
    await trial.start()
    await trial.until_baking()
    blind = await trial.until_looked(4)  # longer than the bake
    assert blind.phase is Phase.BAKING
    trial.metrics.say(0)
    await trial.promoted()
