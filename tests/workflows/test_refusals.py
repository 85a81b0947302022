"""What is refused before anything is written."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.exceptions import WorkflowAlreadyStartedError

from rollout import names
from rollout.happened import Phase, RolloutResult
from tests.workflows.skipping import skipping
from tests.workflows.stories import story
from tests.workflows.trial import LASTING, Trial, Trials


def _nowhere(trial: Trial) -> None:
    trial.spec["routes"][0]["connection"] = "nowhere"


def _no_metrics(trial: Trial) -> None:
    trial.spec["gates"]["errors"]["connection"] = "nowhere"


def _owned(trial: Trial) -> None:
    trial.router.owner, trial.router.epoch = "rollout:test/another", 3


def _not_at_zero(trial: Trial) -> None:
    trial.router.edit(30)


def _misspelt(trial: Trial) -> None:
    trial.metrics.unknown = ("errors_ratio",)


def _broken_query(trial: Trial) -> None:
    trial.metrics.broken = "unexpected end of input"


def _no_candidate(trial: Trial) -> None:
    trial.router.healthy["candidate"] = 0


def _slow(trial: Trial) -> None:
    trial.router.proves_after_s = 60


def _coarse(trial: Trial) -> None:
    trial.router.finest = 10


def _no_pool(trial: Trial) -> None:
    del trial.router.healthy["stable"]


def _strangers(trial: Trial) -> None:
    trial.spec["approvals"] = {"people": ["martians"]}


def _too_short(trial: Trial) -> None:
    trial.spec["policy"]["max_duration"] = "4s"


SPOILT: list[tuple[Callable[[Trial], None], str]] = [
    (_nowhere, "no connection 'nowhere'"),
    (_no_metrics, "gate errors: no connection 'nowhere'"),
    (_owned, "is held by rollout:test/another"),
    (_not_at_zero, "already sends 30 % to the candidate"),
    (_misspelt, "gate errors: no series is named errors_ratio"),
    (_broken_query, "unexpected end of input"),
    (_no_candidate, "the candidate pool"),
    (_no_pool, "the router knows no pool"),
    (_slow, "it can prove a write 60 s after it at the earliest; make policy.prove_within longer"),
    (_coarse, "it can send no less than 10 % to either pool, stage 5 % wants 5 %"),
    (_strangers, "no people 'martians'"),
    (_too_short, "max_duration is not longer than the bakes"),
]


async def refused(trial: Trial) -> str:
    """Wait for the refusal; nothing was written. Answers with the message."""
    failure = await trial.failed("Refused")
    assert (await trial.attributes())[names.PHASE] == Phase.REFUSED
    assert all(router.written == [] for router in trial.routers)
    assert failure.message.startswith(f"{trial.service} 2.0 in test: refused: ")
    return failure.message


@story
@pytest.mark.parametrize(("spoil", "sentence"), SPOILT, ids=[spoil.__name__.strip("_") for spoil, _ in SPOILT])
async def test_preflight_refuses(trials: Trials, spoil: Callable[[Trial], None], sentence: str) -> None:
    trial = trials.trial()
    spoil(trial)
    await trial.start()
    assert sentence in await refused(trial)


@story
async def test_preflight_says_everything_at_once(trials: Trials) -> None:
    trial = trials.trial()
    for spoil in (_owned, _misspelt, _strangers):
        spoil(trial)
    await trial.start()
    message = await refused(trial)
    assert len(message.splitlines()) == 3
    status = await trial.status()
    assert status.phase is Phase.REFUSED
    assert "martians" in status.details


@story
@pytest.mark.parametrize("limit", ["run_timeout", "execution_timeout"])
async def test_a_timeout_of_the_server_would_leave_the_traffic_where_it_is(trials: Trials, limit: str) -> None:
    limits: dict[str, Any] = {limit: timedelta(hours=1)}
    trial = await trials.trial().start(**limits)
    assert "policy.max_duration" in await refused(trial)


@story
async def test_a_metrics_server_that_does_not_answer_is_asked_for_a_minute(trials: Trials) -> None:
    trial = trials.trial()
    trial.metrics.reachable = False
    await trial.start()
    await trial.until_phase(Phase.PREFLIGHT)
    async with skipping(trial, timedelta(seconds=70)):
        assert "the metrics server does not answer" in await refused(trial)


@story
async def test_a_second_rollout_of_a_service_is_refused_by_the_server_and_changes_nothing(trials: Trials) -> None:
    trial = await trials.trial().start()
    with pytest.raises(WorkflowAlreadyStartedError):
        await trial.start()
    await trial.promoted()


@story
async def test_after_the_end_the_next_rollout_writes_with_a_newer_fence(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)
    last = trial.router.epoch
    await trial.start()
    await trial.until_baking()
    await trial.update(names.ADVANCE)
    await trial.promoted()
    assert all(each.write.epoch > last for each in trial.router.written[2:])


@story
async def test_after_a_termination_the_next_start_says_what_was_left_behind(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    await trial.handle.terminate()
    trial.router.written.clear()
    await trial.start()
    assert "already sends 5 % to the candidate (left by a rollout that was terminated?)" in await refused(trial)


@story
async def test_a_workflow_id_that_no_router_could_keep_is_refused(trials: Trials) -> None:
    trial = trials.trial()
    handle = await trial.client.start_workflow(
        names.ROLLOUT, trial.spec, id=f"{trial.id};\n reload", task_queue=names.TASK_QUEUE, result_type=RolloutResult
    )
    trial.started.append(handle)
    assert "may hold letters, digits and . _ : / @ - only" in await refused(trial)
