"""A bug of ours must not leave users at 25 %."""

from datetime import datetime

import pytest

from rollout import commands, names
from rollout import decide as deciding
from rollout import story as telling
from rollout.decide import Decision
from rollout.happened import Phase
from rollout.messages import Command
from rollout.plan import Plan
from rollout.progress import Progress
from rollout.spec import RolloutSpec
from tests.workflows.stories import story
from tests.workflows.trial import LASTING, Trials, ladder
from workflows import rollout as acting

# The worker runs workflows outside of a sandbox, so every rollout that runs meanwhile gets the poisoned functions: they
# do harm to nobody but the one who asks for it.
POISONED = "poisoned"


@story
async def test_a_bug_in_a_decision_still_brings_the_traffic_back(trials: Trials) -> None:
    right = deciding.decide

    def wrong(plan: Plan, progress: Progress, now: datetime) -> Decision:
        if plan.started_by == POISONED and progress.percent == 25 and progress.arrived:
            raise KeyError("no such thing")
        return right(plan, progress, now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(acting, "decide", wrong)
        trial = trials.trial(ladder(5, 25, 100), requested_by=POISONED)
        await trial.start()
        result = await trial.went_back(Phase.ROLLED_BACK)
    assert result.reason == "internal error, please report it: KeyError: 'no such thing'"
    assert trial.router.percents == [5, 25, 0]


@story
async def test_a_bug_in_the_words_does_not_keep_the_traffic_from_coming_back(trials: Trials) -> None:
    right = telling.details
    trial = trials.trial()

    def wrong(spec: RolloutSpec, plan: Plan | None, progress: Progress) -> str:
        if spec.service == trial.service and progress.phase is not Phase.PREFLIGHT:
            raise TypeError("no words")
        return right(spec, plan, progress)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(telling, "details", wrong)
        await trial.start()
        await trial.until_written(5)
        await trial.signal(names.ABORT)
        await trial.went_back(Phase.ABORTED)
    assert trial.router.percents == [5, 0]


@story
async def test_a_bug_in_a_command_neither_ends_the_run_nor_keeps_it_from_stopping(trials: Trials) -> None:
    right, bugs = commands.obey, {f"{POISONED} {bug.__name__}": bug for bug in (TypeError, KeyError)}

    def wrong(plan: Plan | None, progress: Progress, name: str, command: Command, now: datetime) -> Progress:
        if command.by in bugs:
            raise bugs[command.by]("no such thing")
        return right(plan, progress, name, command, now)

    with pytest.MonkeyPatch.context() as patch:  # one patch for both: they would undo each other's
        patch.setattr(commands, "obey", wrong)
        for poisoned in bugs:
            trial = await trials.trial(LASTING).start()
            await trial.until_baking()
            await trial.signal(names.HOLD, {"by": poisoned})
            noted = await trial.until(lambda now: now.notes, "it is noted")
            assert noted.notes[0].startswith("internal error in hold, please report it")
            assert "no such thing" in await trial.update(names.ABORT, {"by": poisoned})
            await trial.went_back(Phase.ABORTED)
            assert trial.router.percents == [5, 0]
