"""Whatever a command line can send as a signal or an update never wedges, never fails, and is noted."""

from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from rollout import names
from rollout.happened import Phase
from tests.workflows.stories import story
from tests.workflows.test_approval import refused
from tests.workflows.trial import LASTING, Trials, stage

JUNK: dict[str, list[Any]] = {
    "a string": ["abort"],
    "a number": [7],
    "a list": [[{"by": "ana"}]],
    "two": [{"by": "ana"}, {"by": "bob"}],
    "misspelt field": [{"bye": 1}],
    "wrong type": [{"by": {"name": "ana"}}],
    "too long": [{"by": "a" * 1000}],
    "bytes": [b"\xff\xfe"],
}
WAITING = {"stages": [stage(5, "1h", approval={}), stage(100)]}


@story
@pytest.mark.parametrize("arguments", JUNK.values(), ids=JUNK.keys())
async def test_what_goes_on_is_not_obeyed_with_an_unusable_argument(trials: Trials, arguments: list[Any]) -> None:
    trial = await trials.trial(WAITING).start()
    await trial.until_baking()
    for name in (names.ADVANCE, names.APPROVE, names.RESUME):
        await trial.signal(name, *arguments)
    now = await trial.until(lambda now: len(now.notes) == 3, "all are noted")
    assert [note.split(":")[0] for note in now.notes] == ["ignored"] * 3
    assert (now.phase, now.progress.approvals, now.progress.advanced_by) == (Phase.BAKING, {}, None)
    for note in now.notes:
        assert note in await trial.details()
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)


@story
@pytest.mark.parametrize("arguments", JUNK.values(), ids=JUNK.keys())
async def test_what_stops_is_obeyed_even_with_an_unusable_argument(trials: Trials, arguments: list[Any]) -> None:
    trial = await trials.trial(WAITING).start()
    await trial.until_baking()
    await trial.signal(names.HOLD, *arguments)
    await trial.until_phase(Phase.HELD)
    await trial.signal(names.ABORT, *arguments)
    result = await trial.went_back(Phase.ABORTED)
    assert len(result.notes) == 2


@story
@pytest.mark.parametrize("name", names.COMMANDS)
async def test_an_update_with_an_unusable_argument_is_refused_and_leaves_no_trace(trials: Trials, name: str) -> None:
    trial = await trials.trial(WAITING).start()
    await trial.until_baking()
    for arguments in JUNK.values():
        assert (await refused(trial, name, *arguments)).startswith(f"Refused: {name}: ")
    now = await trial.status()
    assert (now.phase, now.notes, now.progress.stop) == (Phase.BAKING, (), None)
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)


@story
async def test_a_signal_that_does_not_exist_is_noted_with_those_that_do(trials: Trials) -> None:
    trial = await trials.trial(WAITING).start()
    await trial.until_baking()
    await trial.signal("aprove", {"by": "ana"}, 2)
    now = await trial.until(lambda now: now.notes, "it is noted")
    assert now.notes[0].startswith("ignored: there is no signal 'aprove'")
    assert names.APPROVE in now.notes[0]
    await trial.signal(names.ABORT)
    await trial.went_back(Phase.ABORTED)


@story
async def test_a_payload_that_nobody_can_decode_does_not_wedge(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    broken = RawValue(Payload(metadata={"encoding": b"json/plain"}, data=b"{not json"))
    for name in names.COMMANDS:
        await trial.signal(name, broken)
    assert (await trial.status()).phase is Phase.BAKING  # dropped by the SDK, which logs it
    await trial.update(names.ADVANCE)
    await trial.promoted()


@story
async def test_many_signals_at_once_keep_the_last_notes_and_the_history_small(trials: Trials) -> None:
    trial = await trials.trial(LASTING).start()
    await trial.until_baking()
    for number in range(25):
        await trial.signal(names.APPROVE, f"number {number}")
    now = await trial.until(lambda now: any("number 24" in note for note in now.notes), "the last is noted")
    assert len(now.notes) == 10
    await trial.update(names.ADVANCE)
    await trial.promoted()
