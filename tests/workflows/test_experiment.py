"""An A/B test on a flag: one split, one horizon, a report true whenever it is read, and a person who decides."""

import time
from functools import partial

from rollout import names
from rollout.happened import Phase, RolloutResult
from tests.fakes.flag import FakeFlag
from tests.workflows.stories import story
from tests.workflows.trial import Trial, Trials, stage

KEY = "new-checkout"
PER_S = 20_000.0
BOUGHT = {"on": 0.04, "off": 0.02}


def experiment(trials: Trials, *, candidate_gets: float = 0.5, horizon: str = "6s") -> Trial:
    """An experiment whose users come steadily, half of them to each side unless something drops some."""
    trial = trials.trial({"kind": "flag", "experiment": True, "users": "orders", "stages": [stage(50, horizon)]})
    flag = FakeFlag(KEY, share=0)
    trial.connections.flags[f"{trial.service}/{KEY}"] = flag
    trial.routers = (flag,)
    trial.spec["routes"] = [{"kind": "flagd", "connection": trial.service, "key": KEY}]
    orders = {"kind": "proportion", "trials": "users_total", "successes": "orders_total", "bad": "down"}
    trial.spec["gates"] = {"orders": {**orders, "dispersion": 1, "connection": trial.service}}
    began_ms = time.time_ns() // 1_000_000 - 120_000
    for variation, share in (("on", candidate_gets), ("off", 1 - candidate_gets)):
        for name, rate in (("users_total", 1.0), ("orders_total", BOUGHT[variation])):
            value = partial(_total, began_ms, PER_S * share * rate)
            trial.metrics.count(name, value, variation=variation, instance="a:80", job="shop")
    return trial


def _total(began_ms: int, per_s: float, at_ms: int) -> float | None:
    return None if at_ms < began_ms else float(round((at_ms - began_ms) / 1000 * per_s))


@story
async def test_the_report_gives_the_effect_with_an_interval_and_waits_for_a_person(trials: Trials) -> None:
    trial = await experiment(trials).start()
    status = await trial.until_phase(Phase.AWAITING_APPROVAL)
    assert "**What the experiment shows**" in status.details
    assert "better" in status.details
    assert "sample ratio: 50 % of" in status.details
    await trial.update(names.REJECT, {"by": "ana"})
    result = RolloutResult.model_validate((await trial.failed("Rejected")).details[0])
    (orders,) = result.effects
    assert orders.shown == "better"
    assert orders.ratio_low < 2 < (orders.ratio_high or 0)
    assert (orders.counted, orders.confidence) == ("users", 0.95)
    assert result.sample_ratio is not None
    assert not result.sample_ratio.wrong
    assert list(result.percents_seen) == [50, 0]


@story
async def test_users_that_go_missing_on_one_side_hold_it(trials: Trials) -> None:
    trial = await experiment(trials, candidate_gets=0.47, horizon="1h").start()
    status = await trial.until_phase(Phase.HELD)
    assert status.reason is not None
    assert "sample ratio: 47 % of" in status.reason
    assert "comparisons mean nothing" in status.reason
    await trial.update(names.RESUME)
    await trial.until_baking()
    await trial.until_looked(0)
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)
