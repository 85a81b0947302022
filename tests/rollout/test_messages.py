"""Whatever a person can type behind `--input` is a command or a sentence, never an exception."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.messages import Command, WatchHealth, read_command
from tests.rollout.generated import json_values
from tests.rollout.given import LIGHT, MINUTE, gate, spec, state


@pytest.mark.parametrize("arguments", [(), (None,), ({},), (Command(),)])
def test_nothing_at_all_is_a_fine_command(arguments: tuple[Any, ...]) -> None:
    assert read_command(arguments) == (Command(), None)


def test_all_fields_are_read() -> None:
    said = {"by": "ana", "comment": "smoke tests are green", "stage": "half"}
    assert read_command((said,)) == (Command(by="ana", comment="smoke tests are green", stage="half"), None)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("ana",), 'a JSON object such as {"by": "ana"} is wanted, not \'ana\''),
        ((["ana"],), 'a JSON object such as {"by": "ana"} is wanted, not "[\'ana\']"'),
        ((42,), 'a JSON object such as {"by": "ana"} is wanted, not \'42\''),
        ((False,), 'a JSON object such as {"by": "ana"} is wanted, not \'False\''),
        (("x" * 5000,), f'a JSON object such as {{"by": "ana"}} is wanted, not \'{"x" * 40}\''),
        (({"by": "ana"}, {"by": "ben"}), "one JSON object is wanted, not 2 arguments"),
        ((None, None), "one JSON object is wanted, not 2 arguments"),
        (({"form": "ana"},), "form: Extra inputs are not permitted; known are by, comment, stage"),
        (({"by": 7},), "by: Input should be a valid string; known are by, comment, stage"),
        (
            ({"by": "x" * 129},),
            "by: String should have at most 128 characters; known are by, comment, stage",
        ),
        (
            ({"comment": "x" * 1001},),
            "comment: String should have at most 1000 characters; known are by, comment, stage",
        ),
    ],
)
def test_garbage_is_answered_with_what_is_wanted(arguments: tuple[Any, ...], reason: str) -> None:
    assert read_command(arguments) == (Command(), reason)


@given(st.lists(json_values, max_size=3))
@LIGHT
def test_nothing_that_can_be_sent_raises(arguments: list[Any]) -> None:
    command, unusable = read_command(tuple(arguments))
    assert unusable is None or (command == Command() and unusable)


@pytest.mark.parametrize(
    "sent", ["가" * 9_000, ["x" * 9_000], {"x" * 9_000: 1}, {"by": "x" * 9_000}, {"by": ["x" * 9_000]}]
)
def test_a_complaint_is_short_whatever_was_sent(sent: Any) -> None:
    _, unusable = read_command((sent,))
    assert unusable is not None
    assert len(unusable) < 200


def test_a_newer_worker_may_tell_more_than_we_know() -> None:
    order = WatchHealth(
        gates={"errors": gate()},
        states={"errors": state()},
        since_ms=0,
        bake=MINUTE,
        poll=MINUTE,
        no_data_hold=MINUTE,
        routes=spec().routes,
        percent=5,
        epoch=1,
        owner=None,
    )
    told = order.model_dump(mode="json", by_alias=True) | {"colour": "green"}
    assert WatchHealth.model_validate(told) == order
    assert WatchHealth.model_validate_json(order.model_dump_json()) == order
