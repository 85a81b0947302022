"""Canaries by a router, with pods that follow the traffic."""

from rollout import names
from rollout.happened import Phase
from tests.acceptance.playing import acceptance
from tests.acceptance.sites import CANDIDATE, STABLE
from tests.acceptance.trial import ClusterTrials
from tests.workflows.trial import ladder, stage

HALF = {"stages": [stage(50, "1h"), stage(100)]}


@acceptance
async def test_a_deployment_without_pods_gets_them_before_its_traffic_and_stable_keeps_its_own(
    trials: ClusterTrials,
) -> None:
    trial = await trials.begun(pods=4)
    result = await trial.promoted()
    assert list(result.percents_seen) == [50, 100]
    assert await trial.do(trial.site.replicas) == 4
    assert {each.name for each in trial.wrote} == {"checkout", CANDIDATE}
    assert not [each for each in trial.wrote if (each.kind, each.name) == ("Deployment", STABLE)]
    given = {each.replicas: each.at for each in trial.wrote if each.name == CANDIDATE}
    half, whole = (each.at for each in trial.wrote_split()[:2])
    assert given[2] < half < given[4] < whole


@acceptance
async def test_stable_that_grows_while_held_is_counted_anew_before_the_next_raise(trials: ClusterTrials) -> None:
    trial = await trials.begun(strategy=HALF)
    await trial.until_baking()
    await trial.update(names.HOLD, {"by": "ana"})
    await trial.do(trial.site.scale, STABLE, 5)
    await trial.update(names.RESUME)
    await trial.until_baking()
    await trial.update(names.ADVANCE)
    await trial.promoted()
    assert await trial.do(trial.site.available) == 5


@acceptance
async def test_stable_that_is_scaled_at_every_moment_neither_ends_nor_delays_a_rollout(trials: ClusterTrials) -> None:
    trial = await trials.begun(strategy=ladder(25, 50, 100))
    for count in (3, 2, 4, 3):
        await trial.do(trial.site.scale, STABLE, count)
        await trial.until_looked(1)
    await trial.promoted()
    given = [each.replicas for each in trial.wrote if each.name == CANDIDATE and each.replicas is not None]
    assert given == sorted(given), "pods were taken away from a rollout that went on"
    assert given[-1] >= 3


@acceptance
async def test_a_deadline_that_passes_before_pods_are_ready_is_no_end_and_a_hold_may_outlast_it(
    trials: ClusterTrials,
) -> None:
    trial = await trials.of(strategy=HALF, deployment={"progress_deadline_s": 1})
    await trial.deliver("shop:2.0", ready="never", replicas=2)
    await trial.until_there(trial.site.has_timed_out, "the deadline is exceeded")
    await trial.begun()
    await trial.until_pending("shift_traffic")
    await trial.do(trial.site.heal)
    await trial.until_baking()
    await trial.update(names.HOLD)
    await trial.until_phase(Phase.HELD)
    await trial.until_looked(3)
    await trial.update(names.RESUME)
    await trial.until_baking()
    await trial.update(names.ADVANCE)
    result = await trial.promoted()
    assert result.stages[0].percent == 50


@acceptance
async def test_after_an_abort_the_candidate_keeps_its_pods_until_it_has_drained(trials: ClusterTrials) -> None:
    trial = await trials.begun(strategy=HALF, policy={"drain": "3s"})
    await trial.until_baking()
    await trial.signal(names.ABORT)
    result = await trial.went_back(Phase.ABORTED)
    assert await trial.do(trial.site.replicas) == 0
    assert any("was scaled from 1 to 0" in note for note in result.notes), result.notes
    back = next(each.at for each in trial.wrote_split() if each.at > trial.wrote_split()[0].at)
    taken = next(each.at for each in trial.wrote if each.name == CANDIDATE and each.replicas == 0)
    assert taken - back >= 3


@acceptance
async def test_a_candidate_that_is_kept_to_be_looked_at_has_its_pods_after_an_abort(trials: ClusterTrials) -> None:
    trial = await trials.begun(strategy=HALF, workload={"remove_candidate": False})
    await trial.until_baking()
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)
    assert await trial.do(trial.site.replicas) == 1


@acceptance
async def test_whoever_ends_every_bake_at_once_waits_for_nothing_but_pods(trials: ClusterTrials) -> None:
    long = {"stages": [stage(25, "1h"), stage(50, "1h"), stage(100, "1h")]}
    trial = await trials.begun(strategy=long, pods=4)
    for title in ("25 %", "50 %", "100 %"):
        await trial.until_baking(title)
        assert await trial.do(trial.site.available) >= {"25 %": 1, "50 %": 2, "100 %": 4}[title]
        await trial.update(names.ADVANCE, {"by": "ana"})
    result = await trial.promoted()
    assert [each.ended_early_by for each in result.stages] == ["ana", "ana", "ana"]


@acceptance
async def test_a_stable_that_was_made_smaller_gets_back_no_more_than_it_carries_until_it_has_grown(
    trials: ClusterTrials,
) -> None:
    trial = await trials.begun(strategy=HALF, pods=4)
    await trial.until_baking()
    await trial.update(names.ADVANCE)
    await trial.until_percent(100)
    await trial.do(trial.site.scale, STABLE, 1)
    await trial.until_there(lambda: trial.site.available(STABLE) == 1, "stable is small")
    await trial.signal(names.ABORT)
    await trial.until_percent(68.75)  # one of four carries its share and a quarter more: 31.25 %
    await trial.do(trial.site.scale, STABLE, 4)
    await trial.went_back(Phase.ABORTED)
    assert await trial.do(trial.site.available, STABLE) == 4
