"""Everything an operator needs is in the UI and the CLI that they already have."""

from temporalio.api.enums.v1 import EventType
from temporalio.api.sdk.v1 import WorkflowMetadata

from rollout import names
from rollout.happened import Phase
from tests.workflows.stories import story
from tests.workflows.trial import LASTING, Trials, stage
from workflows.converter import DATA_CONVERTER


@story
async def test_search_attributes_follow_the_rollout_and_keep_their_last_value(trials: Trials) -> None:
    trial = await trials.trial({"stages": [stage(5), stage(50, "1h"), stage(100)]}).start()
    await trial.until_baking("50 %")
    always = {
        names.SERVICE: trial.service,
        names.ENVIRONMENT: "test",
        names.STRATEGY: "canary",
        names.VERSION: "2.0",
    }
    await trial.until_attributes(**always, **{names.PHASE: "Baking", names.PERCENT: 50})
    await trial.update(names.ADVANCE)
    await trial.promoted()
    assert await trial.attributes() == {**always, names.PHASE: "Promoted", names.PERCENT: 100}


@story
async def test_after_a_rollback_the_list_shows_zero_percent(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    trial.metrics.say(1)
    await trial.went_back(Phase.ROLLED_BACK)
    attributes = await trial.attributes()
    assert (attributes[names.PHASE], attributes[names.PERCENT]) == ("RolledBack", 0)


@story
async def test_the_current_details_say_where_why_what_next_and_how_to_stop(trials: Trials) -> None:
    trial = await trials.trial({"stages": [stage(5, "1h", name="internal", approval={}), stage(100)]}).start()
    await trial.until_baking()
    details = await trial.details()
    assert details == (await trial.status()).details
    for fact in (
        f"**{trial.service}** 1.0 → **2.0** in test: **5 %** on the candidate, Baking",
        "- 5 % internal: now",
        "- 100 %: to come",
        "an approval, then 100 %",
        f"temporal workflow signal --workflow-id {trial.id} --name abort",
    ):
        assert fact in details
    await trial.signal(names.ABORT, {"by": "ana"})
    await trial.went_back(Phase.ABORTED)
    assert "aborted by ana" in await trial.details()


@story
async def test_the_metadata_describe_every_command(trials: Trials) -> None:
    trial = await trials.trial().start()
    await trial.promoted()
    metadata = await trial.handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    signals = {each.name: each.description for each in metadata.definition.signal_definitions}
    updates = {each.name: each.description for each in metadata.definition.update_definitions}
    queries = {each.name for each in metadata.definition.query_definitions}
    for name in names.COMMANDS:
        assert signals[name] == updates[name] != ""
    assert {names.STATUS, names.PLAN} <= queries


@story
async def test_every_bar_of_the_timeline_says_a_concrete_fact(trials: Trials) -> None:
    trial = await trials.trial({"stages": [stage(5, approval={}), stage(100)]}).start()
    await trial.until_phase(Phase.AWAITING_APPROVAL)
    await trial.signal(names.APPROVE)
    await trial.promoted()
    bars = {EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, EventType.EVENT_TYPE_TIMER_STARTED}
    summaries = [
        (await DATA_CONVERTER.decode([event.user_metadata.summary], [str]))[0]
        for event in await trial.events()
        if event.event_type in bars
    ]
    edge = trial.spec["routes"][0]["connection"]
    assert f"0 % → 5 % on envoy {edge}/{trial.service}" in summaries
    assert "bake 2s at 5 %" in summaries
    assert any(summary.startswith("max_duration ") for summary in summaries)
    assert all(0 < len(summary.encode()) <= 200 for summary in summaries)
