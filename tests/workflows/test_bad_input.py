"""Whatever a command line can send ends at once with a sentence."""

from typing import Any

import pytest

from rollout import names
from tests.workflows.stories import story
from tests.workflows.trial import Trials

BAD: list[tuple[str, list[Any], str]] = [
    ("nothing", [], "exactly one input"),
    ("null", [None], "exactly one input"),
    ("two", [{}, {}], "2 were given"),
    ("a string", ["checkout"], "must be a JSON object"),
    ("a list", [[1, 2]], "must be a JSON object"),
    ("bytes", [b"\xff"], "must be a JSON object"),
    ("empty", [{}], "service: is missing"),
    ("garbage", [{"service": ["?"], "colour": 1}], "colour: unknown field"),
]


@story
@pytest.mark.parametrize(("inputs", "sentence"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
async def test_a_bad_input_ends_at_once_with_a_sentence(trials: Trials, inputs: list[Any], sentence: str) -> None:
    trial = await trials.trial().start(inputs=inputs)
    failure = await trial.failed("BadInput")
    assert sentence in failure.message


@story
async def test_every_mistake_is_named_with_its_place(trials: Trials) -> None:
    trial = trials.trial()
    trial.spec["strategy"]["stages"][0]["percent"] = 105
    trial.spec["polcy"] = {}
    trial.spec["gates"]["errors"]["on_breach"] = "panic"
    await trial.start()
    message = (await trial.failed("BadInput")).message
    for place in ("strategy.stages[0].percent: ", "polcy: unknown field", "gates.errors.on_breach: "):
        assert place in message


@story
async def test_a_mistyped_workflow_type_ends_at_once_with_the_right_one(trials: Trials) -> None:
    trial = await trials.trial().start(type_="Rolout")
    failure = await trial.failed("BadInput")
    assert failure.message == "unknown workflow type 'Rolout': use Rollout"


@story
async def test_a_message_that_arrives_with_a_bad_input_does_not_hide_the_sentence(trials: Trials) -> None:
    trial = await trials.trial().start(inputs=[{}], start_signal=names.HOLD, start_signal_args=["?", "?"])
    assert "service: is missing" in (await trial.failed("BadInput")).message
    assert trial.router.written == []
