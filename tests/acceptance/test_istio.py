"""Istio: hosts and subsets, the forced header, and candidates that lose their pods on the way."""

from rollout import names
from rollout.happened import Phase
from tests.acceptance.playing import acceptance
from tests.acceptance.sites import CANDIDATE, STABLE, IstioSite, SubsetSite
from tests.acceptance.trial import ClusterTrials
from tests.workflows.trial import stage

HALF = {"stages": [stage(50, "1h"), stage(100)]}


@acceptance
async def test_weights_move_between_two_hosts(trials: ClusterTrials) -> None:
    trial = await trials.begun(IstioSite)
    result = await trial.promoted()
    assert result.percents_seen == (50, 100)


@acceptance
async def test_weights_move_between_two_subsets_and_nothing_else_of_the_virtual_service_does(
    trials: ClusterTrials,
) -> None:
    trial = await trials.of(SubsetSite)
    before = await trial.do(trial.site.split)
    await trial.begun()
    await trial.promoted()
    after = await trial.do(trial.site.split)
    for found in (before, after):
        for each in found["spec"]["http"][0]["route"]:
            del each["weight"]
    assert after["spec"] == before["spec"]
    assert {each.kind for each in trial.wrote} == {"VirtualService", "Deployment"}  # no DestinationRule


@acceptance
async def test_the_forced_header_leads_to_the_candidate_while_the_rollout_lasts(trials: ClusterTrials) -> None:
    trial = await trials.begun(IstioSite, HALF)
    await trial.until_baking()
    forcing = [each for each in (await trial.do(trial.site.split))["spec"]["http"] if each.get("match")]
    leads = {str(each["match"][0]["headers"]): each["route"][0]["destination"]["host"] for each in forcing}
    assert leads == {"{'x-canary': {'exact': 'always'}}": CANDIDATE, "{'x-canary': {'exact': 'never'}}": STABLE}
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)  # and no rule of it is left


@acceptance
async def test_an_abort_of_an_update_brings_the_weights_back_before_any_pod_goes(trials: ClusterTrials) -> None:
    trial = await trials.begun(SubsetSite, HALF)
    await trial.until_baking()
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)
    back = trial.wrote_split()[-1].at
    [taken] = [each.at for each in trial.wrote if each.name == CANDIDATE and each.replicas == 0]
    assert back < taken


@acceptance
async def test_an_update_whose_candidate_is_scaled_to_zero_goes_back(trials: ClusterTrials) -> None:
    trial = await trials.begun(SubsetSite, HALF)
    await trial.until_baking()
    await trial.do(trial.site.scale, CANDIDATE, 0)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert "no member of the candidate pool is healthy" in result.reason


@acceptance
async def test_an_abort_ends_although_every_pod_of_the_candidate_was_deleted(trials: ClusterTrials) -> None:
    trial = await trials.begun(SubsetSite, HALF)
    await trial.until_baking()
    await trial.signal(names.ABORT)
    await trial.do(trial.site.scale, CANDIDATE, 0)
    await trial.went_back(Phase.ABORTED)


@acceptance
async def test_a_stable_that_is_made_smaller_after_an_abort_keeps_all_the_traffic(trials: ClusterTrials) -> None:
    trial = await trials.begun(SubsetSite, HALF)
    await trial.until_baking()
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)
    await trial.do(trial.site.scale, STABLE, 1)
    await trial.until_there(lambda: trial.site.available(STABLE) == 1, "stable is smaller")
    trial.is_back()
