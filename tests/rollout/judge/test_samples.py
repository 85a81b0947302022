"""A line of a recording: read, or refused with a sentence."""

import json

import pytest

from rollout.judge.samples import BadLine, read
from tests.rollout.judge.recordings import ERRORS, RULE, judged


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "this is not JSON: "),
        ("[]", "a line is a JSON object"),
        ('{"percent": 5}', "at: a number is wanted, seconds since the run began, not nothing"),
        ('{"at": -1, "percent": 5}', "at: a number is wanted, seconds since the run began, not -1"),
        ('{"at": true, "percent": 5}', "not true"),
        ('{"at": NaN, "percent": 5}', "at: a number is wanted"),
        ('{"at": 1}', "percent: a number is wanted, 0 to 100, not nothing"),
        ('{"at": 1, "percent": 105}', "percent: a number is wanted, 0 to 100, not 105"),
        ('{"run": {}, "at": 1, "percent": 5}', "run: a name is wanted"),
        ('{"at": 1, "percent": 5, "counts": []}', "counts: an object with a field for each gate"),
        (
            '{"at": 1, "percent": 5, "counts": {"typo": {}}}',
            "'typo' is no gate of this spec; its gates: errors, hard-5xx",
        ),
        (
            '{"at": 1, "percent": 5, "values": {"errors": 1}}',
            "values.errors: error-ratio gates take counts, not values",
        ),
        ('{"at": 1, "percent": 5, "counts": {"hard-5xx": {}}}', "counts.hard-5xx: threshold gates take values"),
        ('{"at": 1, "percent": 5, "values": {"hard-5xx": "x"}}', 'null (empty) or "error" (failed) is wanted, not "x"'),
        ('{"at": 1, "percent": 5, "values": {"hard-5xx": 1' + "0" * 400 + "}}", "beyond what a number can be"),
        ('{"at": 1, "percent": 5, "counts": {"errors": 3}}', "candidate and stable are wanted, not 3"),
        ('{"at": 1, "percent": 5, "counts": {"errors": {"stable": [1, 0]}}}', "counts.errors.candidate: two whole"),
    ],
)
def test_a_line_that_cannot_be_meant_is_refused_with_a_sentence(line: str, sentence: str) -> None:
    with pytest.raises(BadLine) as refused:
        read(line, judged(errors=ERRORS, hard_5xx=RULE).gates)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    "pair", [[1, 2], [-1, 0], [1.5, 1], [2, 0.5], [True, 0], ["1", 0], [1], [1, 0, 0], None, [1e400, 1]]
)
def test_counts_are_whole_and_events_are_among_the_trials(pair: object) -> None:
    line = {"at": 1, "percent": 5, "counts": {"errors": {"candidate": [9, 0], "stable": pair}}}
    with pytest.raises(BadLine, match=r"counts\.errors\.stable"):
        read(json.dumps(line), judged(errors=ERRORS).gates)


def test_twelve_point_zero_is_whole() -> None:
    line = {"at": 1, "percent": 5, "counts": {"errors": {"candidate": [12.0, 1.0], "stable": [9, 0]}}}
    assert read(json.dumps(line), judged(errors=ERRORS).gates).counts["errors"] == (12, 1, 9, 0)
