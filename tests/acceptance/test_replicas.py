"""No router: the numbers of pods are the weights, so stable shrinks as the candidate grows."""

from rollout import names
from rollout.happened import Phase
from tests.acceptance.playing import acceptance
from tests.acceptance.sites import STABLE, ReplicasSite
from tests.acceptance.trial import ClusterTrials
from tests.workflows.trial import stage


@acceptance
async def test_stable_gives_its_pods_up_one_stage_after_the_other_and_has_none_at_the_end(
    trials: ClusterTrials,
) -> None:
    ladder = {"stages": [stage(25, "1h"), stage(75, "1h"), stage(100)]}
    trial = await trials.begun(ReplicasSite, ladder, pods=4)
    for title, pods in (("25 %", (1, 3)), ("75 %", (3, 1))):
        await trial.until_baking(title)
        assert (await trial.do(trial.site.available), await trial.do(trial.site.available, STABLE)) == pods
        await trial.update(names.ADVANCE)
    await trial.promoted()
    assert (await trial.do(trial.site.available), await trial.do(trial.site.replicas, STABLE)) == (4, 0)


@acceptance
async def test_an_abort_gives_stable_its_pods_before_the_candidate_loses_its_own(trials: ClusterTrials) -> None:
    trial = await trials.begun(ReplicasSite, {"stages": [stage(75, "1h"), stage(100)]}, pods=4)
    await trial.until_baking()
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)
    assert (await trial.do(trial.site.replicas), await trial.do(trial.site.available, STABLE)) == (0, 4)
    numbers = [(each.name, each.replicas) for each in trial.wrote if each.replicas is not None]
    assert numbers.index((STABLE, 4)) < max(at for at, each in enumerate(numbers) if each[0] != STABLE)
