"""The runs that are recorded: one for each way a rollout can end, and for what may happen on the way."""

from collections.abc import Awaitable, Callable
from typing import Final

from rollout import names
from rollout.happened import Phase
from tests.workflows.flagged import of_flag, with_flags
from tests.workflows.podded import until_awaited, with_pods
from tests.workflows.trial import Trial, Trials, eventually, ladder, stage

ANA = {"by": "ana"}


async def promoted(trials: Trials) -> Trial:
    """5/25/50/100 with two approvals, one of them sent early, one before its stage."""
    trials.connections.groups["qa"] = ("ana", "bob")
    early, before = {"from": ["qa"]}, {"before": True}
    stages = [stage(5, approval=early), stage(25), stage(50, approval=before), stage(100)]
    trial = await trials.trial({"stages": stages}, routes=2, approvals={"people": ["qa"], "four_eyes": True}).start()
    await trial.until_phase(Phase.BAKING)
    await trial.update(names.APPROVE, {"by": "ana", "comment": "looks fine"})
    await trial.until_phase(Phase.AWAITING_APPROVAL)
    await trial.signal(names.APPROVE, {"by": "bob"})
    await trial.promoted()
    return trial


async def switched(trials: Trials) -> Trial:
    """Blue-green: a look at 0 %, an approval, everything at once; then somebody flips back."""
    colours = {"kind": "blue-green", "preview": "2s", "approval": {}, "bake": "1h"}
    trial = await trials.trial(colours).start()
    await trial.until_phase(Phase.AWAITING_APPROVAL)
    await trial.update(names.APPROVE, ANA)
    await trial.until_written(100)
    await trial.until_phase(Phase.BAKING)
    await trial.signal(names.ABORT, ANA)
    await trial.went_back(Phase.ABORTED)
    return trial


async def rolled_back(trials: Trials) -> Trial:
    """A breach at 25 %."""
    trial = await trials.trial(ladder(5, 25, 100), gates={"errors": {"for": "1s"}}).start()
    await trial.until_phase(Phase.BAKING, "25 %")
    trial.metrics.say({'{path="/pay"}': 0.2})
    await trial.went_back(Phase.ROLLED_BACK)
    return trial


async def aborted(trials: Trials) -> Trial:
    """An abort in the middle of a shift that is not proven yet."""
    trial = await trials.trial(routes=2, policy={"prove_within": "30s"}).start()
    await trial.until_phase(Phase.BAKING)
    trial.routers[1].proves = False
    await trial.until_written(100)
    await trial.update(names.ABORT, {"by": "ana", "comment": "checkout is slow"})
    trial.routers[1].proves = True
    await trial.went_back(Phase.ABORTED)
    return trial


async def rejected(trials: Trials) -> Trial:
    """Somebody who was asked says no."""
    trial = await trials.trial({"stages": [stage(5, approval={}), stage(100)]}).start()
    await trial.until_phase(Phase.AWAITING_APPROVAL)
    await trial.update(names.REJECT, ANA)
    await trial.went_back(Phase.REJECTED)
    return trial


async def expired(trials: Trials) -> Trial:
    """Nobody answers: the first time policy holds, the second time it goes back."""
    hold, back = {"within": "1s", "then": "hold"}, {"within": "1s"}
    trial = await trials.trial({"stages": [stage(5, approval=hold), stage(50, approval=back), stage(100)]}).start()
    await trial.until_phase(Phase.HELD)
    await trial.signal(names.APPROVE, ANA)
    await trial.signal(names.RESUME)
    await trial.went_back(Phase.EXPIRED)
    return trial


async def held(trials: Trials) -> Trial:
    """Held by a person, by drift, by a breach and by a router that proves nothing; put right twice; advanced."""
    stages = [stage(5, "1h"), stage(50, "1h"), stage(100)]
    trial = trials.trial(
        {"stages": stages}, gates={"errors": {"on_breach": "hold"}}, policy={"drift": "reassert", "prove_within": "1s"}
    )
    await trial.start()
    await trial.until_phase(Phase.BAKING)
    trial.router.edit(42)
    await eventually(lambda: trial.router.percents == [5, 5], "it is put right")
    await trial.until_phase(Phase.BAKING)
    await trial.update(names.HOLD, {"by": "ana", "comment": "lunch"})
    await trial.until_phase(Phase.HELD)
    trial.router.edit(43)
    await trial.until(lambda now: "43 %" in (now.reason or ""), "drift is seen while held")
    await trial.update(names.RESUME, ANA)
    await trial.until_phase(Phase.BAKING)
    trial.metrics.say(0.2)
    await trial.until_phase(Phase.HELD)
    trial.metrics.say(0)
    looked = len(trial.metrics.asked)
    await trial.until(lambda _: len(trial.metrics.asked) > looked + 1, "the recovery is seen")
    await trial.signal(names.RESUME)
    await trial.until_phase(Phase.BAKING)
    trial.router.proves = False
    await trial.signal(names.ADVANCE, ANA)
    await trial.until_phase(Phase.HELD)
    trial.router.proves = True
    await trial.signal(names.RESUME)
    await trial.until_phase(Phase.BAKING, "50 %")
    await trial.update(names.ADVANCE, ANA)
    await trial.promoted()
    return trial


async def misunderstood(trials: Trials) -> Trial:
    """Signals of every kind that cannot be obeyed, and stops whose argument is unusable."""
    trial = await trials.trial({"stages": [stage(5, "1h"), stage(100)]}).start()
    await trial.until_phase(Phase.BAKING)
    for arguments in ([], ["?"], [{"bye": 1}], [1, 2]):
        await trial.signal(names.APPROVE, *arguments)
        await trial.signal("aprove", *arguments)
    await trial.until(lambda now: len(now.notes) == 8, "all are noted")
    await trial.signal(names.REJECT, "?", "?")
    await trial.signal(names.HOLD)
    await trial.went_back(Phase.REJECTED)
    return trial


async def blind(trials: Trials) -> Trial:
    """No data: announced, back again, then gone for longer than policy allows."""
    trial = trials.trial({"stages": [stage(5, "1h"), stage(100)]}, policy={"no_data": {"hold": "20s"}})
    await trial.start()
    await trial.until_phase(Phase.BAKING)
    trial.metrics.say({})
    await trial.until(lambda now: now.progress.blind, "it is announced")
    trial.metrics.say(0)
    await trial.until(lambda now: not now.progress.blind, "it is forgotten")
    trial.metrics.reachable = False
    await trial.went_back(Phase.ROLLED_BACK)
    return trial


async def cancelled(trials: Trials) -> Trial:
    """Cancelled during the last drain, and once more on the way back."""
    trial = trials.trial(ladder(100), policy={"drain": "20s"})
    trial.router.open_requests["stable"] = 1
    await trial.start()
    await eventually(lambda: len(trial.router.written) == 2, "our mark is off")
    trial.router.writable = False
    await trial.handle.cancel()
    await trial.until_phase(Phase.ROLLING_BACK)
    await trial.handle.cancel()
    trial.router.writable = True
    await trial.cancelled()
    return trial


async def overdue(trials: Trials) -> Trial:
    """Longer than max_duration."""
    trial = await trials.trial(policy={"max_duration": "5s"}).start()
    await trial.until_phase(Phase.BAKING)
    await trial.update(names.HOLD)
    await trial.went_back(Phase.ROLLED_BACK)
    return trial


async def refused(trials: Trials) -> Trial:
    """Preflight finds the route in somebody else's hands."""
    trial = trials.trial()
    trial.router.owner = "rollout:test/another"
    await trial.start()
    await trial.failed("Refused")
    return trial


async def misread(trials: Trials) -> Trial:
    """An input that is no rollout."""
    trial = await trials.trial().start(inputs=[{"service": "?"}, 2])
    await trial.failed("BadInput")
    return trial


async def stuck(trials: Trials) -> Trial:
    """The way back cannot be proven for a while, then it can."""
    trial = trials.trial(policy={"alarm_after": "1s", "prove_within": "500ms"})
    await trial.start()
    await trial.until_phase(Phase.BAKING)
    trial.router.edit(60)
    trial.router.proves = False
    await trial.signal(names.ABORT, ANA)
    await trial.until_phase(Phase.STUCK)
    trial.router.proves = True
    trial.router.open_requests["candidate"] = 1
    await trial.went_back(Phase.ABORTED)
    return trial


async def mitigated(trials: Trials) -> Trial:
    """Two flags go off, one after the other; the second one was it, a person goes on without it."""
    trial = trials.trial({"stages": [stage(25, "1h"), stage(100)]})
    first, second = with_flags(trial, "one", "two", then_watch="2s")
    await trial.start()
    await trial.until_phase(Phase.BAKING)
    trial.metrics.say(0.2)
    await eventually(lambda: not second.on, "the second flag is off")
    trial.metrics.say(0)
    await trial.until_phase(Phase.HELD)
    assert not first.on
    await trial.signal(names.RESUME, ANA)
    await trial.until_phase(Phase.BAKING)
    await trial.update(names.ADVANCE, ANA)
    await trial.promoted()
    return trial


async def unmitigated(trials: Trials) -> Trial:
    """A flag that cannot be turned off, one that does not help, then the way back."""
    trial = trials.trial({"stages": [stage(25, "1h"), stage(100)]})
    locked, _ = with_flags(trial, "locked", "useless", then_watch="2s")
    await trial.start()
    await trial.until_phase(Phase.BAKING)
    locked.locked = "an approval is required"
    trial.metrics.say(0.2)
    await trial.went_back(Phase.ROLLED_BACK)
    return trial


async def flagged(trials: Trials) -> Trial:
    """A flag's ladder that goes back to the share it had at the start."""
    trial = await of_flag(trials, stage(25), stage(50, "1h"), stage(100), share=10).start()
    await trial.until_phase(Phase.BAKING, "50 %")
    await trial.signal(names.ABORT, ANA)
    await trial.failed("Aborted")
    return trial


async def crowded_out(trials: Trials) -> Trial:
    """Pods that do not come in time, are waited for again, and a breach meanwhile."""
    trial = trials.trial({"stages": [stage(25, "1h"), stage(100)]}, policy={"ready_within": "10s"})
    pods = with_pods(trial, stable=4)
    await trial.start()
    await trial.until_phase(Phase.BAKING)
    pods.starts = False
    await trial.update(names.ADVANCE, ANA)
    await trial.until_phase(Phase.HELD)
    await trial.signal(names.RESUME, ANA)
    await until_awaited(trial)
    trial.metrics.say(0.2)
    await trial.went_back(Phase.ROLLED_BACK)
    return trial


async def experiment(trials: Trials) -> Trial:
    """An experiment whose report a person has read, and shipped."""
    trial = await of_flag(trials, stage(50), experiment=True).start()
    await trial.until_phase(Phase.AWAITING_APPROVAL)
    await trial.update(names.APPROVE, ANA)
    await trial.until_phase(Phase.BAKING, "ship")
    await trial.update(names.ADVANCE, ANA)
    await trial.promoted()
    return trial


SCENARIOS: Final[dict[str, Callable[[Trials], Awaitable[Trial]]]] = {
    play.__name__: play
    for play in (
        promoted,
        switched,
        rolled_back,
        aborted,
        rejected,
        expired,
        held,
        misunderstood,
        blind,
        cancelled,
        overdue,
        refused,
        misread,
        stuck,
        mitigated,
        unmitigated,
        flagged,
        crowded_out,
        experiment,
    )
}
