"""Gates that count, in a whole rollout: what they prove, carry, excuse and refuse."""

import re

from rollout import names
from rollout.happened import Phase
from tests.workflows.counted import ERRORS, counting, now_ms
from tests.workflows.stories import story
from tests.workflows.trial import LASTING, Trials, ladder, stage


@story
async def test_a_candidate_like_stable_is_promoted_and_the_record_says_what_was_not_excluded(trials: Trials) -> None:
    trial, _ = counting(trials, {"stages": [stage(5, "3s"), stage(50, "3s"), stage(100)]})
    await trial.start()
    result = await trial.promoted()
    assert list(result.percents_seen) == [5, 50, 100]
    said = result.stages[0].gates["errors"]
    assert re.match(r"(undecided: errors: candidate \d+ of \d+ .* not excluded: up to|healthy: errors: )", said), said
    assert result.stages[2].gates == {}, "at 100 % there is nothing to compare with"


@story
async def test_a_bad_candidate_is_sent_back_with_the_counts_of_both_sides(trials: Trials) -> None:
    trial, shop = counting(trials, LASTING)
    await trial.start()
    await trial.until_baking()
    shop.fails("canary", 0.3)
    result = await trial.went_back(Phase.ROLLED_BACK)
    assert result.gate == "errors"
    assert re.search(
        r"errors: candidate \d+ of \d+ \(.*\), stable \d+ of \d+ \(.*\): .*× more than stable", result.reason
    )


@story
async def test_an_outage_of_both_versions_blames_nobody(trials: Trials) -> None:
    trial, shop = counting(trials, LASTING)
    await trial.start()
    await trial.until_baking()
    for version in ("canary", "stable"):
        shop.fails(version, 0.5)
    before = now_ms()
    await trial.until(lambda _: now_ms() > before + 6000, "six seconds of outage")
    assert (await trial.status()).phase is Phase.BAKING
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)


@story
async def test_evidence_is_carried_into_the_next_stage(trials: Trials) -> None:
    trial, shop = counting(trials, {"stages": [stage(5, "3s"), stage(50, "1h"), stage(100)]})
    await trial.start()
    await trial.until_baking("50 %")
    shop.fails("canary", 0.4)
    await trial.went_back(Phase.ROLLED_BACK)
    watches = [event for event in await trial.events() if event.HasField("activity_task_completed_event_attributes")]
    assert watches
    assert (await trial.status()).progress.gates["errors"].evidence.total.n_b > 1000  # type: ignore[union-attr]  # counted


@story
async def test_a_candidate_that_vanishes_from_the_metrics_is_never_called_healthy(trials: Trials) -> None:
    policy = {"no_data": {"hold": "2s", "then": "hold"}}
    trial, shop = counting(trials, LASTING, policy=policy)
    await trial.start()
    await trial.until_baking()
    shop.hide("canary")
    held = await trial.until_phase(Phase.HELD)
    assert "no samples of candidate" in (held.reason or "")
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)


@story
async def test_undecided_hold_asks_a_person_at_the_end_of_the_bake(trials: Trials) -> None:
    trial, _ = counting(
        trials,
        {"stages": [stage(5, "3s"), stage(100)]},
        policy={"undecided": "hold"},
        gates={"errors": {**ERRORS, "proof": 1.3}},
    )
    await trial.start()
    held = await trial.until_phase(Phase.HELD)
    assert "the bake is over and undecided" in (held.reason or "")
    await trial.update(names.RESUME)
    await trial.until_baking()
    await trial.update(names.ADVANCE)
    await trial.promoted()


@story
async def test_an_early_stage_ends_as_soon_as_health_is_proven(trials: Trials) -> None:
    trial, _ = counting(
        trials, {"stages": [stage(5, "1h", early=True), stage(100)]}, gates={"errors": {**ERRORS, "proof": 50}}
    )
    await trial.start()
    result = await trial.promoted()
    assert result.stages[0].proven
    assert result.stages[0].baked.total_seconds() < 600


@story
async def test_too_few_requests_keep_the_stage(trials: Trials) -> None:
    trial, _ = counting(trials, ladder(5, 100), gates={"errors": {**ERRORS, "min_requests": 1_000_000, "proof": 1.3}})
    await trial.start()
    await trial.until(lambda now: now.progress.baked.total_seconds() >= 0 and now.phase is Phase.BAKING, "it bakes")
    before = now_ms()
    await trial.until(lambda _: now_ms() > before + 5000, "longer than the bake")
    assert (await trial.status()).phase is Phase.BAKING
    await trial.update(names.ADVANCE)
    await trial.promoted()


@story
async def test_a_label_that_no_series_has_is_refused_with_the_values_there_are(trials: Trials) -> None:
    versions = {"label": "version", "candidate": "canary", "stable": "live"}
    trial, _ = counting(trials, ladder(5, 100), gates={"errors": {**ERRORS, "versions": versions}})
    await trial.start()
    failure = await trial.failed("Refused")
    assert 'no series of http_requests_total has version="live"; its values are canary, stable' in failure.message


@story
async def test_the_plan_says_what_each_bake_can_see(trials: Trials) -> None:
    trial, _ = counting(trials, LASTING)
    await trial.start()
    await trial.until_baking()
    plan = await trial.handle.query(names.PLAN)
    assert plan["judged"]["errors"]["phi"] == 1
    assert "What this bake can see" in await trial.details()
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)


@story
async def test_what_is_seen_while_people_are_asked_before_a_stage_counts_for_the_percent_that_is_there(
    trials: Trials,
) -> None:
    asks = {"before": True, "within": "1h"}
    trial, _ = counting(trials, {"stages": [stage(5, "3s"), stage(50, "1h", approval=asks, early=True), stage(100)]})
    await trial.start()
    await trial.until_phase(Phase.AWAITING_APPROVAL)
    await trial.until_looked(4)
    await trial.update(names.HOLD)
    held = await trial.until_phase(Phase.HELD)
    evidence = held.progress.gates["errors"].evidence
    assert evidence is not None
    assert evidence.stage == 0, "the traffic is still at 5 %"
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)


@story
async def test_a_held_gate_that_somebody_resumed_from_collects_its_evidence_anew(trials: Trials) -> None:
    trial, shop = counting(trials, LASTING, gates={"errors": {**ERRORS, "on_breach": "hold"}})
    await trial.start()
    await trial.until_baking()
    shop.fails("canary", 0.3)
    held = await trial.until_phase(Phase.HELD)
    assert "× more than stable" in (held.reason or "")
    shop.fails("canary", 0.005)
    await trial.until_looked(4)
    await trial.update(names.RESUME)
    await trial.until_baking()
    await trial.until_looked(4)
    assert (await trial.status()).phase is Phase.BAKING
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)
