"""What gates say, on a cluster: all the way, several at once, and nothing at all."""

from typing import Any

from rollout import names
from rollout.happened import Phase
from testbed.kubernetes import objects
from tests.acceptance.playing import acceptance
from tests.acceptance.sites import CANDIDATE, CONNECTION, STABLE
from tests.acceptance.trial import ClusterTrials
from tests.workflows.trial import stage

HALF = {"stages": [stage(50, "1h"), stage(100)]}


@acceptance
async def test_health_is_watched_in_a_hold_too(trials: ClusterTrials) -> None:
    trial = await trials.begun(strategy=HALF)
    await trial.until_baking()
    await trial.update(names.HOLD)
    await trial.until_phase(Phase.HELD)
    trial.metrics.say(0.5)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert result.gate == "errors"


@acceptance
async def test_gates_that_say_nothing_promote_nobody(trials: ClusterTrials) -> None:
    trial = await trials.of(policy={"no_data": {"hold": "1h"}})
    trial.metrics.say({})
    await trial.begun()
    await trial.until(lambda now: "health cannot be seen" in now.details, "it says that it sees nothing")
    silent = await trial.until_looked(5)
    assert (silent.percent, silent.stage) == (50, "50 %")
    trial.metrics.say(0.0)
    await trial.promoted()


@acceptance
async def test_a_stage_may_ask_several_gates_and_others_ask_their_own(trials: ClusterTrials) -> None:
    strategy = {"stages": [stage(25, gates=["errors"]), stage(50, gates=["errors", "latency"]), stage(100)]}
    trial = await trials.begun(strategy=strategy, gates={"latency": {"above": 0.3, "standing": False}})
    result = await trial.promoted()
    asked = [set(each.gates) for each in result.stages]
    assert asked == [{"errors"}, {"errors", "latency"}, {"errors", "latency"}]


@acceptance
async def test_one_bad_gate_among_good_ones_is_enough_to_go_back(trials: ClusterTrials) -> None:
    trial = await trials.begun(strategy=HALF, gates={"latency": {"above": 0.9}, "hard-5xx": {"above": 0.3}})
    await trial.until_baking()
    trial.metrics.say(0.2)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert result.gate == "errors"


@acceptance
async def test_two_routes_two_gates_an_approval_and_pods_all_at_once(trials: ClusterTrials) -> None:
    asks: dict[str, Any] = {"approval": {"within": "1h"}}
    strategy = {"stages": [stage(5, **asks), stage(50, "2s"), stage(100, "2s")]}
    trial = await trials.of(strategy=strategy, pods=3, gates={"latency": {"above": 0.3}})
    mesh = objects.virtual_service("checkout", {CANDIDATE: 0, STABLE: 100})
    await trial.do(trial.site.api.create, mesh, trial.site.namespace)
    trial.spec["routes"].append(
        {
            "kind": "istio",
            "connection": CONNECTION,
            "namespace": trial.site.namespace,
            "virtual_service": "checkout",
            "candidate": CANDIDATE,
            "stable": STABLE,
        }
    )
    await trial.begun()
    await trial.until_phase(Phase.AWAITING_APPROVAL)
    await trial.update(names.APPROVE, {"by": "ana"})
    result = await trial.promoted()
    assert list(result.percents_seen) == [5, 50, 100]
    found = await trial.do(trial.site.api.get, "VirtualService", "checkout", trial.site.namespace)
    weights = {each["destination"]["host"]: each["weight"] for each in found["spec"]["http"][0]["route"]}
    assert weights[STABLE] == 0
